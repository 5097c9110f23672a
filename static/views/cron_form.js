// The form that makes a cron or changes one.

import { retime, save } from "../crons.js";
import { h } from "../dom.js";
import { withModel } from "../form.js";
import { go } from "../router.js";
import { merge } from "../state.js";
import { asked } from "./asked.js";
import { times } from "./cron_panel.js";
import { button, field, iconButton, options } from "./parts.js";
import { bound, errorAt, modelField, more, priorityField, strayError, typeField } from "./submit.js";

const OVERLAPS = [["allow", "submit another"], ["skip", "skip the run"]];
const MISSED = [["skip", "skip them"], ["once", "run once for all"]];
const EXAMPLES = [["0 * * * *", "each hour"], ["0 9 * * 1-5", "weekdays at 9"], ["*/15 * * * *", "each quarter"], ["0 3 1 * *", "monthly"]];

export function cronForm(given, stats) {
  const form = withModel(given, stats);
  const title = form.id ? "Change the cron" : "New cron";
  const close = () => go("crons", form.id);
  const submit = (event) => {
    event.preventDefault();
    save();
  };
  return h("form", { class: "one", novalidate: true, onsubmit: submit, "aria-label": title },
    h("header", null, h("div", { class: "row" }, h("h1", { class: "grow" }, title), iconButton("close", "Close", close))),
    h("div", { class: "fields" },
      line(form, "name", "Name", { made: (node) => node.focus() }),
      timing(form),
      h("h2", null, "The task it submits"),
      h("div", { class: "grid" }, typeField(form), modelField(form, stats), priorityField(form)),
      asked(form),
      more(form, stats),
      rules(form),
      strayError(form),
      h("div", { class: "row end" },
        button("Cancel", close),
        h("button", { class: "button primary", disabled: form.isSending }, form.id ? "Save" : "Add the cron"))));
}

const line = (form, name, label, props, hint = null) =>
  field(name, label, (given) => h("input", { ...given, ...bound(form, name), autocomplete: "off", ...props }), { error: errorAt(form, name), hint });

let zones = null;

function timing(form) {
  zones ??= ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])].map((zone) => h("option", { key: zone, value: zone }));
  const typed = (name) => ({ oninput: (event) => retime({ [name]: event.target.value }) });
  return h("fieldset", { class: "timing" },
    h("legend", null, "When"),
    line(form, "cron_expr", "Schedule", { ...typed("cron_expr"), class: "mono", placeholder: "0 9 * * 1-5", spellcheck: "false" }, "Minute, hour, day of month, month, day of week"),
    h("div", { class: "row examples", role: "group", "aria-label": "Examples of schedules" }, EXAMPLES.map(([expr, word]) =>
      button(word, () => retime({ cron_expr: expr }), { look: "plain", title: expr }))),
    line(form, "timezone", "Time zone", { ...typed("timezone"), list: "time-zones" }),
    h("datalist", { id: "time-zones" }, zones),
    h("div", { class: "preview", role: "status" },
      h("h2", null, "The next five times"),
      form.next ? times(form.next, form.timezone) : h("p", { class: "quiet" }, form.error ? "–" : "Shown as you type")));
}

const choice = (form, name, label, choices) =>
  field(name, label, (props) => h("select", { ...props, oninput: (e) => merge("cronForm", { [name]: e.target.value }) }, options(choices, form[name])), { error: errorAt(form, name) });

const rules = (form) =>
  h("div", { class: "pair" },
    choice(form, "overlap", "While an earlier run still waits or runs", OVERLAPS),
    choice(form, "missed", "Runs missed while the queue is down", MISSED),
    h("label", { class: "row" },
      h("input", { type: "checkbox", checked: form.enabled, oninput: (e) => merge("cronForm", { enabled: e.target.checked }) }), h("span", null, "Enabled")));
