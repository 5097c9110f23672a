// The list of tasks: read page by page, kept up to date by the feed, and held still while in use.

import { plural } from "../lib/format.js";
import { canonicalModel } from "../lib/model_names.js";
import * as api from "../server/api.js";
import { merge, notify, state, update } from "./store.js";

const PAGE_SIZE = 200;
const MAX_INCOMING = 1000; // held back; beyond, the list is reloaded
const MAX_BUFFERED = 5000; // events kept while a page loads; beyond, the list is reloaded
const MAX_ROWS = 3000; // that the feed may add: a page may be open all day
const LIST_FILTERS = [
  "status",
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
];
const ALL_FILTERS = [...LIST_FILTERS, "since", "until", "q"];

let request = new AbortController();

/** The filter of an address's query, as the API takes it. */
function filterFromQuery(query) {
  const filter = {};
  for (const name of ALL_FILTERS) {
    const values = (query[name] ?? []).filter(Boolean);
    if (values.length) filter[name] = LIST_FILTERS.includes(name) ? values : values.at(-1);
  }
  if (filter.priority) filter.priority = filter.priority.map(Number);
  return filter;
}

/** Shows the list that an address names; reloads it if another view was shown before. */
export function showTaskList(query, isBack) {
  const filter = filterFromQuery(query);
  const sort = query.sort?.at(-1) || "created";
  const key = JSON.stringify([filter, sort]);
  if (state.list?.key === key) return isBack && refreshTaskList();
  update({ list: newList(key, filter, sort) });
  loadTasks();
}

const newList = (key, filter, sort) => ({
  key,
  filter,
  sort,
  rows: [], // ids, in their order
  tasks: new Map(),
  selected: new Set(),
  outdated: new Set(), // shown, but no longer matching
  incoming: new Map(), // matching, but not shown yet
  buffered: [], // messages of the feed while a page loads
  cursor: null, // of the next page
  total: null,
  isComplete: false, // whether all pages are loaded
  isLoaded: false, // whether the first page is loaded
  isLoading: false,
  needsRefresh: false, // messages were dropped while a page loads
  error: null,
  allMatching: false, // whether all that match are selected, loaded or not
  isCounting: false, // whether their number is being counted
  activeId: null, // the row that the keyboard acts on
  editingId: null, // the row whose priority is being edited
  announcement: "", // for screen readers
  scroll: { top: 0, height: 900, width: state.list?.scroll.width ?? 1200 },
});

/** Reloads the list; the selection and the place in it stay. */
export function refreshTaskList() {
  if (state.list)
    loadTasks({
      fromStart: true,
      limit: Math.min(1000, Math.max(PAGE_SIZE, state.list.rows.length)),
    });
}

/** Loads the next page, if there is one. */
export function loadMoreTasks() {
  const { list } = state;
  if (list && !list.isLoading && !list.isComplete && !list.error) loadTasks();
}

/** Loads pages until there are some rows: a filter without an index may find few a page. */
async function loadTasks({ fromStart = false, limit = PAGE_SIZE } = {}) {
  request.abort();
  request = new AbortController();
  const { signal } = request;
  merge("list", {
    isLoading: true,
    needsRefresh: false,
    reasonCounts: JSON.stringify(state.stats?.waiting_for),
    error: null,
    buffered: [],
  });
  const { filter, sort, cursor } = state.list;
  try {
    let next = fromStart ? null : cursor;
    let isFirst = fromStart || !cursor;
    for (let count = 0; ; ) {
      const page = await api.listTasks({ ...filter, sort, limit, cursor: next }, signal);
      if (signal.aborted) return; // another list is shown, or this one was reloaded
      addPage(page, isFirst);
      isFirst = false;
      count += page.tasks.length;
      next = page.cursor;
      if (!next || count >= 50) break;
    }
    for (const message of state.list.buffered) applyEvent(message); // the pages may be older
    merge("list", {
      isLoading: false,
      buffered: [],
      announcement: `${plural(state.list.rows.length, "task")} shown${state.list.isComplete ? "" : ", more below"}`,
    });
    if (state.list.needsRefresh) refreshSoon();
    if (!isPinned(state.list)) showHeldBack();
  } catch (error) {
    if (!signal.aborted) merge("list", { isLoading: false, error });
  }
}

function addPage(page, isFirst) {
  const { list } = state;
  if (isFirst) {
    list.tasks.clear();
    list.incoming.clear();
    list.outdated.clear();
  }
  const rows = isFirst ? [] : list.rows;
  for (const task of page.tasks) {
    if (!list.tasks.has(task.id)) rows.push(task.id);
    list.tasks.set(task.id, task);
  }
  for (const id of isFirst ? list.selected : []) if (!list.tasks.has(id)) list.selected.delete(id);
  merge("list", {
    rows,
    isLoaded: true,
    cursor: page.cursor,
    isComplete: !page.cursor,
    total: page.total ?? (isFirst ? null : list.total),
  });
}

// --- messages of the feed

/** Whether the list must not move: it is scrolled, focused, selected from, or a task is open. */
function isPinned(list) {
  const isFocused = document.activeElement?.closest(".task-row");
  const top = document.querySelector(".rows")?.scrollTop ?? 0; // now: the scroll event comes later
  return Boolean(
    isFocused ||
      top > 8 ||
      list.selected.size > 0 ||
      list.editingId !== null ||
      state.route.query.open,
  );
}

export function applyFeedToTaskList(message) {
  const { list } = state;
  if (!list) return;
  if (message.type === "snapshot") refreshTaskList(); // events before it were missed
  if (message.type === "stats" && list.filter.waiting_for)
    refreshOnNewReasons(list, message.stats.waiting_for);
  if (message.type !== "event" || !message.task) return;
  if (list.isLoading && list.buffered.length < MAX_BUFFERED) list.buffered.push(message);
  else if (list.isLoading) list.needsRefresh = true;
  if (!list.isLoaded) return; // the first page is still loading
  applyEvent(message);
  if (!isPinned(list)) showHeldBack();
  notify();
}

