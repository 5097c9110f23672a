/* Lets the Ollama 0.9.3 of PyPI's bigdl-core-cpp, built for Intel GPUs, run on any x86-64 CPU.
 *
 * It is loaded in place of libggml-sycl.so and does two things: it says that there is no GPU here,
 * and it hands Intel's GPU-only attention operation to ggml's own flash attention, which the CPU
 * backend can run. For tests only: numbers may differ from those of a stock Ollama.
 */
#include <stddef.h>

enum { GGML_TYPE_F16 = 1 };

struct ggml_context;
struct ggml_tensor;

extern struct ggml_tensor *ggml_cast(struct ggml_context *context, struct ggml_tensor *tensor, int type);
extern struct ggml_tensor *ggml_flash_attn_ext(
    struct ggml_context *context, struct ggml_tensor *query, struct ggml_tensor *key,
    struct ggml_tensor *value, struct ggml_tensor *mask,
    float scale, float max_bias, float logit_softcap);

int ggml_backend_sycl_get_device_count(void)
{
    return 0;
}

void *ggml_backend_sycl_init(int device)
{
    (void)device;
    return NULL;
}

void *ggml_backend_sycl_buffer_type(int device)
{
    (void)device;
    return NULL;
}

struct ggml_tensor *ggml_bigdl_fp16_sdp(
    struct ggml_context *context, struct ggml_tensor *query, struct ggml_tensor *key,
    struct ggml_tensor *value, struct ggml_tensor *mask,
    int key_count, float scale, int is_causal)
{
    struct ggml_tensor *half_mask = mask ? ggml_cast(context, mask, GGML_TYPE_F16) : NULL;

    (void)key_count;
    (void)is_causal;
    return ggml_flash_attn_ext(context, query, key, value, half_mask, scale, 0.0f, 0.0f);
}
