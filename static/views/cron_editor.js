// The form that creates or edits a cron.

import { button, field, iconButton, selectOptions } from "../components/controls.js";
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
import { saveCron, updateSchedule } from "../state/cron_list.js";
import { navigate } from "../state/router.js";
import { merge } from "../state/store.js";
import { withModel } from "../state/task_form.js";
import { nextTimes } from "./cron_panel.js";

const OVERLAP_CHOICES = [
  ["allow", "submit another task"],
  ["skip", "skip this run"],
];
const MISSED_CHOICES = [
  ["skip", "skip them"],
  ["once", "run once"],
];
const EXAMPLES = [
  ["0 * * * *", "hourly"],
  ["0 9 * * 1-5", "weekdays at 9"],
  ["*/15 * * * *", "every 15 minutes"],
  ["0 3 1 * *", "monthly"],
];

export function cronEditor(rawForm, stats) {
  const form = withModel(rawForm, stats);
  const title = form.id ? "Edit cron" : "New cron";
  const close = () => navigate("crons", form.id);
  const submit = (event) => {
    event.preventDefault();
    saveCron();
  };
  return h(
    "form",
    { class: "one", novalidate: true, onsubmit: submit, "aria-label": title },
    h(
      "header",
      null,
      h(
        "div",
        { class: "row" },
        h("h1", { class: "grow" }, title),
        iconButton("close", "Close", close),
      ),
    ),
    h(
      "div",
      { class: "fields" },
      lineField(form, "name", "Name", { mounted: (node) => node.focus() }),
      scheduleFields(form),
      h("h2", null, "Task"),
      h("div", { class: "grid" }, typeField(form), modelField(form, stats), priorityField(form)),
      promptFields(form),
      moreFields(form, stats),
      ruleFields(form),
      formError(form),
      h(
        "div",
        { class: "row end" },
        button("Cancel", close),
        h(
          "button",
          { class: "button primary", disabled: form.isSending },
          form.id ? "Save" : "Create cron",
        ),
      ),
    ),
  );
}

const lineField = (form, name, label, props, hint = null) =>
  field(
    name,
    label,
    (fieldProps) =>
      h("input", { ...fieldProps, ...bindField(form, name), autocomplete: "off", ...props }),
    { error: fieldError(form, name), hint },
  );

let timeZoneOptions = null;

function scheduleFields(form) {
  timeZoneOptions ??= ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])].map((zone) =>
    h("option", { key: zone, value: zone }),
  );
  const typed = (name) => ({ oninput: (event) => updateSchedule({ [name]: event.target.value }) });
  return h(
    "fieldset",
    { class: "timing" },
    h("legend", null, "When"),
    lineField(
      form,
      "cron_expr",
      "Schedule",
      { ...typed("cron_expr"), class: "mono", placeholder: "0 9 * * 1-5", spellcheck: "false" },
      "Minute, hour, day of month, month, day of week",
    ),
    h(
      "div",
      { class: "row examples", role: "group", "aria-label": "Examples of schedules" },
      EXAMPLES.map(([expr, label]) =>
        button(label, () => updateSchedule({ cron_expr: expr }), { variant: "plain", title: expr }),
      ),
    ),
    lineField(form, "timezone", "Time zone", { ...typed("timezone"), list: "time-zones" }),
    h("datalist", { id: "time-zones" }, timeZoneOptions),
    h(
      "div",
      { class: "preview", role: "status" },
      h("h2", null, "Next five runs"),
      form.next
        ? nextTimes(form.next, form.timezone)
        : h("p", { class: "quiet" }, form.error ? "–" : "Shown as you type"),
    ),
  );
}

const choiceField = (form, name, label, choices) =>
  field(
    name,
    label,
    (props) =>
      h(
        "select",
        { ...props, oninput: (e) => merge("cronForm", { [name]: e.target.value }) },
        selectOptions(choices, form[name]),
      ),
    { error: fieldError(form, name) },
  );

const ruleFields = (form) =>
  h(
    "div",
    { class: "pair" },
    choiceField(form, "overlap", "If the previous run has not finished", OVERLAP_CHOICES),
    choiceField(form, "missed", "Runs missed while the queue is down", MISSED_CHOICES),
    h(
      "label",
      { class: "row" },
      h("input", {
        type: "checkbox",
        checked: form.enabled,
        oninput: (e) => merge("cronForm", { enabled: e.target.checked }),
      }),
      h("span", null, "Enabled"),
    ),
  );
