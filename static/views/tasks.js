// The list of tasks with its filters, actions on selected tasks, and one task beside it.

import {
  button,
  emptyMessage,
  errorMessage,
  loadingMessage,
  staleWarning,
} from "../components/controls.js";
import { selectionBar } from "../components/selection_bar.js";
import { h } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { applyFeedToTask, closeTask, openTask } from "../state/open_task.js";
import { href, lastValue, navigate } from "../state/router.js";
import { merge, state } from "../state/store.js";
import * as listing from "../state/task_list.js";
import { taskPanel } from "./task.js";
import { taskFilters } from "./task_filters.js";
import { headRow, taskRow } from "./task_row.js";

export const tasksView = {
  title: "Tasks",
  draw,
  onDrawn,
  enter,
  leave: closeTask,
  onMessage,
  onKey,
};

const OVERSCAN = 12; // rows drawn above and below the visible ones
const READ_AHEAD = 40; // rows below the visible ones; with fewer, the next page is loaded

function enter(route, before) {
  listing.showTaskList(route.query, before.view !== "tasks");
  const id = lastValue(route.query, "open");
  if (id) openTask(id);
  else closeTask();
}

function onMessage(message) {
  listing.applyFeedToTaskList(message);
  applyFeedToTask(message);
}

/**
 * Loads the next page while the end of the loaded rows is near, whatever brought it there: a scroll, a
 * taller window, rows that went, or a scroll while another page was loading.
 */
function onDrawn({ list }) {
  if (!list) return;
  const { top, height } = list.scroll;
  if (top + height > (list.rows.length - READ_AHEAD) * rowHeight(list)) listing.loadMoreTasks();
}

function draw({ list, route, stats, task }) {
  if (!list) return loadingMessage("tasks");
  const open = lastValue(route.query, "open");
  return h(
    "div",
    { class: `tasks ${open ? "has-panel" : ""}` },
    h("h1", { class: "hidden" }, "Tasks"),
    h("p", { class: "hidden", role: "status" }, list.announcement), // for screen readers, so not at every event
    h(
      "section",
      { class: "tasks-list", "aria-label": "List of tasks" },
      taskFilters(route.query, list, stats),
      list.selected.size
        ? selectionBar(list, listing.totalMatching(list, stats))
        : countBar(list, stats),
      list.rows.length > 0 && staleWarning(list.error, listing.refreshTaskList),
      taskTable(list, open, stats),
    ),
    open &&
      h(
        "aside",
        { key: "panel", class: "panel", "aria-label": "The task" },
        taskPanel(task, closePanel),
      ),
  );
}

const closePanel = () => navigate("tasks", null, { ...state.route.query, open: null });

/** The number of tasks, and a button for changes that are held back. */
function countBar(list, stats) {
  const total = listing.totalMatching(list, stats);
  const incoming = list.incoming.size;
  const outdated = list.outdated.size;
  const held = [
    incoming && `${number(incoming)}${incoming >= 1000 ? " or more" : ""} new`,
    outdated && `${number(outdated)} changed`,
  ]
    .filter(Boolean)
    .join(", ");
  const count =
    total === null
      ? `${plural(list.rows.length, "task")}${list.isComplete ? "" : " so far"}`
      : plural(total, "task");
  return h(
    "div",
    { key: "news", class: "bar" },
    h("span", { class: "quiet" }, list.isLoading ? "Loading …" : list.isLoaded && count),
    held && button(`Show ${held}`, showHeldRows, { variant: "plain" }),
  );
}

function showHeldRows() {
  merge("list", { activeId: null });
  document.querySelector(".rows").scrollTop = 0;
  listing.showHeldBack();
}

