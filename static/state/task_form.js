// The form of a task: its fields, and conversion from and to a task.

import { fromLocalField, toLocalField } from "../lib/format.js";

/** An empty form. Most fields hold text as typed. */
export const emptyTaskForm = () => ({
  stateKey: "submit", // where the state keeps the form
  type: "chat",
  model: null, // until something is typed
  messages: [{ role: "user", content: "" }],
  system: "",
  prompt: "",
  input: "",
  priority: 5,
  scheduled_at: "",
  deadline: "",
  start_within: "",
  tags: "",
  fallback_models: "",
  backend: "",
  max_retries: "",
  timeout_s: "",
  temperature: "",
  num_predict: "",
  options: "",
  format: "",
  schema: "",
  extra_payload: "",
  hiddenFields: {}, // fields of the original task that the form does not show
  error: null,
  isSending: false,
  file: null,
});

/** The names of all models that the model servers list. */
export const knownModels = (stats) =>
  [...new Set((stats?.backends ?? []).flatMap((backend) => backend.models ?? []))].sort();

/** The form with the only model filled in, if there is one and nothing was typed. */
export function withModel(form, stats) {
  const models = knownModels(stats);
  return { ...form, model: form.model ?? (models.length === 1 ? models[0] : "") };
}

/** A value in the form that cannot be used; `field` names its field. */
export class FormError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** The task of a form, as the API takes it. Throws `FormError`. */
export function taskFrom(form) {
  const task = {
    ...form.hiddenFields,
    type: form.type,
    model: form.model.trim(),
    payload: payloadFrom(form),
    options: optionsFrom(form),
    priority: form.priority,
  };
  const tags = listFrom(form.tags);
  if (tags.length) task.tags = tags;
  const fallbacks = form.type === "embed" ? [] : listFrom(form.fallback_models);
  if (fallbacks.length) task.fallback_models = fallbacks;
  for (const name of ["scheduled_at", "deadline"])
    if (form[name]) task[name] = fromLocalField(form[name]);
  if (form.backend.trim()) task.backend = form.backend.trim();
  for (const name of ["max_retries", "timeout_s", "start_within"])
    if (form[name] !== "") task[name] = Number(form[name]);
  return task;
}

const listFrom = (text) =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);

function payloadFrom(form) {
  const payload = { ...parseObject(form, "extra_payload") };
  if (form.type === "chat") {
    payload.messages = form.messages.map((message) => ({ ...message }));
    if (!payload.messages.some(({ content }) => hasContent(content)))
      throw new FormError("messages", "Enter at least one message");
  } else if (form.type === "generate") {
    payload.prompt = form.prompt;
    if (!form.prompt.trim()) throw new FormError("prompt", "Enter a prompt");
  } else {
    const texts = form.input
      .split(/\n{2,}/)
      .map((text) => text.trim())
      .filter(Boolean);
    if (!texts.length) throw new FormError("input", "Enter at least one text");
    payload.input = texts.length === 1 ? texts[0] : texts;
  }
  if (form.type !== "embed") {
    if (form.system.trim()) payload.system = form.system;
    if (form.format === "json") payload.format = "json";
    if (form.format === "schema") payload.format = parseObject(form, "schema");
  }
  return payload;
}

const hasContent = (content) => (typeof content === "string" ? content.trim() : content);

function optionsFrom(form) {
  const options = { ...parseObject(form, "options") };
  if (form.type !== "embed")
    for (const name of ["temperature", "num_predict"])
      if (form[name] !== "") options[name] = Number(form[name]);
  return options;
}

function parseObject(form, name) {
  if (!form[name].trim()) return {};
  let value;
  try {
    value = JSON.parse(form[name]);
  } catch (error) {
    throw new FormError(name, `This must be JSON: ${error.message}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value))
    throw new FormError(name, 'This must be a JSON object, such as {"seed": 1}');
  return value;
}

/** A form filled with a task. What has no field of its own goes into the JSON fields. */
export function taskFormFrom(task) {
  const { messages, system, prompt, input, format, ...extraPayload } = task.payload ?? {};
  const { temperature, num_predict, ...options } = task.options ?? {};
  const isSchema = format && typeof format === "object";
  const form = {
    ...emptyTaskForm(),
    type: task.type,
    model: task.model,
    messages: messages?.map((message) => ({ ...message })) ?? emptyTaskForm().messages,
    system: system ?? "",
    prompt: prompt ?? "",
    input: [input ?? []].flat().join("\n\n"),
    priority: task.priority,
    scheduled_at: futureField(task.scheduled_at),
    deadline: futureField(task.deadline),
    start_within: task.start_within ?? "",
    tags: (task.tags ?? []).join(", "),
    fallback_models: (task.fallback_models ?? []).join(", "),
    backend: task.backend ?? "",
    max_retries: task.max_retries ?? "",
    timeout_s: task.timeout_s ?? "",
    temperature: temperature ?? "",
    num_predict: num_predict ?? "",
    options: formatObject(options),
    format: isSchema ? "schema" : format === "json" ? "json" : "",
    schema: isSchema ? formatObject(format) : "",
    extra_payload: formatObject(extraPayload),
    hiddenFields: {
      metadata: task.metadata ?? {},
      remote_execution: task.remote_execution ?? false,
      ...(task.fallback_models?.length === 0 && { fallback_models: [] }),
    },
  };
  return form;
}

/** A time as its field takes it; empty if it has passed. */
const futureField = (time) =>
  time > new Date().toISOString() ? toLocalField(time).slice(0, 16) : "";

const formatObject = (value) => (Object.keys(value).length ? JSON.stringify(value, null, 2) : "");

// Where the form has the fields that errors of the server name.
const FORM_FIELDS = {
  "payload.messages": "messages",
  "payload.prompt": "prompt",
  "payload.input": "input",
  "payload.format": "format",
  payload: "extra_payload",
};

/** Focuses the field with the error, once the page shows it. */
export function focusInvalidField() {
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      const input =
        document.querySelector(".is-wrong :is(input, textarea)") ??
        document.querySelector(".is-wrong select");
      input?.focus();
    }),
  );
}

const NO_FIELDS = ["error", "stateKey", "hiddenFields", "file"]; // keys of the form that are not fields

/** The field of the form that an error is about; null if there is none. */
export function formFieldOf(field, form) {
  if (!field) return null;
  if (field in FORM_FIELDS) return FORM_FIELDS[field];
  const name = field.split(/[.[]/)[0];
  return name in form && !NO_FIELDS.includes(name) ? name : null;
}
