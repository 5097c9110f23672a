// A row of the list of tasks.

import { setPriority, wished } from "../actions.js";
import { h } from "../dom.js";
import { standing, startsIn } from "../estimates.js";
import { between, priority, span } from "../format.js";
import * as listing from "../listing.js";
import { go, href } from "../router.js";
import { merge, state } from "../state.js";
import { icon } from "./icons.js";
import { level, options, status, when } from "./parts.js";

const SORTS = [["created", "Created"], ["started", "Started"], ["ended", "Ended"], ["priority", "Priority"]];
export const LEVELS = Array.from({ length: 15 }, (_, index) => {
  const value = 15 - index;
  return [value, priority(value) === String(value) ? value : `${value} ${priority(value)}`];
});

export function headRow(list) {
  const isAll = list.rows.length > 0 && list.selected.size === list.rows.length;
  return h("thead", { role: "rowgroup" },
    h("tr", { role: "row", "aria-rowindex": 1 },
      h("th", { role: "columnheader", class: "c-check", scope: "col" },
        h("input", { type: "checkbox", "aria-label": "Select all that are loaded", checked: isAll, indeterminate: list.selected.size > 0 && !isAll, oninput: (e) => listing.selectLoaded(e.target.checked) })),
      h("th", { role: "columnheader", class: "c-status", scope: "col" }, "Status"),
      h("th", { role: "columnheader", class: "c-title", scope: "col" }, "Task"),
      h("th", { role: "columnheader", class: "c-model", scope: "col" }, "Model"),
      h("th", { role: "columnheader", class: "c-type", scope: "col" }, "Type"),
      sortable(list, "priority", "c-level"),
      sortable(list, "created", "c-time"),
      sortable(list, list.sort === "ended" ? "ended" : "started", "c-started"),
      h("th", { role: "columnheader", class: "c-span", scope: "col" }, "Waited"),
      h("th", { role: "columnheader", class: "c-span", scope: "col" }, "Ran"),
      h("th", { role: "columnheader", class: "c-where", scope: "col" }, "Where")));
}

function sortable(list, sort, look) {
  const isIt = list.sort === sort;
  const word = SORTS.find(([name]) => name === sort)[1];
  return h("th", { role: "columnheader", class: look, scope: "col", "aria-sort": isIt ? "descending" : null },
    h("button", { class: "sort", onclick: () => sortBy(sort) }, word, isIt && icon("down")));
}

export const sortBy = (sort) => go("tasks", null, { ...state.route.query, sort: sort === "created" ? null : sort });

const drawn = new WeakMap(); // task -> {made, from}: a row that is as it was need not be compared

/** `index` from 0 within the whole list. */
export function taskRow(list, id, index, isOpen) {
  const task = list.tasks.get(id);
  const second = isOpenEnded(task) ? Math.floor(Date.now() / 1000) : 0;
  const from = [index, isOpen, list.matching || list.selected.has(id), list.at, list.editing, list.gone.has(id), list.sort, state.route.query, second, levelOf(task)];
  const known = drawn.get(task);
  if (known?.from.every((value, at) => value === from[at])) return known.made;
  const made = row(list, task, index, isOpen);
  drawn.set(task, { made, from });
  return made;
}

function row(list, task, index, isOpen) {
  const { id } = task;
  const isChosen = list.matching || list.selected.has(id);
  const isAt = list.at === id;
  const looks = ["task-row", isOpen && "is-open", isChosen && "is-chosen", isAt && "is-at", list.gone.has(id) && "is-gone"];
  const props = {
    key: id, role: "row", class: looks.filter(Boolean).join(" "), tabindex: isAt || (list.at === null && index === 0) ? 0 : -1,
    "aria-rowindex": index + 2, "aria-selected": isChosen, onclick: (event) => open(event, id), onfocus: () => mark(id),
  };
  return h("tr", props,
    h("td", { role: "gridcell", class: "c-check" },
      h("input", { type: "checkbox", tabindex: -1, "aria-label": `Select ${task.title || id}`, checked: isChosen, oninput: (e) => listing.select(id, e.target.checked) })),
    h("td", { role: "gridcell", class: "c-status" }, status(task)),
    h("td", { role: "gridcell", class: "c-title" },
      h("a", { href: href("tasks", null, { ...state.route.query, open: id }), tabindex: -1, title: task.error ?? task.title }, task.title || h("span", { class: "quiet" }, "untitled")),
      task.error && task.status === "failed" && h("span", { class: "why" }, task.error),
      task.tags.slice(0, 2).map((tag) => h("span", { class: "tag" }, tag))),
    h("td", { role: "gridcell", class: "c-model", title: task.model }, task.model),
    h("td", { role: "gridcell", class: "c-type" }, task.type),
    h("td", { role: "gridcell", class: "c-level" }, levelCell(list, task)),
    h("td", { role: "gridcell", class: "c-time" }, when(task.created_at)),
    h("td", { role: "gridcell", class: "c-started" }, startOrEnd(list, task)),
    h("td", { role: "gridcell", class: "c-span" }, span(waited(task))),
    h("td", { role: "gridcell", class: "c-span" }, span(ran(task))),
    h("td", { role: "gridcell", class: "c-where" }, task.executed_on ?? h("span", { class: "quiet" }, task.backend ?? "–")));
}

/** When it started or ended, or of a task that waits when it may start, or its place. */
function startOrEnd({ sort }, task) {
  const [expected, place] = [startsIn(task), standing(task)];
  if (!expected && !place) return when(sort === "ended" ? task.completed_at : task.started_at);
  return h("span", { class: "quiet", title: [place, expected && `starts: ${expected}`].filter(Boolean).join(", ") }, expected ?? place);
}

const levelOf = ({ id, priority: value }) => wished(`priority of ${id}`, value);

const mark = (id) => state.list.at === id || merge("list", { at: id });

function open(event, id) {
  if (event.target.closest("input, button, select, a")) return;
  go("tasks", null, { ...state.route.query, open: id });
}

function isOpenEnded({ status: name }) {
  return name === "pending" || name === "running";
}

function levelCell(list, task) {
  if (!isOpenEnded(task)) return level(task.priority);
  if (list.editing !== task.id) {
    return h("button", { class: "edit-level", title: "Change the priority", onclick: () => merge("list", { editing: task.id }) }, level(levelOf(task)), h("span", { class: "hidden" }, ", change the priority"));
  }
  const stop = () => state.list?.editing === task.id && merge("list", { editing: null });
  const change = (event) => {
    stop();
    setPriority(task, Number(event.target.value));
  };
  return h("select", { "aria-label": "Priority", made: (node) => node.focus(), oninput: change, onblur: stop, onkeydown: (e) => e.key === "Escape" && stop() }, options(LEVELS, levelOf(task)));
}

const now = () => new Date().toISOString();

/** Seconds that it waited for its first run, or has waited by now; null while it is not due. */
export function waited(task) {
  if (task.status === "pending" && task.scheduled_at > now()) return null;
  const from = task.scheduled_at > task.queued_at ? task.scheduled_at : task.queued_at;
  const first = task.attempts[0]?.started_at ?? task.started_at;
  if (first) return between(from, first);
  return task.status === "pending" ? between(from, now()) : null;
}

/** Seconds of its last run, or of the one that goes on. */
export function ran(task) {
  if (!task.started_at || task.status === "pending") return null;
  return between(task.started_at, task.status === "running" ? now() : task.completed_at);
}