/** What tasks wait for changes without an event; a change of the counts shows it. */
function refreshOnNewReasons(list, counts) {
  const text = JSON.stringify(counts);
  if (list.reasonCounts !== text) refreshSoon();
  list.reasonCounts = text;
}

function applyEvent(message) {
  const { list } = state;
  const { task } = message;
  const known = list.tasks.get(task.id);
  if (!known && list.filter.waiting_for && task.status === "pending") refreshSoon(); // events do not tell what for
  if (known && known.seq > message.seq) return;
  const isMatch = message.event !== "task_deleted" && matchesFilter(task, list);
  if (known) {
    list.tasks.set(task.id, task);
    if (isMatch) list.outdated.delete(task.id);
    else list.outdated.add(task.id);
  } else if (!isMatch || !isWithinLoaded(task, list)) list.incoming.delete(task.id);
  else if (list.incoming.size < MAX_INCOMING) list.incoming.set(task.id, task);
}

/** Lets the list move: adds incoming tasks, removes outdated ones. */
export function showHeldBack() {
  const { list } = state;
  if (!list.isLoaded) return;
  if (list.incoming.size >= MAX_INCOMING || (list.incoming.size && list.sort === "priority"))
    return refreshSoon();
  if (list.outdated.size) {
    list.rows = list.rows.filter((id) => !list.outdated.has(id));
    for (const id of list.outdated) {
      list.tasks.delete(id);
      list.selected.delete(id);
    }
    list.outdated.clear();
  }
  for (const [id, task] of list.incoming) {
    list.tasks.set(id, task);
    list.rows.splice(insertionIndex(id, list), 0, id);
  }
  list.incoming.clear();
  if (list.rows.length > MAX_ROWS && list.scroll.top < 9 && !list.isLoading)
    loadTasks({ fromStart: true });
  notify();
}

let refreshTimer = null;

/** Reloads once for all causes within a second. */
function refreshSoon() {
  if (refreshTimer) return;
  refreshTimer = setTimeout(() => {
    refreshTimer = null;
    refreshTaskList();
  }, 1000);
}

/** Where a new id belongs. Ids sort by creation; sorted by start or end, a new one is first. */
function insertionIndex(id, { rows, sort }) {
  if (sort !== "created") return 0;
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle] > id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether a task belongs among the rows loaded so far. */
const isWithinLoaded = (task, { rows, sort, isComplete }) =>
  sort !== "created" || isComplete || task.id > (rows.at(-1) ?? "");

/** Whether a task matches the filter, as the server decides it. */
function matchesFilter(task, { filter, sort, tasks }) {
  for (const name of [
    "status",
    "type",
    "priority",
    "batch_id",
    "cron_id",
    "tenant",
    "error_code",
  ]) {
    if (filter[name] && !filter[name].includes(task[name])) return false;
  }
  // Only the server knows of which cause a new failure is: the next reload shows it.
  if (filter.failure && !(task.status === "failed" && tasks.has(task.id))) return false;
  if (filter.model && !filter.model.map(canonicalModel).includes(canonicalModel(task.model)))
    return false;
  if (
    filter.waiting_for &&
    !(
      task.status === "pending" &&
      (task.waiting_for ? filter.waiting_for.includes(task.waiting_for) : tasks.has(task.id))
    )
  )
    return false;
  if (filter.tag && !filter.tag.some((tag) => task.tags.includes(tag))) return false;
  if (filter.since && Date.parse(task.created_at) < Date.parse(filter.since)) return false;
  if (filter.until && Date.parse(task.created_at) >= Date.parse(filter.until)) return false;
  if (sort === "started" && !task.started_at) return false;
  if (sort === "ended" && !task.completed_at) return false;
  const text = filter.q?.toLowerCase();
  return (
    !text ||
    [task.id, task.model, task.title, ...task.tags].some((each) =>
      each.toLowerCase().includes(text),
    )
  );
}

/** How many tasks match; null where unknown. The counts of the queue answer a filter by status. */
export function totalMatching({ filter, sort, total }, stats) {
  const { status, ...others } = filter;
  if (!stats || Object.keys(others).length || sort === "started" || sort === "ended") return total;
  return status ? status.reduce((sum, name) => sum + stats[`${name}_tasks`], 0) : stats.total_tasks;
}

/** Counts the matching tasks that have one of `statuses`. */
export async function countMatching({ filter }, statuses) {
  const status = filter.status ? statuses.filter((name) => filter.status.includes(name)) : statuses;
  if (!status.length) return 0;
  let count = 0;
  let cursor = null;
  do {
    const page = await api.listTasks({ ...filter, status, limit: 1000, cursor });
    if (page.total !== null) return page.total;
    count += page.tasks.length;
    ({ cursor } = page);
  } while (cursor);
  return count;
}

// --- selection

export function selectTask(id, isOn) {
  const { list } = state;
  if (isOn) list.selected.add(id);
  else list.selected.delete(id);
  merge("list", { allMatching: false });
}

export function selectLoadedTasks(isOn) {
  state.list.selected = new Set(isOn ? state.list.rows : []);
  merge("list", { allMatching: false });
}

/** Moves the active row by `by` rows; returns its index. */
export function moveActiveRow(by) {
  const { rows, activeId } = state.list;
  const from = activeId === null ? (by > 0 ? -1 : rows.length) : rows.indexOf(activeId);
  const to = Math.max(0, Math.min(rows.length - 1, from + by));
  if (rows.length) merge("list", { activeId: rows[to] });
  return to;
}
