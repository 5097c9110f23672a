// The API keys: who may use the queue, how much, and what is left of it. For admins.

import {
  button,
  disclosure,
  emptyMessage,
  errorMessage,
  field,
  loadingMessage,
  selectOptions,
  staleWarning,
  timeLabel,
} from "../components/controls.js";
import { budgetList, budgetName, reportTable } from "../components/report_table.js";
import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { copyText } from "../state/actions.js";
import {
  changeKeyForm,
  closeKeyForm,
  confirmRevoke,
  confirmRotate,
  createKey,
  forgetCreated,
  leaveKeys,
  loadKeys,
  NUMBER_FIELDS,
  openKeyForm,
  showKeys,
} from "./key_list.js";

export const accessKeysView = { title: "Keys", draw, enter: showKeys, leave: leaveKeys };

const ROLES = [
  ["reader", "reader: reads"],
  ["user", "user: submits tasks too"],
  ["admin", "admin: operates the queue too"],
];
const LIMITS = ["max_priority", "max_running", "max_waiting", "rate"];
const BUDGETS = ["requests_per_day", "requests_per_month", "tokens_per_day", "tokens_per_month"];

function draw({ keys }) {
  return h(
    "div",
    { class: "overview" },
    h(
      "div",
      { class: "history-head" },
      h("h1", null, "Keys"),
      keys?.items &&
        !keys.form &&
        button("Add key", openKeyForm, { variant: "primary", iconName: "plus" }),
    ),
    body(keys),
  );
}

function body(keys) {
  if (!keys?.items) return h("div", { key: "body", class: "wide" }, missing(keys?.error));
  return [
    keys.created && createdKey(keys.created),
    keys.form && keyForm(keys.form),
    h(
      "section",
      { key: "list", class: "sheet wide", "aria-label": "Keys" },
      staleWarning(keys.error, loadKeys),
      keys.items.length ? table(keys.items) : noKeys(),
    ),
  ];
}

function missing(error) {
  if (!error) return loadingMessage("the keys");
  if (error.status === 403) return emptyMessage("Keys are for admins", error.message);
  return errorMessage(error, loadKeys);
}

const noKeys = () =>
  emptyMessage(
    "No keys",
    "Everybody who can reach this server may do everything. With the first key, which is an admin's, every request needs one.",
  );

const createdKey = ({ name, key }) =>
  h(
    "section",
    { key: "created", class: "sheet wide", role: "status", "aria-label": "New key" },
    h("h2", null, `The key of ${name}`),
    h("p", null, "Copy it now: it is not shown again."),
    h("code", { class: "new-key" }, key),
    h(
      "div",
      { class: "row" },
      button("Copy", () => copyText(key), { variant: "primary", iconName: "copy" }),
      button("Done", forgetCreated),
    ),
  );

const table = (items) =>
  reportTable(
    "Keys",
    ["name", "role", "tenant", "key", "limits", "left", "expires", "change"],
    items.map(keyRow),
  );

function keyRow(info) {
  const { name, role, source } = info;
  return h(
    "tr",
    { key: name },
    h("th", { scope: "row" }, name),
    h("td", null, role),
    h("td", null, info.tenant ?? (role === "user" ? name : "–")),
    h(
      "td",
      null,
      info.hint ? h("code", null, `${info.hint}…`) : h("span", { class: "quiet" }, "–"),
    ),
    h("td", null, limitList(info)),
    h("td", null, info.budgets.length ? budgetList(info.budgets) : "–"),
    h("td", null, timeLabel(info.expires_at, true)),
    h(
      "td",
      null,
      source === "config"
        ? h("span", { class: "quiet" }, "in the configuration")
        : h(
            "div",
            { class: "row" },
            button("Rotate", () => confirmRotate(info)),
            button("Revoke", () => confirmRevoke(info), { variant: "danger" }),
          ),
    ),
  );
}

function limitList(info) {
  const words = [
    ...["models", "backends"]
      .filter((name) => info[name].length)
      .map((name) => `${name}: ${info[name].join(", ")}`),
    ...LIMITS.filter((name) => info[name] !== null).map(
      (name) => `${name.replace("_", " ")}: ${info[name]}`,
    ),
    ...BUDGETS.filter((name) => info[name] !== null).map(
      (name) => `${budgetName(name)}: ${number(info[name])}`,
    ),
  ];
  if (!words.length) return "–";
  return h(
    "ul",
    { class: "budgets" },
    words.map((text) => h("li", { key: text }, text)),
  );
}

// --- the form

function keyForm(form) {
  const submit = (event) => {
    event.preventDefault();
    createKey();
  };
  const line = (name, label, props = {}, hint = null) =>
    field(
      `key-${name}`,
      label,
      (more) =>
        h("input", {
          ...more,
          value: form[name],
          oninput: ({ target }) => changeKeyForm({ [name]: target.value }),
          autocomplete: "off",
          ...props,
        }),
      { error: form.error?.field === name ? form.error.message : null, hint },
    );
  const fields = ["name", "tenant", "role", "models", "backends", "rate", "max_priority"];
  const isElsewhere =
    form.error &&
    ![...fields, "expires_at", ...Object.keys(NUMBER_FIELDS)].includes(form.error.field);
  const chooseRole = ({ target }) => changeKeyForm({ role: target.value });
  return h(
    "form",
    {
      key: "form",
      class: "sheet wide",
      novalidate: true,
      onsubmit: submit,
      "aria-label": "New key",
    },
    h(
      "div",
      { class: "key-fields" },
      line("name", "Name", { mounted: (node) => node.focus() }),
      field(
        "key-role",
        "Role",
        (more) => h("select", { ...more, oninput: chooseRole }, selectOptions(ROLES, form.role)),
        { error: form.error?.field === "role" ? form.error.message : null },
      ),
      line("tenant", "Tenant", {}, "Whose tasks it sees. A user's default is the name"),
    ),
    disclosure(
      "more",
      form.showsLimits || (form.error !== null && !isElsewhere),
      (showsLimits) => changeKeyForm({ showsLimits }),
      "Limits",
      h(
        "div",
        { class: "key-fields" },
        line("models", "Models", {}, "Patterns with commas: qwen3*, smollm2"),
        line("backends", "Model servers", {}, "Patterns with commas"),
        line("rate", "Requests", {}, "10/s, 100/m or 1000/h"),
        line("max_priority", "Highest priority", {}, "A name, or 1 to 15"),
        Object.entries(NUMBER_FIELDS).map(([name, label]) =>
          line(name, label, { type: "number", min: 1 }),
        ),
        line("expires_at", "Expires", { type: "datetime-local" }),
      ),
    ),
    isElsewhere && h("p", { class: "form-error", role: "alert" }, form.error.message),
    h(
      "div",
      { class: "row end" },
      button("Cancel", closeKeyForm),
      h("button", { class: "button primary", disabled: form.isSending }, "Create key"),
    ),
  );
}
