// What buttons do, and the messages that follow.

import { number, plural } from "../lib/format.js";
import * as api from "../server/api.js";
import { applyFeedToTask } from "./open_task.js";
import { notify, showToast, state, update } from "./store.js";
import { applyFeedToTaskList } from "./task_list.js";

/** Runs `work` and shows `done` as a toast. An error is shown instead, and undefined returned. */
export async function runWithToast(work, done = null) {
  try {
    const answer = await work();
    if (done) showToast(typeof done === "function" ? done(answer) : done, "good");
    return answer;
  } catch (error) {
    if (error.status !== 401) showToast(error.message, "error");
  }
}

let dialogs = 0;

/**
 * Calls `run` if the user confirms. `question`: {title, body, confirm, keep, danger}; `confirm` and
 * `keep` are the labels of its buttons.
 */
export function askToConfirm(question, run) {
  update({ dialog: { keep: "Cancel", ...question, key: `question-${++dialogs}`, run } });
}

/** The value that a control shows: the one it was set to until the server answers, then `value`. */
export const optimisticValue = (control, value) => state.optimistic.get(control) ?? value;

/** Shows `value` in a control while `work` saves it. `work` ends once the state has the answer. */
export async function changeOptimistically(control, value, work) {
  state.optimistic.set(control, value);
  notify();
  await work();
  if (state.optimistic.get(control) === value) state.optimistic.delete(control); // else it was set again meanwhile
  notify();
}

export const handleCancel = (task) => runWithToast(() => api.cancelTask(task.id), "Cancelled");
export const handleRetry = (task) => runWithToast(() => api.retryTask(task.id), "Queued again");

export const handlePriority = ({ id }, level) =>
  changeOptimistically(`priority of ${id}`, level, async () => {
    const after = await runWithToast(
      () => api.setPriority(id, level),
      ({ priority }) => `Priority set to ${priority}`,
    );
    if (!after) return;
    const message = { type: "event", event: "priority_updated", task: after, seq: after.seq };
    applyFeedToTaskList(message); // the feed sends it too, perhaps later
    applyFeedToTask(message);
  });

export function handleDelete(task) {
  const body = "Deletes the task and its result. This cannot be undone.";
  askToConfirm({ title: "Delete this task?", body, confirm: "Delete", danger: true }, () =>
    runWithToast(() => api.deleteTask(task.id), "Deleted"),
  );
}

export const handlePause = () => runWithToast(api.pause);
export const handleResume = () => runWithToast(api.resume);
export const handleDrain = (backend) => runWithToast(() => api.drainBackend(backend.name));
export const handleUndrain = (backend) => runWithToast(() => api.resumeBackend(backend.name));
export const handleLoad = (backend, model) =>
  changeBackend(() => api.loadModel(backend.name, model), `${model} is in memory`);
export const handleUnload = (backend, model) =>
  changeBackend(() => api.unloadModel(backend.name, model), `${model} is unloaded`);

/** Shows the answer, a backend's new state, at once: no event says which models are in memory. */
async function changeBackend(work, done) {
  const after = await runWithToast(work, done);
  if (!after || !state.stats) return;
  const backends = state.stats.backends.map((one) => (one.name === after.name ? after : one));
  update({ stats: { ...state.stats, backends } });
}

const DONE_TEXT = {
  cancel: "cancelled",
  retry: "queued again",
  delete: "deleted",
  priority: "changed",
};

/** Runs a verb on many tasks: on `ids`, or slice by slice on all that `filter` matches. */
export async function runBulk(verb, target, more = {}) {
  let done = 0;
  const errors = [];
  let cursor = null;
  do {
    const slice = target.filter && cursor ? { filter: { ...target.filter, cursor } } : target;
    const answer = await runWithToast(() => api.bulk(verb, slice, more));
    if (!answer) break;
    done += answer.done;
    errors.push(...answer.errors);
    cursor = answer.cursor ?? null;
    if (cursor) showToast(`${number(done)} ${DONE_TEXT[verb]} so far …`);
  } while (cursor);
  if (done || !errors.length) showToast(`${plural(done, "task")} ${DONE_TEXT[verb]}`, "good");
  if (errors.length)
    showToast(`Failed for ${plural(errors.length, "task")}: ${errors[0].message}`, "error");
}

/** Copies text to the clipboard. Browsers allow it over HTTPS and on localhost only. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    showToast("Copied", "good");
  } catch {
    showToast("The browser does not allow copying here; select the text instead", "error");
  }
}
