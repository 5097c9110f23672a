// A row of the list of tasks.

import {
  modelNames,
  PRIORITY_CHOICES,
  priorityLabel,
  selectOptions,
  statusLabel,
  timeLabel,
} from "../components/controls.js";
import { h } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { placeInLine, secondsRan, secondsWaited, startsIn } from "../server/task_times.js";
import { handlePriority, optimisticValue } from "../state/actions.js";
import { href, navigate } from "../state/router.js";
import { merge, state } from "../state/store.js";
import * as listing from "../state/task_list.js";

const SORTS = [
  ["created", "Created"],
  ["started", "Started"],
  ["ended", "Ended"],
  ["priority", "Priority"],
];
export function headRow(list) {
  const isAll = list.rows.length > 0 && list.selected.size === list.rows.length;
  return h(
    "thead",
    { role: "rowgroup" },
    h(
      "tr",
      { role: "row", "aria-rowindex": 1 },
      h(
        "th",
        { role: "columnheader", class: "c-check", scope: "col" },
        h("input", {
          type: "checkbox",
          "aria-label": "Select all that are loaded",
          checked: isAll,
          indeterminate: list.selected.size > 0 && !isAll,
          oninput: (e) => listing.selectLoadedTasks(e.target.checked),
        }),
      ),
      h("th", { role: "columnheader", class: "c-status", scope: "col" }, "Status"),
      h("th", { role: "columnheader", class: "c-title", scope: "col" }, "Task"),
      h("th", { role: "columnheader", class: "c-model", scope: "col" }, "Model"),
      h("th", { role: "columnheader", class: "c-type", scope: "col" }, "Type"),
      sortHeader(list, "priority", "c-level"),
      sortHeader(list, "created", "c-time"),
      sortHeader(list, list.sort === "ended" ? "ended" : "started", "c-started"),
      h("th", { role: "columnheader", class: "c-span", scope: "col" }, "Waited"),
      h("th", { role: "columnheader", class: "c-span", scope: "col" }, "Ran"),
      h("th", { role: "columnheader", class: "c-where", scope: "col" }, "Where"),
    ),
  );
}

function sortHeader(list, sort, className) {
  const isSorted = list.sort === sort;
  const label = SORTS.find(([name]) => name === sort)[1];
  return h(
    "th",
    {
      role: "columnheader",
      class: className,
      scope: "col",
      "aria-sort": isSorted ? "descending" : null,
    },
    h("button", { class: "sort", onclick: () => sortBy(sort) }, label, isSorted && icon("down")),
  );
}

export const sortBy = (sort) =>
  navigate("tasks", null, { ...state.route.query, sort: sort === "created" ? null : sort });

const rowCache = new WeakMap(); // task -> {description, inputs}: an unchanged row is not compared again

/** `index` counts from 0 in the whole list. */
export function taskRow(list, id, index, isOpen) {
  const task = list.tasks.get(id);
  const second = isActive(task) ? Math.floor(Date.now() / 1000) : 0;
  const inputs = [
    index,
    isOpen,
    list.allMatching || list.selected.has(id),
    list.activeId,
    list.editingId,
    list.outdated.has(id),
    list.sort,
    state.route.query,
    second,
    shownPriority(task),
  ];
  const known = rowCache.get(task);
  if (known?.inputs.every((value, at) => value === inputs[at])) return known.description;
  const description = row(list, task, index, isOpen);
  rowCache.set(task, { description, inputs });
  return description;
}

function row(list, task, index, isOpen) {
  const { id } = task;
  const isSelected = list.allMatching || list.selected.has(id);
  const isRowActive = list.activeId === id;
  const classes = [
    "task-row",
    isOpen && "is-open",
    isSelected && "is-selected",
    isRowActive && "is-active",
    list.outdated.has(id) && "is-outdated",
  ];
  const props = {
    key: id,
    role: "row",
    class: classes.filter(Boolean).join(" "),
    tabindex: isRowActive || (list.activeId === null && index === 0) ? 0 : -1,
    "aria-rowindex": index + 2,
    "aria-selected": isSelected,
    onclick: (event) => openOnClick(event, id),
    onfocus: () => setActiveRow(id),
  };
  return h(
    "tr",
    props,
    h(
      "td",
      { role: "gridcell", class: "c-check" },
      h("input", {
        type: "checkbox",
        tabindex: -1,
        "aria-label": `Select ${task.title || id}`,
        checked: isSelected,
        oninput: (e) => listing.selectTask(id, e.target.checked),
      }),
    ),
    h("td", { role: "gridcell", class: "c-status" }, statusLabel(task)),
    h(
      "td",
      { role: "gridcell", class: "c-title" },
      h(
        "a",
        {
          href: href("tasks", null, { ...state.route.query, open: id }),
          tabindex: -1,
          title: task.error ?? task.title,
        },
        task.title || h("span", { class: "quiet" }, "untitled"),
      ),
      task.error && task.status === "failed" && h("span", { class: "row-error" }, task.error),
      task.tags.slice(0, 2).map((tag) => h("span", { class: "tag" }, tag)),
    ),
    h("td", { role: "gridcell", class: "c-model", title: modelNames(task) }, modelNames(task)),
    h("td", { role: "gridcell", class: "c-type" }, task.type),
    h("td", { role: "gridcell", class: "c-level" }, priorityCell(list, task)),
    h("td", { role: "gridcell", class: "c-time" }, timeLabel(task.created_at)),
    h("td", { role: "gridcell", class: "c-started" }, startOrEnd(list, task)),
    h("td", { role: "gridcell", class: "c-span" }, duration(secondsWaited(task))),
    h("td", { role: "gridcell", class: "c-span" }, duration(secondsRan(task))),
    h(
      "td",
      { role: "gridcell", class: "c-where" },
      task.executed_on ?? h("span", { class: "quiet" }, task.backend ?? "–"),
    ),
  );
}

/** When it started or ended; of a pending task, when it may start, or its place in line. */
function startOrEnd({ sort }, task) {
  const [expected, place] = [startsIn(task), placeInLine(task)];
  if (!expected && !place) return timeLabel(sort === "ended" ? task.completed_at : task.started_at);
  return h(
    "span",
    {
      class: "quiet",
      title: [place, expected && `starts: ${expected}`].filter(Boolean).join(", "),
    },
    expected ?? place,
  );
}

const shownPriority = ({ id, priority: value }) => optimisticValue(`priority of ${id}`, value);

const setActiveRow = (id) => state.list.activeId === id || merge("list", { activeId: id });

function openOnClick(event, id) {
  if (event.target.closest("input, button, select, a")) return;
  navigate("tasks", null, { ...state.route.query, open: id });
}

function isActive({ status: name }) {
  return name === "pending" || name === "running";
}

function priorityCell(list, task) {
  if (!isActive(task)) return priorityLabel(task.priority);
  if (list.editingId !== task.id) {
    return h(
      "button",
      {
        class: "edit-level",
        title: "Change the priority",
        onclick: () => merge("list", { editingId: task.id }),
      },
      priorityLabel(shownPriority(task)),
      h("span", { class: "hidden" }, ", change the priority"),
    );
  }
  const stop = () => state.list?.editingId === task.id && merge("list", { editingId: null });
  const change = (event) => {
    stop();
    handlePriority(task, Number(event.target.value));
  };
  return h(
    "select",
    {
      "aria-label": "Priority",
      mounted: (node) => node.focus(),
      oninput: change,
      onblur: stop,
      onkeydown: (e) => e.key === "Escape" && stop(),
    },
    selectOptions(PRIORITY_CHOICES, shownPriority(task)),
  );
}
