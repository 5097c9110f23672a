// The list of tasks: pages of it, kept up to date by the feed without moving under one's eyes.

import * as api from "./api.js";
import { plural } from "./format.js";
import { changed, merge, state, update } from "./state.js";

const PAGE = 200;
const MOST_FRESH = 1000; // held back; beyond, the list is read anew
const MOST_MISSED = 5000; // events kept while pages are on their way; beyond, the list is read anew
const MOST_ROWS = 3000; // that have come in by themselves: a page may be open all day
const NAMES = ["status", "type", "priority", "model", "tag", "batch_id", "cron_id", "tenant", "waiting_for"];
export const FILTERS = [...NAMES, "since", "until", "q"];

let request = new AbortController();

/** What an address asks for, as a filter of the API: lists of values, and words. */
export function filterOf(query) {
  const filter = {};
  for (const name of FILTERS) {
    const values = (query[name] ?? []).filter(Boolean);
    if (values.length) filter[name] = NAMES.includes(name) ? values : values.at(-1);
  }
  if (filter.priority) filter.priority = filter.priority.map(Number);
  return filter;
}

/** Shows the list that an address asks for. What is known of it may be old after another view. */
export function show(query, isBack) {
  const filter = filterOf(query);
  const sort = query.sort?.at(-1) || "created";
  const key = JSON.stringify([filter, sort]);
  if (state.list?.key === key) return isBack && refresh();
  update({ list: newList(key, filter, sort) });
  load();
}

/** One that nothing is known of yet. Nothing of it is shared with another list. */
const newList = (key, filter, sort) => ({
  key, filter, sort,
  rows: [], // ids, in their order
  tasks: new Map(),
  selected: new Set(),
  gone: new Set(), // no longer wanted, still shown
  fresh: new Map(), // wanted, not shown yet
  missed: [], // what the feed said while pages were on their way
  cursor: null, total: null, isWhole: false,
  isRead: false, // whether the first page has come
  isLoading: false, isBehind: false, error: null,
  matching: false, counting: false, // all that match are selected; they are being counted
  at: null, editing: null, said: "",
  scroll: { top: 0, height: 900, width: state.list?.scroll.width ?? 1200 },
});

/** Reads it anew from the start; what was selected and where one was stays. */
export function refresh() {
  if (state.list) load({ fresh: true, limit: Math.min(1000, Math.max(PAGE, state.list.rows.length)) });
}

/** Reads the next page, if there is one. */
export function more() {
  const { list } = state;
  if (list && !list.isLoading && !list.isWhole && !list.error) load();
}

/** A filter that has no index finds little a page: it reads on until there is something to see. */
async function load({ fresh = false, limit = PAGE } = {}) {
  request.abort();
  const { signal } = (request = new AbortController());
  merge("list", { isLoading: true, isBehind: false, counts: JSON.stringify(state.stats?.waiting_for), error: null, missed: [] });
  const { filter, sort, cursor } = state.list;
  try {
    let next = fresh ? null : cursor;
    let isFirst = fresh || !cursor;
    for (let found = 0; ;) {
      const page = await api.listTasks({ ...filter, sort, limit, cursor: next }, signal);
      if (signal.aborted) return; // another list is shown, or this one is read anew
      take(page, isFirst);
      isFirst = false;
      found += page.tasks.length;
      next = page.cursor;
      if (!next || found >= 50) break;
    }
    for (const message of state.list.missed) apply(message); // the pages may be older
    merge("list", { isLoading: false, missed: [], said: `${plural(state.list.rows.length, "task")} shown${state.list.isWhole ? "" : ", more below"}` });
    if (state.list.isBehind) refreshSoon();
    if (!isHeld(state.list)) settle();
  } catch (error) {
    if (!signal.aborted) merge("list", { isLoading: false, error });
  }
}

function take(page, isFirst) {
  const { list } = state;
  if (isFirst) {
    list.tasks.clear();
    list.fresh.clear();
    list.gone.clear();
  }
  const rows = isFirst ? [] : list.rows;
  for (const task of page.tasks) {
    if (!list.tasks.has(task.id)) rows.push(task.id);
    list.tasks.set(task.id, task);
  }
  for (const id of isFirst ? list.selected : []) if (!list.tasks.has(id)) list.selected.delete(id);
  merge("list", { rows, isRead: true, cursor: page.cursor, isWhole: !page.cursor, total: page.total ?? (isFirst ? null : list.total) });
}

// --- what the feed says

/** Whether the list must not move now: somebody reads it further down, is in it, or has chosen. */
function isHeld(list) {
  const isIn = document.activeElement?.closest(".task-row");
  const top = document.querySelector(".rows")?.scrollTop ?? 0; // now: the scroll event comes later
  return Boolean(isIn || top > 8 || list.selected.size > 0 || list.editing !== null || state.route.query.open);
}

