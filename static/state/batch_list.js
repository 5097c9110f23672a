// The batches, the one that is open, and the download of its results.

import { plural } from "../lib/format.js";
import { requestOrder } from "../lib/request_order.js";
import { saveBlob } from "../lib/save_blob.js";
import * as api from "../server/api.js";
import { askToConfirm, runBulk, runWithToast } from "./actions.js";
import { merge, showToast, state, update } from "./store.js";

const FIRST_LIMIT = 100;
const MAX_LIMIT = 1000; // the server lists no more
const MAX_ERRORS = 200; // failed tasks of a batch whose errors are shown, by kind
const DOWNLOAD_PAGE = 200; // tasks per request
const RELOAD_INTERVAL_MS = 1000; // between two loads while tasks of batches change
const JOB_INTERVAL_MS = 2000; // the same while a file is read or written, which has no events

let reloadTimer = null;

export async function showBatches({ id }) {
  if (!state.batches)
    update({
      batches: { items: null, error: null, limit: FIRST_LIMIT, detail: null, downloads: {} },
    });
  await Promise.all([loadBatches(), id && loadBatch(id)]);
}

/** Stops loading on messages of the feed. */
export function leaveBatches() {
  clearTimeout(reloadTimer);
  reloadTimer = null;
}

const listRequests = requestOrder();
const batchRequests = requestOrder();

export async function loadBatches() {
  const isNewest = listRequests();
  try {
    const items = await api.listBatches(state.batches.limit);
    if (isNewest()) merge("batches", { items, error: null });
    if (items.some(isUnfinished)) reloadLater(JOB_INTERVAL_MS);
  } catch (error) {
    if (isNewest()) merge("batches", { error });
  }
}

export function loadMoreBatches() {
  merge("batches", { limit: MAX_LIMIT });
  loadBatches();
}

export const hasMoreBatches = ({ items, limit }) => items.length === limit && limit < MAX_LIMIT;

/** How many of its tasks exist: the counts leave out deleted ones. */
export const countKept = (batch) =>
  batch.pending + batch.running + batch.completed + batch.failed + batch.cancelled;

export async function loadBatch(id) {
  const isNewest = batchRequests();
  if (state.batches.detail?.id !== id)
    merge("batches", { detail: { id, batch: null, failed: [], error: null } });
  const [batch, page] = await Promise.allSettled([
    api.getBatch(id),
    api.listTasks({ batch_id: id, status: "failed", limit: MAX_ERRORS }),
  ]);
  const { detail } = state.batches;
  if (detail?.id !== id || !isNewest()) return;
  const error = batch.reason ?? page.reason ?? null;
  const isGone = error?.status === 404;
  merge("batches", {
    detail: {
      id,
      batch: batch.value ?? (isGone ? null : detail.batch),
      failed: page.value?.tasks ?? detail.failed,
      error,
    },
  });
}

/** Loads the counts at most once a second: a batch may have thousands of tasks. */
export function applyFeedToBatches({ type, task }) {
  if (type === "snapshot") reloadBatches();
  else if (task?.batch_id) reloadLater(RELOAD_INTERVAL_MS);
}

function reloadLater(delay) {
  if (!reloadTimer && state.route.view === "batches")
    reloadTimer = setTimeout(reloadBatches, delay);
}

function reloadBatches() {
  reloadTimer = null;
  if (!state.batches) return;
  loadBatches();
  if (state.batches.detail && state.batches.detail.id === state.route.id) loadBatch(state.route.id);
}

/** Whether a batch from a file is still read, run or written. */
export const isUnfinished = ({ job }) =>
  Boolean(job) && !["completed", "failed", "expired", "cancelled"].includes(job.status);

/** A batch from a file is cancelled as a whole: it still writes its files. */
export const confirmCancelJob = ({ id }) =>
  askToConfirm(
    {
      title: "Cancel the batch?",
      body: "What has not finished is cancelled. Finished replies are kept and written to its file.",
      confirm: "Cancel batch",
      keep: "Keep batch",
      danger: true,
    },
    () =>
      runWithToast(async () => {
        await api.cancelBatch(id);
        reloadBatches();
      }, "Cancelling"),
  );

export const confirmCancelRest = ({ id, pending, running }) =>
  askToConfirm(
    {
      title: `Cancel ${plural(pending + running, "task")}?`,
      body: "Running tasks are stopped; waiting ones do not start. Finished tasks are kept.",
      confirm: "Cancel tasks",
      keep: "Keep tasks",
      danger: true,
    },
    () => runBulk("cancel", { filter: { batch_id: [id], status: ["pending", "running"] } }),
  );

export const retryFailedTasks = ({ id }) =>
  runBulk("retry", { filter: { batch_id: [id], status: ["failed"] } });

// --- the download

/** Saves all tasks of a batch with payload and result as JSON Lines, in their order. */
export async function downloadResults(batch) {
  const { id } = batch;
  const { signal } = setDownload(id, {
    done: 0,
    total: countKept(batch),
    stop: new AbortController(),
  }).stop;
  const pages = [];
  let cursor = null;
  let done = 0;
  try {
    do {
      const page = await api.listTasks(
        { batch_id: id, include: "payload,result", limit: DOWNLOAD_PAGE, cursor },
        signal,
      );
      const lines = page.tasks.reverse().map((task) => `${JSON.stringify(task)}\n`);
      pages.unshift(new Blob(lines)); // lists begin with the newest task, the file with the first
      done += lines.length;
      setDownload(id, { ...state.batches.downloads[id], done });
      ({ cursor } = page);
    } while (cursor);
    saveBlob(new Blob(pages, { type: "application/x-ndjson" }), `batch-${id}.jsonl`);
    showToast(`Saved ${plural(done, "task")}`, "good");
  } catch (error) {
    if (error.name !== "AbortError") showToast(`The download stopped: ${error.message}`, "error");
  }
  setDownload(id, null);
}

function setDownload(id, progress) {
  merge("batches", { downloads: { ...state.batches.downloads, [id]: progress } });
  return progress;
}
