// A new task, or a file of them.

import { attempt } from "../actions.js";
import * as api from "../api.js";
import { h } from "../dom.js";
import { emptyForm, FormError, focusWrong, formOf, modelsOf, placeOf, taskOf, withModel } from "../form.js";
import { go, one } from "../router.js";
import { merge, state, toast, update } from "../state.js";
import { asked } from "./asked.js";
import { button, field, fold, options } from "./parts.js";
import { batchForm } from "./submit_batch.js";
import { LEVELS } from "./task_row.js";

export function enter() {
  if (state.prefill) update({ submit: formOf(state.prefill), prefill: null });
  else if (!state.submit) update({ submit: emptyForm() });
  merge("submit", { error: null });
}

const MODES = [["", "One task"], ["batch", "A file of tasks"]];

export function view({ submit: form, stats, route }) {
  if (!form) return null;
  const chosen = one(route.query, "mode");
  return h("div", { class: "submit" },
    h("h1", null, "Submit"),
    h("div", { class: "toggles", role: "group", "aria-label": "What to submit" }, MODES.map(([mode, word]) =>
      h("button", { key: mode, type: "button", class: "toggle", "aria-pressed": chosen === mode, onclick: () => go("submit", null, { mode }) }, word))),
    chosen === "batch" ? batchForm(form) : taskForm(withModel(form, stats), stats));
}

/** Joins an input to a field of the form, which is the part of the state that it names. */
export const bound = (form, name, props = {}) => ({
  value: form[name],
  oninput: (event) => merge(form.part, { [name]: event.target.value, error: errorAt(form, name) ? null : form.error }),
  ...props,
});

/** What is said beside a field: the error that is about it. */
export const errorAt = (form, name) => (form.error && placeOf(form.error.field, form) === name ? form.error.message : null);

/** The error that is about no field. */
export const strayError = (form) =>
  form.error && placeOf(form.error.field, form) === null && h("p", { class: "form-error", role: "alert" }, form.error.message);

function taskForm(form, stats) {
  return h("form", { class: "sheet form", novalidate: true, onsubmit: submit, onkeydown: byKey },
    h("div", { class: "grid" },
      typeField(form),
      modelField(form, stats),
      priorityField(form),
      field("scheduled_at", "Not before", (props) => h("input", { ...props, ...bound(form, "scheduled_at"), type: "datetime-local" }), { error: errorAt(form, "scheduled_at"), hint: "Your local time; empty is now" })),
    asked(form),
    more(form, stats),
    strayError(form),
    h("div", { class: "row" },
      h("button", { class: "button primary", disabled: form.isSending }, form.isSending ? "Submitting …" : "Submit"),
      button("Start over", () => update({ submit: emptyForm() }), { look: "plain" }),
      h("span", { class: "quiet" }, "Ctrl+Enter submits")));
}

export const typeField = (form) =>
  field("type", "Type", (props) => h("select", { ...props, ...bound(form, "type") }, options(["chat", "generate", "embed"], form.type)), { error: errorAt(form, "type") });

export const priorityField = (form) =>
  field("priority", "Priority", (props) => h("select", { ...props, oninput: (e) => merge(form.part, { priority: Number(e.target.value) }) }, options(LEVELS, form.priority)), { error: errorAt(form, "priority") });

export function modelField(form, stats) {
  const models = modelsOf(stats);
  const isUnknown = form.model.trim() && models.length && !models.some((name) => name === form.model.trim() || name === `${form.model.trim()}:latest`);
  const hint = isUnknown ? "No model server lists it now; the task waits for one" : models.length ? `${models.length} to choose from` : "No model server has listed its models yet";
  return [
    field("model", "Model", (props) => h("input", { ...props, ...bound(form, "model"), list: "models", autocomplete: "off", spellcheck: "false", placeholder: "such as qwen3" }), { error: errorAt(form, "model"), hint }),
    h("datalist", { id: "models" }, models.map((name) => h("option", { key: name, value: name }))),
  ];
}

const MORE = ["tags", "backend", "max_retries", "timeout_s", "temperature", "num_predict", "options", "format", "schema", "more"];

export function more(form, stats) {
  const isOpen = form.hasMore ?? MORE.some((name) => form[name] !== "" || errorAt(form, name));
  const line = (name, label, props, hint = null) => field(name, label, (given) => h("input", { ...given, ...bound(form, name), ...props }), { error: errorAt(form, name), hint });
  const area = (name, label, placeholder, hint = null) =>
    field(name, label, (given) => h("textarea", { ...given, ...bound(form, name), class: "mono", rows: 3, spellcheck: "false", placeholder }), { error: errorAt(form, name), hint });
  const talks = form.type !== "embed";
  return fold("more", isOpen, (hasMore) => merge(form.part, { hasMore }), "Options",
    h("div", { class: "grid" },
      talks && line("temperature", "Temperature", { type: "number", step: "0.1", min: 0, placeholder: "the model's" }),
      talks && line("num_predict", "Most tokens", { type: "number", min: 1, placeholder: "no limit" }),
      talks && field("format", "Reply", (given) => h("select", { ...given, ...bound(form, "format") }, options([["", "text"], ["json", "JSON"], ["schema", "JSON by a schema"]], form.format)), { error: errorAt(form, "format") }),
      line("tags", "Tags", { placeholder: "nightly, report" }, "Separated by commas"),
      line("timeout_s", "Time limit", { type: "number", min: 0, step: "any", placeholder: "none" }, "Seconds for one attempt"),
      line("max_retries", "Retries", { type: "number", min: 0, max: 100, placeholder: "the queue's" }),
      line("backend", "Only on", { list: "backends", placeholder: "any model server" }, "A name, or tag:NAME"),
      h("datalist", { id: "backends" }, (stats?.backends ?? []).map(({ name }) => h("option", { key: name, value: name })))),
    talks && form.format === "schema" && area("schema", "JSON schema", '{"type": "object", "properties": {}}'),
    area("options", "More options (JSON)", '{"seed": 1, "num_ctx": 8192}', "Ollama's options, as they are"),
    area("more", "More of the payload (JSON)", '{"keep_alive": "10m", "think": false}', "Fields that have no place above: tools, images, think, keep_alive"));
}

function byKey(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
}

async function submit(event) {
  event.preventDefault();
  if (state.submit.isSending) return;
  let task;
  try {
    const form = withModel(state.submit, state.stats);
    if (!form.model.trim()) throw new FormError("model", "Name a model"); // first, as it stands first
    task = taskOf(form);
    merge("submit", { isSending: true, error: null });
    const { task_id: id } = await api.submitTask(task);
    update({ submit: { ...emptyForm(), type: task.type, model: task.model } });
    toast("Submitted: it is on disk", "good");
    go("task", id);
  } catch (error) {
    merge("submit", { isSending: false, error });
    if (placeOf(error.field, state.submit) === null) return attempt(() => Promise.reject(error));
    focusWrong();
  }
}
