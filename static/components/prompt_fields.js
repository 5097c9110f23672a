// The fields of a form that hold the prompt: messages, a prompt, or texts.

import { h } from "../lib/dom.js";
import { merge, state } from "../state/store.js";
import { button, field, iconButton, selectOptions } from "./controls.js";
import { bindField, fieldError } from "./task_fields.js";

export function promptFields(form) {
  if (form.type === "chat") return [systemField(form), messageFields(form)];
  if (form.type === "generate")
    return [
      systemField(form),
      textArea(form, "prompt", "Prompt", 8, "Text for the model to continue"),
    ];
  return textArea(
    form,
    "input",
    "Texts",
    8,
    "",
    "Separate texts by an empty line; each gets its own embedding",
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
  textArea(form, "system", "System", 2, "Instructions for the model (optional)");

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

/** Content in OpenAI's parts is shown as JSON, read-only. */
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

// These read the messages from the state: the form may have changed since it was drawn.

function changeMessage({ stateKey }, index, values) {
  merge(stateKey, {
    messages: state[stateKey].messages.map((message, at) =>
      at === index ? { ...message, ...values } : message,
    ),
  });
}

const removeMessage = ({ stateKey }, index) =>
  merge(stateKey, { messages: state[stateKey].messages.filter((_, at) => at !== index) });

/** Roles alternate. */
function addMessage({ stateKey }) {
  const all = state[stateKey].messages;
  const role = all.at(-1)?.role === "user" ? "assistant" : "user";
  merge(stateKey, { messages: [...all, { role, content: "" }] });
}
