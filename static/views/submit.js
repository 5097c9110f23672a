// Submits a task, or a file of tasks.

import { button, field } from "../components/controls.js";
import { promptFields } from "../components/prompt_fields.js";
import {
  bindField,
  fieldError,
  formError,
  modelField,
  moreFields,
  priorityField,
  typeField,
} from "../components/task_fields.js";
import { h } from "../lib/dom.js";
import * as api from "../server/api.js";
import { runWithToast } from "../state/actions.js";
import { lastValue, navigate } from "../state/router.js";
import { merge, showToast, state, update } from "../state/store.js";
import {
  emptyTaskForm,
  FormError,
  focusInvalidField,
  formFieldOf,
  taskFormFrom,
  taskFrom,
  withModel,
} from "../state/task_form.js";
import { batchForm } from "./submit_batch.js";

export const submitView = { title: "Submit", draw, enter };

function enter() {
  if (state.prefill) update({ submit: taskFormFrom(state.prefill), prefill: null });
  else if (!state.submit) update({ submit: emptyTaskForm() });
  merge("submit", { error: null });
}

const MODES = [
  ["", "One task"],
  ["batch", "A file of tasks"],
];

function draw({ submit: form, stats, route }) {
  if (!form) return null;
  const current = lastValue(route.query, "mode");
  return h(
    "div",
    { class: "submit" },
    h("h1", null, "Submit"),
    h(
      "div",
      { class: "toggles", role: "group", "aria-label": "What to submit" },
      MODES.map(([mode, label]) =>
        h(
          "button",
          {
            key: mode,
            type: "button",
            class: "toggle",
            "aria-pressed": current === mode,
            onclick: () => navigate("submit", null, { mode }),
          },
          label,
        ),
      ),
    ),
    current === "batch" ? batchForm(form) : singleTaskForm(withModel(form, stats), stats),
  );
}

function singleTaskForm(form, stats) {
  return h(
    "form",
    { class: "sheet form", novalidate: true, onsubmit: onSubmit, onkeydown: submitOnCtrlEnter },
    h(
      "div",
      { class: "grid" },
      typeField(form),
      modelField(form, stats),
      priorityField(form),
      field(
        "scheduled_at",
        "Not before",
        (props) =>
          h("input", { ...props, ...bindField(form, "scheduled_at"), type: "datetime-local" }),
        { error: fieldError(form, "scheduled_at"), hint: "Local time; leave empty to start now" },
      ),
    ),
    promptFields(form),
    moreFields(form, stats),
    formError(form),
    h(
      "div",
      { class: "row" },
      h(
        "button",
        { class: "button primary", disabled: form.isSending },
        form.isSending ? "Submitting …" : "Submit",
      ),
      button("Start over", () => update({ submit: emptyTaskForm() }), { variant: "plain" }),
      h("span", { class: "quiet" }, "Ctrl+Enter submits"),
    ),
  );
}

function submitOnCtrlEnter(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onSubmit(event);
}

async function onSubmit(event) {
  event.preventDefault();
  if (state.submit.isSending) return;
  let task;
  try {
    const form = withModel(state.submit, state.stats);
    if (!form.model.trim()) throw new FormError("model", "Enter a model"); // first, as in the form
    task = taskFrom(form);
    merge("submit", { isSending: true, error: null });
    const { task_id: id } = await api.submitTask(task);
    update({ submit: { ...emptyTaskForm(), type: task.type, model: task.model } });
    showToast("Submitted", "good");
    navigate("task", id);
  } catch (error) {
    merge("submit", { isSending: false, error });
    if (formFieldOf(error.field, state.submit) === null)
      return runWithToast(() => Promise.reject(error));
    focusInvalidField();
  }
}
