// The fields of a task that the form of a new task and that of a cron share.

import { h } from "../lib/dom.js";
import { canonicalModel } from "../lib/model_names.js";
import { merge } from "../state/store.js";
import { formFieldOf, knownModels } from "../state/task_form.js";
import { disclosure, field, PRIORITY_CHOICES, selectOptions } from "./controls.js";

/** Props that connect an input to a field of the form. */
export const bindField = (form, name, props = {}) => ({
  value: form[name],
  oninput: (event) =>
    merge(form.stateKey, {
      [name]: event.target.value,
      error: fieldError(form, name) ? null : form.error,
    }),
  ...props,
});

/** The error of a field, null where there is none. */
export const fieldError = (form, name) =>
  form.error && formFieldOf(form.error.field, form) === name ? form.error.message : null;

/** An error that belongs to no field. */
export const formError = (form) =>
  form.error &&
  formFieldOf(form.error.field, form) === null &&
  h("p", { class: "form-error", role: "alert" }, form.error.message);

export const typeField = (form) =>
  field(
    "type",
    "Type",
    (props) =>
      h(
        "select",
        { ...props, ...bindField(form, "type") },
        selectOptions(["chat", "generate", "embed"], form.type),
      ),
    { error: fieldError(form, "type") },
  );

export const priorityField = (form) =>
  field(
    "priority",
    "Priority",
    (props) =>
      h(
        "select",
        { ...props, oninput: (e) => merge(form.stateKey, { priority: Number(e.target.value) }) },
        selectOptions(PRIORITY_CHOICES, form.priority),
      ),
    { error: fieldError(form, "priority") },
  );

export function modelField(form, stats) {
  const models = knownModels(stats);
  const isUnknown =
    form.model.trim() &&
    models.length &&
    !models.map(canonicalModel).includes(canonicalModel(form.model));
  const hint = isUnknown
    ? "No model server has it now; the task will wait"
    : models.length
      ? `${models.length} available`
      : "No model server has listed its models yet";
  return [
    field(
      "model",
      "Model",
      (props) =>
        h("input", {
          ...props,
          ...bindField(form, "model"),
          list: "models",
          autocomplete: "off",
          spellcheck: "false",
          placeholder: "such as qwen3",
        }),
      { error: fieldError(form, "model"), hint },
    ),
    h(
      "datalist",
      { id: "models" },
      models.map((name) => h("option", { key: name, value: name })),
    ),
  ];
}

const MORE_FIELDS = [
  "tags",
  "backend",
  "max_retries",
  "fallback_models",
  "timeout_s",
  "deadline",
  "start_within",
  "temperature",
  "num_predict",
  "options",
  "format",
  "schema",
  "extra_payload",
];

export function moreFields(form, stats) {
  const isOpen =
    form.showsOptions ?? MORE_FIELDS.some((name) => form[name] !== "" || fieldError(form, name));
  const line = (name, label, props, hint = null) =>
    field(
      name,
      label,
      (fieldProps) => h("input", { ...fieldProps, ...bindField(form, name), ...props }),
      {
        error: fieldError(form, name),
        hint,
      },
    );
  const area = (name, label, placeholder, hint = null) =>
    field(
      name,
      label,
      (fieldProps) =>
        h("textarea", {
          ...fieldProps,
          ...bindField(form, name),
          class: "mono",
          rows: 3,
          spellcheck: "false",
          placeholder,
        }),
      { error: fieldError(form, name), hint },
    );
  const isText = form.type !== "embed";
  return disclosure(
    "more",
    isOpen,
    (showsOptions) => merge(form.stateKey, { showsOptions }),
    "Options",
    h(
      "div",
      { class: "grid" },
      isText &&
        line("temperature", "Temperature", {
          type: "number",
          step: "0.1",
          min: 0,
          placeholder: "model default",
        }),
      isText &&
        line("num_predict", "Max tokens", { type: "number", min: 1, placeholder: "no limit" }),
      isText &&
        field(
          "format",
          "Response format",
          (fieldProps) =>
            h(
              "select",
              { ...fieldProps, ...bindField(form, "format") },
              selectOptions(
                [
                  ["", "text"],
                  ["json", "JSON"],
                  ["schema", "JSON schema"],
                ],
                form.format,
              ),
            ),
          { error: fieldError(form, "format") },
        ),
      line("tags", "Tags", { placeholder: "nightly, report" }, "Separated by commas"),
      isText &&
        line(
          "fallback_models",
          "Fallback models",
          { placeholder: "as configured" },
          "Take its place when its model cannot run; best first",
        ),
      line(
        "timeout_s",
        "Timeout",
        { type: "number", min: 0, step: "any", placeholder: "none" },
        "Seconds per attempt",
      ),
      form.stateKey === "submit" &&
        line(
          "deadline",
          "Deadline",
          { type: "datetime-local" },
          "Fails if it has not ended by then",
        ),
      line(
        "start_within",
        "Start within",
        { type: "number", min: 0, step: "any", placeholder: "any time" },
        "Seconds; fails if it has not started",
      ),
      line("max_retries", "Retries", {
        type: "number",
        min: 0,
        max: 100,
        placeholder: "queue default",
      }),
      line(
        "backend",
        "Pin to server",
        { list: "backends", placeholder: "any model server" },
        "A name, or tag:NAME",
      ),
      h(
        "datalist",
        { id: "backends" },
        (stats?.backends ?? []).map(({ name }) => h("option", { key: name, value: name })),
      ),
    ),
    isText &&
      form.format === "schema" &&
      area("schema", "JSON schema", '{"type": "object", "properties": {}}'),
    area(
      "options",
      "More options (JSON)",
      '{"seed": 1, "num_ctx": 8192}',
      "Passed to Ollama unchanged",
    ),
    area(
      "extra_payload",
      "More payload fields (JSON)",
      '{"keep_alive": "10m", "think": false}',
      "Fields without an input above: tools, images, think, keep_alive",
    ),
  );
}
