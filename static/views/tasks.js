// The list of tasks with its filters, what to do with those chosen, and one task beside it.

import { h } from "../dom.js";
import { number, plural } from "../format.js";
import * as listing from "../listing.js";
import { closeTask, hearTask, openTask } from "../looking.js";
import { go, href, one } from "../router.js";
import { merge, state } from "../state.js";
import { chosenBar } from "./chosen.js";
import { filters } from "./filters.js";
import { button, empty, failure, loading, trouble } from "./parts.js";
import { taskPanel } from "./task.js";
import { headRow, taskRow } from "./task_row.js";

const AHEAD = 12; // rows drawn outside of what is seen
const READ_AHEAD = 40; // rows below what is seen; when fewer have been read, the next page is

export function enter(route, before) {
  listing.show(route.query, before.view !== "tasks");
  const id = one(route.query, "open");
  if (id) openTask(id);
  else closeTask();
}

export const leave = () => closeTask();

export function hear(message) {
  listing.hear(message);
  hearTask(message);
}

/** Reads on while the end of what has been read is near, whatever brought it there: a scroll, a taller
 * window, rows that went, or a scroll while another page was on its way. */
export function drawn({ list }) {
  if (!list) return;
  const { top, height } = list.scroll;
  if (top + height > (list.rows.length - READ_AHEAD) * rowHeight(list.scroll.width < 620)) listing.more();
}

export function view({ list, route, stats, task }) {
  if (!list) return loading("tasks");
  const open = one(route.query, "open");
  return h("div", { class: `tasks ${open ? "has-panel" : ""}` },
    h("h1", { class: "hidden" }, "Tasks"),
    h("p", { class: "hidden", role: "status" }, list.said), // not at each event: a screen reader reads it
    h("section", { class: "tasks-list", "aria-label": "List of tasks" },
      filters(route.query, list, stats),
      list.selected.size ? chosenBar(list, listing.totalOf(list, stats)) : newsBar(list, stats),
      list.rows.length > 0 && trouble(list.error, listing.refresh),
      table(list, open, stats)),
    open && h("aside", { key: "panel", class: "panel", "aria-label": "The task" }, taskPanel(task, close)));
}

const close = () => go("tasks", null, { ...state.route.query, open: null });

/** How many there are, and what is held back so that the list does not move. */
function newsBar(list, stats) {
  const total = listing.totalOf(list, stats);
  const fresh = list.fresh.size;
  const gone = list.gone.size;
  const words = [fresh && `${number(fresh)}${fresh >= 1000 ? " or more" : ""} new`, gone && `${number(gone)} changed`].filter(Boolean).join(", ");
  const count = total === null ? `${plural(list.rows.length, "task")}${list.isWhole ? "" : " so far"}` : plural(total, "task");
  return h("div", { key: "news", class: "bar" },
    h("span", { class: "quiet" }, list.isLoading ? "Loading …" : list.isRead && count),
    words && button(`Show ${words}`, showNews, { look: "plain" }));
}

function showNews() {
  merge("list", { at: null });
  document.querySelector(".rows").scrollTop = 0;
  listing.settle();
}

function table(list, open, stats) {
  const { rows, scroll } = list;
  const narrow = scroll.width < 620;
  const height = rowHeight(narrow);
  const first = Math.max(0, Math.floor(scroll.top / height) - AHEAD);
  const last = Math.min(rows.length, Math.ceil((scroll.top + scroll.height) / height) + AHEAD);
  const total = listing.totalOf(list, stats);
  const look = narrow ? "narrow" : scroll.width < 880 ? "tight" : scroll.width < 1120 ? "medium" : "wide";
  // A key: another list begins at its top, not where the last one was scrolled to.
  return h("div", { key: list.key, class: `rows ${look}`, tabindex: -1, onscroll, made: measure },
    rows.length > 0 && h("div", { style: { height: `${rows.length * height + 40}px`, "padding-top": `${first * height}px` } },
      h("table", { role: "grid", "aria-label": "Tasks", "aria-multiselectable": true, "aria-rowcount": total ?? -1 },
        headRow(list),
        h("tbody", { role: "rowgroup" }, rows.slice(first, last).map((id, index) => taskRow(list, id, first + index, open === id))))),
    foot(list));
}

function foot(list) {
  if (list.rows.length) return null;
  if (list.error) return failure(list.error, listing.refresh);
  if (!list.isWhole) return loading("tasks");
  if (Object.keys(list.filter).length) {
    return empty("No task matches", "Take a filter away to see more.", h("a", { class: "button", href: href("tasks") }, "Clear all filters"));
  }
  return empty("There are no tasks yet", "Submit one here, or point a client of Ollama at this server.", h("a", { class: "button primary", href: href("submit") }, "Submit a task"));
}

const rowHeight = (narrow) => (narrow ? 64 : innerWidth >= 2400 ? 40 : 36); // as in style.css

function onscroll({ target }) {
  const { list } = state;
  const height = rowHeight(list.scroll.width < 620);
  const moved = Math.abs(target.scrollTop - list.scroll.top) >= height * 6 || target.scrollTop < 9;
  if (moved) merge("list", { scroll: { ...list.scroll, top: target.scrollTop } });
}

function measure(node) {
  node.scrollTop = state.list.scroll.top; // where it was when another view came
  new ResizeObserver(() => {
    if (state.list && node.clientHeight) merge("list", { scroll: { ...state.list.scroll, width: node.clientWidth, height: node.clientHeight } });
  }).observe(node);
}

/** j k or arrows to move, Enter to open, x to choose, Escape to close. */
export function key(event) {
  const { list, route } = state;
  if (!list || event.target.closest("aside, button, a.button")) {
    if (event.key === "Escape") close();
    return;
  }
  const by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
  if (by) {
    event.preventDefault();
    const to = listing.step(by);
    reveal(to);
    if (one(route.query, "open")) openRow(list.rows[to]);
  } else if (event.key === "Enter" && list.at) {
    event.preventDefault();
    openRow(list.at);
  } else if (event.key === "x" && list.at) listing.select(list.at, !list.selected.has(list.at));
  else if (event.key === "Escape") {
    if (one(route.query, "open")) close();
    else if (list.selected.size) listing.selectLoaded(false);
    else merge("list", { at: null });
  }
}

const openRow = (id) => go("tasks", null, { ...state.route.query, open: id });

function reveal(index) {
  const box = document.querySelector(".rows");
  const height = rowHeight(state.list.scroll.width < 620);
  const top = index * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height + 40 > box.scrollTop + box.clientHeight) box.scrollTop = top + height + 40 - box.clientHeight;
  requestAnimationFrame(() => document.querySelector("tr.is-at")?.focus({ preventScroll: true }));
}
