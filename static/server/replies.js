// Reads replies, and chunks of them, in Ollama's format and in OpenAI's two.

/** {text, thinking, calls} of a reply or a chunk. */
export function replyParts(reply) {
  if (reply?.type?.startsWith("response.")) return eventParts(reply);
  if (Array.isArray(reply?.output)) return responseParts(reply.output);
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

/** Of an event of a response: a call is shown when it is complete. */
function eventParts({ type, delta, item }) {
  return {
    text: type === "response.output_text.delta" ? delta : "",
    thinking: type === "response.reasoning_summary_text.delta" ? delta : "",
    calls: type === "response.output_item.done" ? callsIn([item]) : [],
  };
}

function responseParts(items) {
  const joined = (parts) => parts.map((part) => part?.text ?? "").join("");
  return {
    text: joined(items.flatMap((item) => item.content ?? [])),
    thinking: joined(items.flatMap((item) => item.summary ?? [])),
    calls: callsIn(items),
  };
}

/** The calls among the items of a response, in the form of a chat's. */
export function callsIn(items) {
  return items
    .filter(({ type }) => type === "function_call" || type === "custom_tool_call")
    .map(({ name, arguments: args, input }) => ({ function: { name, arguments: args ?? input } }));
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