function taskTable(list, open, stats) {
  const { rows, scroll } = list;
  const height = rowHeight(list);
  const first = Math.max(0, Math.floor(scroll.top / height) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((scroll.top + scroll.height) / height) + OVERSCAN);
  const total = listing.totalMatching(list, stats);
  const layout = isNarrow(list)
    ? "narrow"
    : scroll.width < 880
      ? "tight"
      : scroll.width < 1120
        ? "medium"
        : "wide";
  // A key: another list starts at its top, not where the previous one was scrolled to.
  return h(
    "div",
    {
      key: list.key,
      class: `rows ${layout}`,
      tabindex: -1,
      onscroll: onScroll,
      mounted: onMounted,
    },
    rows.length > 0 &&
      h(
        "div",
        {
          style: { height: `${rows.length * height + 40}px`, "padding-top": `${first * height}px` },
        },
        h(
          "table",
          {
            role: "grid",
            "aria-label": "Tasks",
            "aria-multiselectable": true,
            "aria-rowcount": total ?? -1,
          },
          headRow(list),
          h(
            "tbody",
            { role: "rowgroup" },
            rows
              .slice(first, last)
              .map((id, index) => taskRow(list, id, first + index, open === id)),
          ),
        ),
      ),
    emptyTable(list),
  );
}

function emptyTable(list) {
  if (list.rows.length) return null;
  if (list.error) return errorMessage(list.error, listing.refreshTaskList);
  if (!list.isComplete) return loadingMessage("tasks");
  if (Object.keys(list.filter).length) {
    return emptyMessage(
      "No matching tasks",
      "Remove a filter to see more.",
      h("a", { class: "button", href: href("tasks") }, "Clear all filters"),
    );
  }
  return emptyMessage(
    "No tasks yet",
    "Submit one here, or point an Ollama client at this server.",
    h("a", { class: "button primary", href: href("submit") }, "Submit a task"),
  );
}

const isNarrow = ({ scroll }) => scroll.width < 620;
const rowHeight = (list) => (isNarrow(list) ? 64 : innerWidth >= 2400 ? 40 : 36); // as --row in base.css, and .narrow in tasks.css

function onScroll({ target }) {
  const { list } = state;
  const height = rowHeight(list);
  const moved = Math.abs(target.scrollTop - list.scroll.top) >= height * 6 || target.scrollTop < 9;
  if (moved) merge("list", { scroll: { ...list.scroll, top: target.scrollTop } });
}

function onMounted(node) {
  node.scrollTop = state.list.scroll.top; // where it was before another view was shown
  new ResizeObserver(() => {
    if (state.list && node.clientHeight)
      merge("list", {
        scroll: { ...state.list.scroll, width: node.clientWidth, height: node.clientHeight },
      });
  }).observe(node);
}

/** j, k or arrows move; Enter opens; x selects; Escape closes. */
function onKey(event) {
  const { list, route } = state;
  if (!list || event.target.closest("aside, button, a.button")) {
    if (event.key === "Escape") closePanel();
    return;
  }
  const by = {
    j: 1,
    ArrowDown: 1,
    k: -1,
    ArrowUp: -1,
    PageDown: 10,
    PageUp: -10,
    Home: -1e9,
    End: 1e9,
  }[event.key];
  if (by) {
    event.preventDefault();
    const to = listing.moveActiveRow(by);
    scrollToRow(to);
    if (lastValue(route.query, "open")) openRow(list.rows[to]);
  } else if (event.key === "Enter" && list.activeId) {
    event.preventDefault();
    openRow(list.activeId);
  } else if (event.key === "x" && list.activeId)
    listing.selectTask(list.activeId, !list.selected.has(list.activeId));
  else if (event.key === "Escape") {
    if (lastValue(route.query, "open")) closePanel();
    else if (list.selected.size) listing.selectLoadedTasks(false);
    else merge("list", { activeId: null });
  }
}

const openRow = (id) => navigate("tasks", null, { ...state.route.query, open: id });

function scrollToRow(index) {
  const box = document.querySelector(".rows");
  const height = rowHeight(state.list);
  const top = index * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height + 40 > box.scrollTop + box.clientHeight)
    box.scrollTop = top + height + 40 - box.clientHeight;
  requestAnimationFrame(() =>
    document.querySelector("tr.is-active")?.focus({ preventScroll: true }),
  );
}
