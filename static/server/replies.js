// Reads replies, and chunks of them, in Ollama's format and in OpenAI's.

/** {text, thinking, calls} of a reply or a chunk. */
export function replyParts(reply) {
  const choice = reply?.choices?.[0];
  const part = choice
    ? (choice.delta ?? choice.message ?? choice)
    : (reply?.message ?? reply ?? {});
  return {
    text: part.content ?? part.text ?? part.response ?? "",
    thinking: part.thinking ?? part.reasoning_content ?? part.reasoning ?? "",
    calls: part.tool_calls ?? [],
  };
}

/** The vectors of an embed reply; null for any other reply. */
export function replyVectors(reply) {
  if (Array.isArray(reply?.embeddings)) return reply.embeddings;
  if (Array.isArray(reply?.data))
    return reply.data.map(({ embedding }) => decodeVector(embedding ?? []));
  return null;
}

/** OpenAI's clients ask for base64 of the float bytes. */
function decodeVector(vector) {
  if (typeof vector !== "string") return vector;
  return Array.from(
    new Float32Array(Uint8Array.from(atob(vector), (byte) => byte.charCodeAt(0)).buffer),
  );
}
