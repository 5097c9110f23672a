// Search and filters above the list of tasks; the address holds them.

import { button, field, PRIORITY_CHOICES, selectOptions } from "../components/controls.js";
import { h } from "../lib/dom.js";
import { fromLocalField, toLocalField } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { href, lastValue, navigate, replaceRoute } from "../state/router.js";
import { state, update } from "../state/store.js";
import { knownModels } from "../state/task_form.js";
import { sortBy } from "./task_row.js";

const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];
const MORE_FILTERS = [
  "type",
  "priority",
  "model",
  "tag",
  "batch_id",
  "cron_id",
  "tenant",
  "waiting_for",
  "error_code",
  "failure",
  "since",
  "until",
];
const TYPES = [["", "any"], "chat", "generate", "embed"];
const REASONS = [["", "any"], "slot", "schedule", "retry", "backend", "paused"];
const ERROR_CODES = [["", "any"], "expired"];
const FILTER_LABELS = {
  batch_id: "batch",
  cron_id: "cron",
  waiting_for: "waiting for",
  error_code: "error",
};

export function taskFilters(query, list, stats) {
  const used = MORE_FILTERS.filter((name) => lastValue(query, name));
  return h(
    "search",
    { class: "filters" },
    h(
      "div",
      { class: "row" },
      h("input", {
        type: "search",
        "aria-label": "Search",
        placeholder: "Search id, model, tag, text   /",
        value: searchDraft ?? lastValue(query, "q"),
        oninput: onSearch,
        onblur: applySearch,
      }),
      h(
        "div",
        { class: "toggles", role: "group", "aria-label": "Status" },
        STATUSES.map((name) => statusToggle(query, name, stats)),
      ),
      h(
        "label",
        { class: "sort-field" },
        h("span", null, "Sort by"),
        h(
          "select",
          { oninput: (e) => sortBy(e.target.value) },
          selectOptions(["created", "started", "ended", "priority"], list.sort),
        ),
      ),
      button(
        used.length ? `Filters (${used.length})` : "Filters",
        () => update({ showsFilters: !state.showsFilters }),
        { iconName: "down", "aria-expanded": state.showsFilters },
      ),
    ),
    state.showsFilters ? filterFields(query, stats) : used.length > 0 && filterChips(query, used),
  );
}

let searchDraft = null; // what is being typed, until the address has it
let searchTimer = null;

function onSearch(event) {
  searchDraft = event.target.value;
  clearTimeout(searchTimer);
  searchTimer = setTimeout(applySearch, 250);
}

function applySearch() {
  if (searchDraft === null) return;
  clearTimeout(searchTimer);
  const q = searchDraft.trim();
  searchDraft = null;
  if (q !== lastValue(state.route.query, "q"))
    replaceRoute("tasks", null, { ...state.route.query, q });
}

function statusToggle(query, name, stats) {
  const selected = query.status ?? [];
  const isOn = selected.includes(name);
  const count = stats?.[`${name}_tasks`];
  return h(
    "button",
    {
      type: "button",
      class: `toggle status ${name}`,
      "aria-pressed": isOn,
      title: `${name}: ${count ?? "?"} in all`,
      onclick: () => toggleStatus(name),
    },
    icon(name),
    h("span", null, name),
  );
}

/** Reads the address: the page may not have been redrawn since the last click. */
function toggleStatus(name) {
  const selected = state.route.query.status ?? [];
  setFilter(
    "status",
    selected.includes(name) ? selected.filter((other) => other !== name) : [...selected, name],
  );
}

const setFilter = (name, value) => navigate("tasks", null, { ...state.route.query, [name]: value });

const drafts = {}; // other texts that are being typed, by name

const draft = (name) => (event) => (drafts[name] = event.target.value);

function applyDraft(name) {
  if (drafts[name] === undefined) return;
  const value = drafts[name].trim();
  delete drafts[name];
  if (value !== lastValue(state.route.query, name)) setFilter(name, value);
}

function filterFields(query, stats) {
  const models = knownModels(stats);
  const text = (name, label, more = {}) =>
    field(`filter-${name}`, label, (props) =>
      h("input", {
        ...props,
        value: drafts[name] ?? lastValue(query, name),
        oninput: draft(name),
        onchange: () => applyDraft(name),
        onblur: () => applyDraft(name),
        ...more,
      }),
    );
  const time = (name, label) =>
    field(`filter-${name}`, label, (props) =>
      h("input", {
        ...props,
        type: "datetime-local",
        value: lastValue(query, name) ? toLocalField(lastValue(query, name)).slice(0, 16) : "",
        oninput: (e) => setFilter(name, fromLocalField(e.target.value)),
      }),
    );
  return h(
    "div",
    { class: "more-fields" },
    field("filter-type", "Type", (props) =>
      h(
        "select",
        { ...props, oninput: (e) => setFilter("type", e.target.value) },
        selectOptions(TYPES, lastValue(query, "type")),
      ),
    ),
    field("filter-priority", "Priority", (props) =>
      h(
        "select",
        { ...props, oninput: (e) => setFilter("priority", e.target.value) },
        selectOptions([["", "any"], ...PRIORITY_CHOICES], lastValue(query, "priority")),
      ),
    ),
    field("filter-waiting-for", "Waiting for", (props) =>
      h(
        "select",
        { ...props, oninput: (e) => setFilter("waiting_for", e.target.value) },
        selectOptions(REASONS, lastValue(query, "waiting_for")),
      ),
    ),
    field("filter-error-code", "Error", (props) =>
      h(
        "select",
        { ...props, oninput: (e) => setFilter("error_code", e.target.value) },
        selectOptions(ERROR_CODES, lastValue(query, "error_code")),
      ),
    ),
    text("model", "Model", { list: "known-models", placeholder: "any" }),
    h(
      "datalist",
      { id: "known-models" },
      models.map((name) => h("option", { key: name, value: name })),
    ),
    text("tag", "Tag", { placeholder: "any" }),
    text("batch_id", "Batch", { placeholder: "id" }),
    text("cron_id", "Cron", { placeholder: "id" }),
    time("since", "Created since"),
    time("until", "Created until"),
    h("a", { class: "button", href: href("tasks", null, { sort: query.sort }) }, "Clear"),
  );
}

const filterChips = (query, used) =>
  h(
    "div",
    { class: "row chips" },
    used.map((name) =>
      h(
        "a",
        {
          key: name,
          class: "chip",
          href: href("tasks", null, { ...query, [name]: null }),
          title: "Remove this filter",
        },
        h("span", null, `${FILTER_LABELS[name] ?? name}: ${query[name].join(" or ")}`),
        icon("close"),
      ),
    ),
  );
