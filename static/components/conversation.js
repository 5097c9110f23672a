// A task as a conversation: the prompt, then the reply of the model.

import { h } from "../lib/dom.js";
import { duration, number, plural } from "../lib/format.js";
import { markdown } from "../lib/markdown.js";
import { callsIn, replyParts, replyVectors } from "../server/replies.js";
import { merge, state } from "../state/store.js";
import { disclosure } from "./controls.js";

/** `reply` is what has arrived so far, while the task runs. */
export function conversation(task, reply) {
  return h("div", { class: "conversation" }, promptMessages(task), replySection(task, reply));
}

function promptMessages({ type, payload }) {
  if (!payload) return null;
  const system = payload.system && message("system", payload.system);
  if (payload.input !== undefined && type === "chat") return responseInput(payload);
  if (type === "chat") return [system, (payload.messages ?? []).map(chatMessage)];
  if (type === "generate")
    return [
      system,
      message("prompt", [payload.prompt ?? ""].flat().join("\n"), pictureRow(payload.images)),
    ];
  return [payload.input].flat().map((text, index) => message(`input ${index + 1}`, String(text)));
}

/** The input of a request for a response: a text, or items. */
function responseInput({ instructions, input }) {
  const items = Array.isArray(input) ? input : [{ role: "user", content: String(input) }];
  return [instructions && message("system", String(instructions)), items.map(inputItem)];
}

function inputItem(item, index) {
  const { type, role, content, output, summary } = item ?? {};
  if (type === "function_call" || type === "custom_tool_call")
    return message("assistant", "", toolCalls(callsIn([item])), "assistant");
  if (type?.endsWith("_call_output")) return chatMessage({ role: "tool", content: output }, index);
  if (type === "reasoning") {
    const text = (Array.isArray(summary) ? summary : []).map((part) => part?.text ?? "").join("");
    return message("assistant", "", thinkingSection(text, index), "assistant");
  }
  return chatMessage({ role: role ?? "user", content, images: imagesIn(content) }, index);
}

const imagesIn = (content) =>
  (Array.isArray(content) ? content : []).map((part) => part?.image_url).filter(isImage);

const isImage = (url) => typeof url === "string" && url.startsWith("data:image/");

function chatMessage(
  { role, content, images, thinking, tool_calls: calls, tool_name: name },
  index,
) {
  const parts = Array.isArray(content) ? content : [{ type: "text", text: content ?? "" }];
  const text = parts.map((part) => part?.text ?? `[${part?.type ?? "part"}]`).join("\n");
  return message(name ? `${role}: ${name}` : role, text, [
    thinkingSection(thinking, index),
    pictureRow(images),
    toolCalls(calls),
  ]);
}

function message(role, text, more = null, className = "") {
  return h(
    "section",
    { class: `message ${className || role.split(/[ :]/)[0]}`, "aria-label": role },
    h("h2", null, role),
    more,
    text && markdown(text),
  );
}

const pictureRow = (images) =>
  images?.length > 0 &&
  h(
    "div",
    { class: "row" },
    images.map((data, index) => picture(String(data), index)),
  );

function picture(data, index) {
  const kind = data.startsWith("/9j/")
    ? "jpeg"
    : data.startsWith("UklGR")
      ? "webp"
      : data.startsWith("R0lGOD")
        ? "gif"
        : "png";
  const source = data.startsWith("data:image/") ? data : `data:image/${kind};base64,${data}`;
  return h("img", { class: "picture", src: source, alt: `picture ${index + 1}` });
}

/** Open or closed as the user left it, at first as `isOpen`; `name` is unique in the task. */
function thinkingSection(text, name, isOpen = false) {
  if (!text) return null;
  const { openSections } = state.task;
  const onTurn = (isOn) =>
    merge("task", { openSections: { ...state.task.openSections, [name]: isOn } });
  return disclosure(
    "thoughts",
    openSections[name] ?? isOpen,
    onTurn,
    "Thinking",
    h("p", { class: "pre" }, text),
  );
}

