// The list of tasks: pages of it, kept up to date by the feed without moving under one's eyes.

import { plural } from "../lib/format.js";
import * as api from "../server/api.js";
import { merge, notify, state, update } from "./store.js";

const PAGE_SIZE = 200;
const MAX_INCOMING = 1000; // held back; beyond, the list is read anew
const MAX_BUFFERED = 5000; // events kept while pages are on their way; beyond, the list is read anew
const MAX_ROWS = 3000; // that have come in by themselves: a page may be open all day
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
];
const ALL_FILTERS = [...LIST_FILTERS, "since", "until", "q"];

let request = new AbortController();

/** What an address asks for, as a filter of the API: lists of values, and words. */
function filterFromQuery(query) {
  const filter = {};
  for (const name of ALL_FILTERS) {
    const values = (query[name] ?? []).filter(Boolean);
    if (values.length) filter[name] = LIST_FILTERS.includes(name) ? values : values.at(-1);
  }
  if (filter.priority) filter.priority = filter.priority.map(Number);
  return filter;
}

/** Shows the list that an address asks for. What is known of it may be old after another view. */
export function showTaskList(query, isBack) {
  const filter = filterFromQuery(query);
  const sort = query.sort?.at(-1) || "created";
  const key = JSON.stringify([filter, sort]);
  if (state.list?.key === key) return isBack && refreshTaskList();
  update({ list: newList(key, filter, sort) });
  loadTasks();
}

/** One that nothing is known of yet. Nothing of it is shared with another list. */
const newList = (key, filter, sort) => ({
  key,
  filter,
  sort,
  rows: [], // ids, in their order
  tasks: new Map(),
  selected: new Set(),
  outdated: new Set(), // no longer wanted, still shown
  incoming: new Map(), // wanted, not shown yet
  buffered: [], // what the feed said while pages were on their way
  cursor: null,
  total: null,
  isComplete: false,
  isLoaded: false, // whether the first page has come
  isLoading: false,
  needsRefresh: false,
  error: null,
  allMatching: false,
  isCounting: false, // all that match are selected; they are being counted
  activeId: null,
  editingId: null,
  announcement: "",
  scroll: { top: 0, height: 900, width: state.list?.scroll.width ?? 1200 },
});

/** Reads it anew from the start; what was selected and where one was stays. */
export function refreshTaskList() {
  if (state.list)
    loadTasks({
      fromStart: true,
      limit: Math.min(1000, Math.max(PAGE_SIZE, state.list.rows.length)),
    });
}

/** Reads the next page, if there is one. */
export function loadMoreTasks() {
  const { list } = state;
  if (list && !list.isLoading && !list.isComplete && !list.error) loadTasks();
}

/** A filter that has no index finds little a page: it reads on until there is something to see. */
async function loadTasks({ fromStart = false, limit = PAGE_SIZE } = {}) {
  request.abort();
  const { signal } = (request = new AbortController());
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
    for (let found = 0; ; ) {
      const page = await api.listTasks({ ...filter, sort, limit, cursor: next }, signal);
      if (signal.aborted) return; // another list is shown, or this one is read anew
      addPage(page, isFirst);
      isFirst = false;
      found += page.tasks.length;
      next = page.cursor;
      if (!next || found >= 50) break;
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

// --- what the feed says

/** Whether the list must not move now: somebody reads it further down, is in it, or has chosen. */
function isPinned(list) {
  const isIn = document.activeElement?.closest(".task-row");
  const top = document.querySelector(".rows")?.scrollTop ?? 0; // now: the scroll event comes later
  return Boolean(
    isIn || top > 8 || list.selected.size > 0 || list.editingId !== null || state.route.query.open,
  );
}

export function applyFeedToTaskList(message) {
  const { list } = state;
  if (!list) return;
  if (message.type === "snapshot") refreshTaskList(); // what happened before it, nobody has told
  if (message.type === "stats" && list.filter.waiting_for)
    refreshOnNewReasons(list, message.stats.waiting_for);
  if (message.type !== "event" || !message.task) return;
  if (list.isLoading && list.buffered.length < MAX_BUFFERED) list.buffered.push(message);
  else if (list.isLoading) list.needsRefresh = true;
  if (!list.isLoaded) return; // nothing to change yet: the first page is on its way
  applyEvent(message);
  if (!isPinned(list)) showHeldBack();
  notify();
}

/** What tasks wait for may change without an event of theirs; then other counts tell of it. */
function refreshOnNewReasons(list, counts) {
  const heard = JSON.stringify(counts);
  if (list.reasonCounts !== heard) refreshSoon();
  list.reasonCounts = heard;
}

function applyEvent(message) {
  const { list } = state;
  const { task } = message;
  const known = list.tasks.get(task.id);
  if (!known && list.filter.waiting_for && task.status === "pending") refreshSoon(); // events do not say what for
  if (known && known.seq > message.seq) return;
  const isWanted = message.event !== "task_deleted" && matchesFilter(task, list);
  if (known) {
    list.tasks.set(task.id, task);
    if (isWanted) list.outdated.delete(task.id);
    else list.outdated.add(task.id);
  } else if (!isWanted || !isWithinLoaded(task, list)) list.incoming.delete(task.id);
  else if (list.incoming.size < MAX_INCOMING) list.incoming.set(task.id, task);
}

/** Lets the list move: what is new comes in, what is wanted no more goes. */
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

/** Once for all that comes within a second. */
function refreshSoon() {
  if (refreshTimer) return;
  refreshTimer = setTimeout(() => {
    refreshTimer = null;
    refreshTaskList();
  }, 1000);
}

/** Ids sort by creation; by start and end what comes now is the newest. */
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

/** Whether its place is within what has been read. */
const isWithinLoaded = (task, { rows, sort, isComplete }) =>
  sort !== "created" || isComplete || task.id > (rows.at(-1) ?? "");

const canonicalModel = (name) =>
  name
    .trim()
    .toLowerCase()
    .replace(/^registry\.ollama\.ai\//, "")
    .replace(/^library\//, "")
    .replace(/:latest$/, "");

/** The same question as the server's. */
function matchesFilter(task, { filter, sort, tasks }) {
  for (const name of ["status", "type", "priority", "batch_id", "cron_id", "tenant"]) {
    if (filter[name] && !filter[name].includes(task[name])) return false;
  }
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

/** How many match, null where nobody knows. By status alone the counts of the queue say it. */
export function totalMatching({ filter, sort, total }, stats) {
  const { status, ...others } = filter;
  if (!stats || Object.keys(others).length || sort === "started" || sort === "ended") return total;
  return status ? status.reduce((sum, name) => sum + stats[`${name}_tasks`], 0) : stats.total_tasks;
}

/** How many tasks a verb that is meant for these statuses finds among those that match. */
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

// --- choosing

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

/** Moves the mark of the keyboard by so many rows. */
export function moveActiveRow(by) {
  const { rows, activeId } = state.list;
  const from = activeId === null ? (by > 0 ? -1 : rows.length) : rows.indexOf(activeId);
  const to = Math.max(0, Math.min(rows.length - 1, from + by));
  if (rows.length) merge("list", { activeId: rows[to] });
  return to;
}
