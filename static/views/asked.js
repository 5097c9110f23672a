// The part of the form that the model is to see: messages, a prompt, or texts.

import { h } from "../dom.js";
import { merge, state } from "../state.js";
import { button, field, iconButton, options } from "./parts.js";
import { bound, errorAt } from "./submit.js";

export function asked(form) {
  if (form.type === "chat") return [system(form), messages(form)];
  if (form.type === "generate") return [system(form), area(form, "prompt", "Prompt", 8, "What the model is to go on with")];
  return area(form, "input", "Texts", 8, "", "An empty line between two texts; each gets an embedding of its own");
}

const area = (form, name, label, rows, placeholder, hint = null) =>
  field(name, label, (props) => h("textarea", { ...props, ...bound(form, name), rows, placeholder }), { error: errorAt(form, name), hint });

const system = (form) => area(form, "system", "System", 2, "How the model is to behave (may be empty)");

const ROLES = ["user", "assistant", "system", "tool"];

function messages(form) {
  const error = errorAt(form, "messages");
  const bad = /messages\[(\d+)\]/.exec(form.error?.field ?? "");
  return h("fieldset", { class: `messages ${error ? "is-wrong" : ""}` },
    h("legend", null, "Messages"),
    form.messages.map((message, index) => messageField(form, message, index, bad && Number(bad[1]) === index)),
    error && h("p", { class: "error", role: "alert" }, error),
    button("Add a message", () => add(form), { image: "plus" }));
}

/** A content that is no text (parts, as OpenAI has them) is shown as JSON and kept. */
function messageField(form, message, index, isBad) {
  const isText = typeof (message.content ?? "") === "string";
  return h("div", { class: `message-field ${isBad ? "is-wrong" : ""}` },
    h("div", { class: "row" },
      h("select", { "aria-label": `Role of message ${index + 1}`, value: message.role, oninput: (e) => change(form, index, { role: e.target.value }) }, options([...new Set([...ROLES, message.role])], message.role)),
      h("span", { class: "grow" }),
      form.messages.length > 1 && iconButton("trash", `Remove message ${index + 1}`, () => remove(form, index))),
    h("textarea", {
      "aria-label": `Message ${index + 1}`, rows: 3, readonly: !isText, placeholder: message.role === "user" ? "Ask something" : "",
      value: isText ? (message.content ?? "") : JSON.stringify(message.content, null, 2),
      oninput: (e) => change(form, index, { content: e.target.value }),
    }));
}

// The messages are those of now: the form may have changed since the page was drawn.

function change({ part }, index, values) {
  merge(part, { messages: state[part].messages.map((each, at) => (at === index ? { ...each, ...values } : each)) });
}

const remove = ({ part }, index) => merge(part, { messages: state[part].messages.filter((_, at) => at !== index) });

/** The roles take turns. */
function add({ part }) {
  const all = state[part].messages;
  const role = all.at(-1)?.role === "user" ? "assistant" : "user";
  merge(part, { messages: [...all, { role, content: "" }] });
}
