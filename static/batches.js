// The batches, one of them looked at, and the download of its results.

import * as api from "./api.js";
import { ask, bulk } from "./actions.js";
import { number, plural } from "./format.js";
import { inOrder, merge, state, toast, update } from "./state.js";

const FIRST = 100;
const MOST = 1000; // the server lists no more
const FAILED = 20; // errors shown of a batch
const PAGE = 200; // tasks a request of a download
const APART_MS = 1000; // between two readings while tasks of batches change

let timer = null;

export async function show({ id }) {
  if (!state.batches) update({ batches: { items: null, error: null, limit: FIRST, looked: null, downloads: {} } });
  await Promise.all([load(), id && look(id)]);
}

/** The feed stays quiet of what is not looked at. */
export function leave() {
  clearTimeout(timer);
  timer = null;
}

const askAll = inOrder();
const askOne = inOrder();

export async function load() {
  const isNews = askAll();
  try {
    const items = await api.listBatches(state.batches.limit);
    if (isNews()) merge("batches", { items, error: null });
  } catch (error) {
    if (isNews()) merge("batches", { error });
  }
}

export function more() {
  merge("batches", { limit: MOST });
  load();
}

export const hasMore = ({ items, limit }) => items.length === limit && limit < MOST;

/** How many of its tasks there still are: those that were deleted left the counts. */
export const heldOf = (batch) => batch.pending + batch.running + batch.completed + batch.failed + batch.cancelled;

export async function look(id) {
  const isNews = askOne();
  if (state.batches.looked?.id !== id) merge("batches", { looked: { id, batch: null, failed: [], error: null } });
  const [batch, page] = await Promise.allSettled([
    api.getBatch(id),
    api.listTasks({ batch_id: id, status: "failed", limit: FAILED }),
  ]);
  const { looked } = state.batches;
  if (looked?.id !== id || !isNews()) return;
  const error = batch.reason ?? page.reason ?? null;
  const isGone = error?.status === 404;
  merge("batches", { looked: { id, batch: batch.value ?? (isGone ? null : looked.batch), failed: page.value?.tasks ?? looked.failed, error } });
}

/** Counts come from the server, once a second at most: a batch may have many thousand tasks. */
export function hear({ type, task }) {
  if (type === "snapshot") again();
  else if (task?.batch_id && !timer) timer = setTimeout(again, APART_MS);
}

function again() {
  timer = null;
  if (!state.batches) return;
  load();
  if (state.batches.looked && state.batches.looked.id === state.route.id) look(state.route.id);
}

export const cancelRest = ({ id, pending, running }) =>
  ask({
    title: `Cancel ${plural(pending + running, "task")}?`,
    body: "Those that run are stopped; the others do not start. What is done stays.",
    confirm: "Cancel them",
    keep: "Keep tasks",
    danger: true,
  }, () => bulk("cancel", { filter: { batch_id: [id], status: ["pending", "running"] } }));

export const retryFailed = ({ id }) => bulk("retry", { filter: { batch_id: [id], status: ["failed"] } });

// --- the download

/** All tasks of a batch with what was asked and answered, a line of JSON each, in their order. */
export async function download(batch) {
  const { id } = batch;
  const { signal } = setDownload(id, { done: 0, total: heldOf(batch), stop: new AbortController() }).stop;
  const pages = [];
  let cursor = null;
  let done = 0;
  try {
    do {
      const page = await api.listTasks({ batch_id: id, include: "payload,result", limit: PAGE, cursor }, signal);
      const lines = page.tasks.reverse().map((task) => `${JSON.stringify(task)}\n`);
      pages.unshift(new Blob(lines)); // the list has the newest first, a batch its first line
      done += lines.length;
      setDownload(id, { ...state.batches.downloads[id], done });
      ({ cursor } = page);
    } while (cursor);
    hand(new Blob(pages, { type: "application/x-ndjson" }), `batch-${id}.jsonl`);
    toast(`${number(done)} ${done === 1 ? "line" : "lines"} saved`, "good");
  } catch (error) {
    if (error.name !== "AbortError") toast(`The download stopped: ${error.message}`, "error");
  }
  setDownload(id, null);
}

function setDownload(id, progress) {
  merge("batches", { downloads: { ...state.batches.downloads, [id]: progress } });
  return progress;
}

/** Gives a file to the browser's downloads. */
function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
