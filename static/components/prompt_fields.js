// The part of the form that the model is to see: messages, a prompt, or texts.

import { h } from "../lib/dom.js";
import { merge, state } from "../state/store.js";
import { button, field, iconButton, selectOptions } from "./controls.js";
import { bindField, fieldError } from "./task_fields.js";

export function promptFields(form) {
  if (form.type === "chat") return [systemField(form), messageFields(form)];
  if (form.type === "generate")
    return [
      systemField(form),
      textArea(form, "prompt", "Prompt", 8, "What the model is to go on with"),
    ];
  return textArea(
    form,
    "input",
    "Texts",
    8,
    "",
    "An empty line between two texts; each gets an embedding of its own",
  );
}

const textArea = (form, name, label, rows, placeholder, hint = null) =>
  field(
    name,
    label,
    (props) => h("textarea", { ...props, ...bindField(form, name), rows, placeholder }),
    { error: fieldError(form, name), hint },
  );

const systemField = (form) =>
  textArea(form, "system", "System", 2, "How the model is to behave (may be empty)");

const ROLES = ["user", "assistant", "system", "tool"];

function messageFields(form) {
  const error = fieldError(form, "messages");
  const bad = /messages\[(\d+)\]/.exec(form.error?.field ?? "");
  return h(
    "fieldset",
    { class: `messages ${error ? "is-wrong" : ""}` },
    h("legend", null, "Messages"),
    form.messages.map((message, index) =>
      messageField(form, message, index, bad && Number(bad[1]) === index),
    ),
    error && h("p", { class: "error", role: "alert" }, error),
    button("Add a message", () => addMessage(form), { iconName: "plus" }),
  );
}

/** A content that is no text (parts, as OpenAI has them) is shown as JSON and kept. */
function messageField(form, message, index, isBad) {
  const isText = typeof (message.content ?? "") === "string";
  return h(
    "div",
    { class: `message-field ${isBad ? "is-wrong" : ""}` },
    h(
      "div",
      { class: "row" },
      h(
        "select",
        {
          "aria-label": `Role of message ${index + 1}`,
          value: message.role,
          oninput: (e) => changeMessage(form, index, { role: e.target.value }),
        },
        selectOptions([...new Set([...ROLES, message.role])], message.role),
      ),
      h("span", { class: "grow" }),
      form.messages.length > 1 &&
        iconButton("trash", `Remove message ${index + 1}`, () => removeMessage(form, index)),
    ),
    h("textarea", {
      "aria-label": `Message ${index + 1}`,
      rows: 3,
      readonly: !isText,
      placeholder: message.role === "user" ? "Ask something" : "",
      value: isText ? (message.content ?? "") : JSON.stringify(message.content, null, 2),
      oninput: (e) => changeMessage(form, index, { content: e.target.value }),
    }),
  );
}

// The messages are those of now: the form may have changed since the page was drawn.

function changeMessage({ stateKey }, index, values) {
  merge(stateKey, {
    messages: state[stateKey].messages.map((each, at) =>
      at === index ? { ...each, ...values } : each,
    ),
  });
}

const removeMessage = ({ stateKey }, index) =>
  merge(stateKey, { messages: state[stateKey].messages.filter((_, at) => at !== index) });

/** The roles take turns. */
function addMessage({ stateKey }) {
  const all = state[stateKey].messages;
  const role = all.at(-1)?.role === "user" ? "assistant" : "user";
  merge(stateKey, { messages: [...all, { role, content: "" }] });
}