const toolCalls = (calls) =>
  calls?.length
    ? h(
        "div",
        null,
        calls.map((call) =>
          h(
            "pre",
            { tabindex: 0 },
            h("code", null, `${call.function?.name ?? "tool"}(${argumentsOf(call)})`),
          ),
        ),
      )
    : null;

/** A text in OpenAI's format. */
function argumentsOf(call) {
  const args = call.function?.arguments ?? {};
  return typeof args === "string" ? args : JSON.stringify(args, null, 1);
}

function replySection(task, reply) {
  if (task.status === "completed") return result(task);
  if (task.status === "failed") {
    return h(
      "section",
      { class: "message went-wrong", "aria-label": "error" },
      h("h2", null, "error"),
      h("p", { class: "pre" }, task.error),
    );
  }
  if (task.status !== "running") return null;
  return h(
    "section",
    { class: "message assistant is-live", "aria-label": "reply", "aria-busy": true },
    h(
      "h2",
      null,
      "assistant",
      h(
        "span",
        { class: "quiet" },
        reply?.pieces ? ` ${plural(reply.pieces, "token")} so far` : " working …",
      ),
    ),
    reply?.restarts > 0 &&
      h("p", { class: "quiet" }, "An earlier attempt failed; this is a new one."),
    reply && [
      thinkingSection(reply.thinking, "reply", !reply.text),
      reply.text && markdown(reply.text),
      toolCalls(reply.calls),
    ],
    h("span", { class: "caret", "aria-hidden": "true" }),
  );
}

function result({ type, result: reply }) {
  if (reply === null || reply === undefined) return null;
  const vectors = replyVectors(reply);
  if (type === "embed" || vectors) return embeddings(vectors ?? []);
  const { text, thinking, calls } = replyParts(reply);
  return [
    message("assistant", text, [thinkingSection(thinking, "reply"), toolCalls(calls)]),
    h("p", { class: "quiet figures" }, usage(reply)),
  ];
}

/** Tokens and time. Durations are in nanoseconds. */
function usage(reply) {
  const seconds = reply.eval_duration / 1e9;
  const { usage: counts } = reply;
  const read = reply.prompt_eval_count ?? counts?.prompt_tokens ?? counts?.input_tokens;
  const written = reply.eval_count ?? counts?.completion_tokens ?? counts?.output_tokens;
  const reason =
    reply.done_reason ?? reply.choices?.[0]?.finish_reason ?? reply.incomplete_details?.reason;
  return [
    read && plural(read, "prompt token"),
    written && plural(written, "output token"),
    seconds > 0.01 && written && `${(written / seconds).toFixed(1)} tokens/s`,
    reply.total_duration > 1e6 && duration(reply.total_duration / 1e9),
    reason && reason !== "stop" && `finish reason: ${reason}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

const SHOWN_NUMBERS = 8;

function embeddings(vectors) {
  const width = vectors[0]?.length ?? 0;
  return h(
    "section",
    { class: "message assistant", "aria-label": "embeddings" },
    h("h2", null, `${plural(vectors.length, "embedding")} of ${plural(width, "number")}`),
    h(
      "table",
      { class: "vectors" },
      h(
        "tbody",
        null,
        vectors.slice(0, 50).map((vector, index) => {
          const length = Math.hypot(...vector.slice(0, 10_000));
          return h(
            "tr",
            null,
            h("th", { scope: "row" }, index + 1),
            h(
              "td",
              { class: "mono" },
              vector
                .slice(0, SHOWN_NUMBERS)
                .map((value) => value.toFixed(4))
                .join("  "),
              vector.length > SHOWN_NUMBERS ? " …" : "",
            ),
            h("td", { class: "quiet" }, `length ${length.toFixed(2)}`),
          );
        }),
      ),
    ),
    vectors.length > 50 &&
      h(
        "p",
        { class: "quiet" },
        `… and ${number(vectors.length - 50)} more; the raw JSON has them all`,
      ),
  );
}
