// What was asked, and what the model said, as people read it.

import { h } from "../dom.js";
import { number, plural, span } from "../format.js";
import { markdown } from "../markdown.js";

/** `reply` is what has come by now, while the task runs. */
export function conversation(task, reply) {
  return h("div", { class: "talk" }, asked(task), answer(task, reply));
}

function asked({ type, payload }) {
  if (!payload) return null;
  const system = payload.system && message("system", payload.system);
  if (type === "chat") return [system, (payload.messages ?? []).map((each) => chatMessage(each))];
  if (type === "generate") return [system, message("prompt", payload.prompt ?? "", pictures(payload.images))];
  return [payload.input].flat().map((text, index) => message(`input ${index + 1}`, String(text)));
}

function chatMessage({ role, content, images, thinking, tool_calls: calls, tool_name: name }) {
  const parts = Array.isArray(content) ? content : [{ type: "text", text: content ?? "" }];
  const text = parts.map((part) => part?.text ?? `[${part?.type ?? "part"}]`).join("\n");
  return message(name ? `${role}: ${name}` : role, text, [thoughts(thinking), pictures(images), toolCalls(calls)]);
}

function message(role, text, more = null, look = "") {
  return h("section", { class: `message ${look || role.split(/[ :]/)[0]}`, "aria-label": role },
    h("h2", null, role), more, text && markdown(text));
}

const pictures = (images) =>
  images?.length && h("div", { class: "row" }, images.map((data, index) => picture(String(data), index)));

function picture(data, index) {
  const kind = data.startsWith("/9j/") ? "jpeg" : data.startsWith("UklGR") ? "webp" : data.startsWith("R0lGOD") ? "gif" : "png";
  const source = data.startsWith("data:image/") ? data : `data:image/${kind};base64,${data}`;
  return h("img", { class: "picture", src: source, alt: `picture ${index + 1}` });
}

const thoughts = (text, isOpen = false) =>
  text ? h("details", { class: "thoughts", ...(isOpen && { open: true }) }, h("summary", null, "Thinking"), h("p", { class: "pre" }, text)) : null;

const toolCalls = (calls) =>
  calls?.length ? h("div", null, calls.map((call) => h("pre", { tabindex: 0 }, h("code", null, `${call.function?.name ?? "tool"}(${JSON.stringify(call.function?.arguments ?? {}, null, 1)})`)))) : null;

function answer(task, reply) {
  if (task.status === "completed") return result(task);
  if (task.status === "failed") {
    return h("section", { class: "message went-wrong", "aria-label": "error" }, h("h2", null, "error"), h("p", { class: "pre" }, task.error));
  }
  if (task.status !== "running") return null;
  return h("section", { class: "message assistant is-live", "aria-label": "reply", "aria-busy": true },
    h("h2", null, "assistant", h("span", { class: "quiet" }, reply?.pieces ? ` ${plural(reply.pieces, "token")} so far` : " at work …")),
    reply?.restarts > 0 && h("p", { class: "quiet" }, "An earlier attempt ended; this is the next one."),
    reply && [thoughts(reply.thinking, !reply.text), reply.text && markdown(reply.text), toolCalls(reply.calls)],
    h("span", { class: "caret", "aria-hidden": "true" }));
}

function result({ type, result: said }) {
  if (said === null || said === undefined) return null;
  if (type === "embed" || said.embeddings) return embeddings(said.embeddings ?? [said.embedding ?? []]);
  const said_ = said.message ?? {};
  const text = said_.content ?? said.response ?? "";
  return [
    message("assistant", text, [thoughts(said_.thinking ?? said.thinking), toolCalls(said_.tool_calls)]),
    h("p", { class: "quiet figures" }, figures(said)),
  ];
}

/** Durations are in nanoseconds. */
function figures(said) {
  const seconds = said.eval_duration / 1e9;
  return [
    said.prompt_eval_count && `${plural(said.prompt_eval_count, "token")} read`,
    said.eval_count && `${plural(said.eval_count, "token")} written`,
    seconds > 0.01 && said.eval_count && `${(said.eval_count / seconds).toFixed(1)} a second`,
    said.total_duration > 1e6 && span(said.total_duration / 1e9),
    said.done_reason && said.done_reason !== "stop" && `ended by ${said.done_reason}`,
  ].filter(Boolean).join(" · ");
}

const SHOWN = 8;

function embeddings(vectors) {
  const width = vectors[0]?.length ?? 0;
  return h("section", { class: "message assistant", "aria-label": "embeddings" },
    h("h2", null, `${plural(vectors.length, "embedding")} of ${plural(width, "number")}`),
    h("table", { class: "vectors" }, h("tbody", null, vectors.slice(0, 50).map((vector, index) => {
      const length = Math.hypot(...vector.slice(0, 10_000));
      return h("tr", null, h("th", { scope: "row" }, index + 1),
        h("td", { class: "mono" }, vector.slice(0, SHOWN).map((value) => value.toFixed(4)).join("  "), vector.length > SHOWN ? " …" : ""),
        h("td", { class: "quiet" }, `length ${length.toFixed(2)}`));
    }))),
    vectors.length > 50 && h("p", { class: "quiet" }, `… and ${number(vectors.length - 50)} more; the raw JSON has them all`));
}