export function hear(message) {
  const { list } = state;
  if (!list) return;
  if (message.type === "snapshot") refresh(); // what happened before it, nobody has told
  if (message.type === "stats" && list.filter.waiting_for) hearReasons(list, message.stats.waiting_for);
  if (message.type !== "event" || !message.task) return;
  if (list.isLoading && list.missed.length < MOST_MISSED) list.missed.push(message);
  else if (list.isLoading) list.isBehind = true;
  if (!list.isRead) return; // nothing to change yet: the first page is on its way
  apply(message);
  if (!isHeld(list)) settle();
  changed();
}

/** What tasks wait for may change without an event of theirs; then other counts tell of it. */
function hearReasons(list, counts) {
  const heard = JSON.stringify(counts);
  if (list.counts !== heard) refreshSoon();
  list.counts = heard;
}

function apply(message) {
  const { list } = state;
  const { task } = message;
  const known = list.tasks.get(task.id);
  if (!known && list.filter.waiting_for && task.status === "pending") refreshSoon(); // events do not say what for
  if (known && known.seq > message.seq) return;
  const isWanted = message.event !== "task_deleted" && matches(task, list);
  if (known) {
    list.tasks.set(task.id, task);
    if (isWanted) list.gone.delete(task.id);
    else list.gone.add(task.id);
  } else if (!isWanted || !belongs(task, list)) list.fresh.delete(task.id);
  else if (list.fresh.size < MOST_FRESH) list.fresh.set(task.id, task);
}

/** Lets the list move: what is new comes in, what is wanted no more goes. */
export function settle() {
  const { list } = state;
  if (!list.isRead) return;
  if (list.fresh.size >= MOST_FRESH || (list.fresh.size && list.sort === "priority")) return refreshSoon();
  if (list.gone.size) {
    list.rows = list.rows.filter((id) => !list.gone.has(id));
    for (const id of list.gone) {
      list.tasks.delete(id);
      list.selected.delete(id);
    }
    list.gone.clear();
  }
  for (const [id, task] of list.fresh) {
    list.tasks.set(id, task);
    list.rows.splice(placeOf(id, list), 0, id);
  }
  list.fresh.clear();
  if (list.rows.length > MOST_ROWS && list.scroll.top < 9 && !list.isLoading) load({ fresh: true });
  changed();
}

let soon = null;

/** Once for all that comes within a second. */
function refreshSoon() {
  soon ??= setTimeout(() => {
    soon = null;
    refresh();
  }, 1000);
}

/** Ids sort by creation; by start and end what comes now is the newest. */
function placeOf(id, { rows, sort }) {
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
const belongs = (task, { rows, sort, isWhole }) => sort !== "created" || isWhole || task.id > (rows.at(-1) ?? "");

const modelName = (name) => name.trim().toLowerCase().replace(/^registry\.ollama\.ai\//, "").replace(/^library\//, "").replace(/:latest$/, "");

/** The same question as the server's. */
export function matches(task, { filter, sort, tasks }) {
  for (const name of ["status", "type", "priority", "batch_id", "cron_id", "tenant"]) {
    if (filter[name] && !filter[name].includes(task[name])) return false;
  }
  if (filter.model && !filter.model.map(modelName).includes(modelName(task.model))) return false;
  if (filter.waiting_for && !(task.status === "pending" && (task.waiting_for ? filter.waiting_for.includes(task.waiting_for) : tasks.has(task.id)))) return false;
  if (filter.tag && !filter.tag.some((tag) => task.tags.includes(tag))) return false;
  if (filter.since && Date.parse(task.created_at) < Date.parse(filter.since)) return false;
  if (filter.until && Date.parse(task.created_at) >= Date.parse(filter.until)) return false;
  if (sort === "started" && !task.started_at) return false;
  if (sort === "ended" && !task.completed_at) return false;
  const text = filter.q?.toLowerCase();
  return !text || [task.id, task.model, task.title, ...task.tags].some((each) => each.toLowerCase().includes(text));
}

/** How many match, null where nobody knows. By status alone the counts of the queue say it. */
export function totalOf({ filter, sort, total }, stats) {
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

export function select(id, isOn) {
  const { list } = state;
  if (isOn) list.selected.add(id);
  else list.selected.delete(id);
  merge("list", { matching: false });
}

export function selectLoaded(isOn) {
  state.list.selected = new Set(isOn ? state.list.rows : []);
  merge("list", { matching: false });
}

/** Moves the mark of the keyboard by so many rows. */
export function step(by) {
  const { rows, at } = state.list;
  const from = at === null ? (by > 0 ? -1 : rows.length) : rows.indexOf(at);
  const to = Math.max(0, Math.min(rows.length - 1, from + by));
  if (rows.length) merge("list", { at: rows[to] });
  return to;
}
