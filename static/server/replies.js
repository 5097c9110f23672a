// What a reply, or a piece of one, says: in Ollama's words or in OpenAI's.

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

/** The vectors of a reply, null where it is none of an embed task. */
export function replyVectors(reply) {
  if (Array.isArray(reply?.embeddings)) return reply.embeddings;
  if (Array.isArray(reply?.data))
    return reply.data.map(({ embedding }) => decodeVector(embedding ?? []));
  return null;
}

/** OpenAI's client asks for the bytes of its floats in base64. */
function decodeVector(vector) {
  if (typeof vector !== "string") return vector;
  return Array.from(
    new Float32Array(Uint8Array.from(atob(vector), (byte) => byte.charCodeAt(0)).buffer),
  );
}
