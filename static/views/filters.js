// Above the list: what is searched for. The address keeps it.

import { h } from "../dom.js";
import { modelsOf } from "../form.js";
import { fromLocalField, toLocalField } from "../format.js";
import { go, href, one, replace } from "../router.js";
import { state, update } from "../state.js";
import { icon } from "./icons.js";
import { button, field, options } from "./parts.js";
import { LEVELS, sortBy } from "./task_row.js";

const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];
const MORE = ["type", "priority", "model", "tag", "batch_id", "cron_id", "tenant", "waiting_for", "since", "until"];
const TYPES = [["", "any"], "chat", "generate", "embed"];
const REASONS = [["", "any"], "slot", "schedule", "retry", "backend", "paused"];
const WORDS = { batch_id: "batch", cron_id: "cron", waiting_for: "waiting for" };

export function filters(query, list, stats) {
  const used = MORE.filter((name) => one(query, name));
  return h("search", { class: "filters" },
    h("div", { class: "row" },
      h("input", { type: "search", "aria-label": "Search", placeholder: "Search id, model, tag, text   /", value: typed ?? one(query, "q"), oninput: onSearch, onblur: searched }),
      h("div", { class: "toggles", role: "group", "aria-label": "Status" }, STATUSES.map((name) => statusToggle(query, name, stats))),
      h("label", { class: "sort-field" }, h("span", null, "Sort by"),
        h("select", { oninput: (e) => sortBy(e.target.value) }, options(["created", "started", "ended", "priority"], list.sort))),
      button(used.length ? `Filters (${used.length})` : "Filters", () => update({ hasFilters: !state.hasFilters }), { image: "down", "aria-expanded": state.hasFilters })),
    state.hasFilters ? moreFields(query, stats) : used.length > 0 && chips(query, used));
}

let typed = null; // what is being typed, before it is in the address
let timer = null;

function onSearch(event) {
  typed = event.target.value;
  clearTimeout(timer);
  timer = setTimeout(searched, 250);
}

function searched() {
  if (typed === null) return;
  clearTimeout(timer);
  const q = typed.trim();
  typed = null;
  if (q !== one(state.route.query, "q")) replace("tasks", null, { ...state.route.query, q });
}

function statusToggle(query, name, stats) {
  const chosen = query.status ?? [];
  const isOn = chosen.includes(name);
  const count = stats?.[`${name}_tasks`];
  return h("button", { type: "button", class: `toggle status ${name}`, "aria-pressed": isOn, title: `${name}: ${count ?? "?"} in all`, onclick: () => toggleStatus(name) },
    icon(name), h("span", null, name));
}

/** By the address as it is now: the page may not have been drawn since the last click. */
function toggleStatus(name) {
  const chosen = state.route.query.status ?? [];
  set("status", chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name]);
}

const set = (name, value) => go("tasks", null, { ...state.route.query, [name]: value });

const drafts = {}; // of the other texts, by name, before they are in the address

const draft = (name) => (event) => (drafts[name] = event.target.value);

function settleDraft(name) {
  if (drafts[name] === undefined) return;
  const value = drafts[name].trim();
  delete drafts[name];
  if (value !== one(state.route.query, name)) set(name, value);
}

function moreFields(query, stats) {
  const models = modelsOf(stats);
  const text = (name, label, more = {}) =>
    field(`filter-${name}`, label, (props) => h("input", { ...props, value: drafts[name] ?? one(query, name), oninput: draft(name), onchange: () => settleDraft(name), onblur: () => settleDraft(name), ...more }));
  const time = (name, label) =>
    field(`filter-${name}`, label, (props) =>
      h("input", { ...props, type: "datetime-local", value: one(query, name) ? toLocalField(one(query, name)).slice(0, 16) : "", oninput: (e) => set(name, fromLocalField(e.target.value)) }));
  return h("div", { class: "more-fields" },
    field("filter-type", "Type", (props) => h("select", { ...props, oninput: (e) => set("type", e.target.value) }, options(TYPES, one(query, "type")))),
    field("filter-priority", "Priority", (props) => h("select", { ...props, oninput: (e) => set("priority", e.target.value) }, options([["", "any"], ...LEVELS], one(query, "priority")))),
    field("filter-waiting-for", "Waiting for", (props) => h("select", { ...props, oninput: (e) => set("waiting_for", e.target.value) }, options(REASONS, one(query, "waiting_for")))),
    text("model", "Model", { list: "known-models", placeholder: "any" }),
    h("datalist", { id: "known-models" }, models.map((name) => h("option", { key: name, value: name }))),
    text("tag", "Tag", { placeholder: "any" }),
    text("batch_id", "Batch", { placeholder: "id" }),
    text("cron_id", "Cron", { placeholder: "id" }),
    time("since", "Created since"),
    time("until", "Created until"),
    h("a", { class: "button", href: href("tasks", null, { sort: query.sort }) }, "Clear"));
}

const chips = (query, used) =>
  h("div", { class: "row chips" }, used.map((name) =>
    h("a", { key: name, class: "chip", href: href("tasks", null, { ...query, [name]: null }), title: "Take this filter away" },
      h("span", null, `${WORDS[name] ?? name}: ${query[name].join(" or ")}`), icon("close"))));
