"""One call by llama-index and three by LiteLLM before a queue; prints what they were told.

python agents.py URL MODEL
"""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for one

import litellm
from llama_index.llms.ollama import Ollama

url, model = sys.argv[1:]
told: dict[str, object] = {}

index = Ollama(model=model, base_url=url, request_timeout=60, context_window=512)
told["llama_index"] = index.complete("Say hello.").text
told["streamed"] = "".join(part.delta or "" for part in index.stream_complete("Say hello."))

messages = [{"role": "user", "content": "Say hello."}]
chat = litellm.completion(model=f"ollama_chat/{model}", api_base=url, messages=messages)
told["ollama"] = chat.choices[0].message.content
parts = litellm.completion(
    model=f"ollama_chat/{model}", api_base=url, messages=messages, num_ctx=512, stream=True
)
told["parts"] = "".join(part.choices[0].delta.content or "" for part in parts)
openai = litellm.completion(
    model=f"openai/{model}", api_base=f"{url}/v1", api_key="none", messages=messages
)
told["openai"] = openai.choices[0].message.content

print(json.dumps(told))
