// What is done when a button is pressed, and what is said of it.

import { number, plural } from "../lib/format.js";
import * as api from "../server/api.js";
import { applyFeedToTask } from "./open_task.js";
import { notify, showToast, state, update } from "./store.js";
import { applyFeedToTaskList } from "./task_list.js";

/** Does it; an error is said, and undefined returned. */
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

/** Asks first. `question`: {title, body, confirm, keep, danger}; `keep` is the button that says no. */
export function askToConfirm(question, run) {
  update({ dialog: { keep: "Cancel", ...question, key: `question-${++dialogs}`, run } });
}

/** What a control shows: what it was set to, until the server has answered, or else `value`. */
export const optimisticValue = (control, value) => state.optimistic.get(control) ?? value;

/** Does what a control was set to. `work` ends once the state has the answer; an error is said. */
export async function changeOptimistically(control, value, work) {
  state.optimistic.set(control, value);
  notify();
  await work();
  if (state.optimistic.get(control) === value) state.optimistic.delete(control); // else it was set again
  notify();
}

export const handleCancel = (task) => runWithToast(() => api.cancelTask(task.id), "Cancelled");
export const handleRetry = (task) => runWithToast(() => api.retryTask(task.id), "Queued again");

export const handlePriority = ({ id }, level) =>
  changeOptimistically(`priority of ${id}`, level, async () => {
    const after = await runWithToast(
      () => api.setPriority(id, level),
      ({ priority }) => `Priority is ${priority} now`,
    );
    if (!after) return;
    const told = { type: "event", event: "priority_updated", task: after, seq: after.seq };
    applyFeedToTaskList(told); // the feed says so too, but perhaps later
    applyFeedToTask(told);
  });

/** Asks, deletes, then calls `after`. */
export function handleDelete(task, after = () => {}) {
  const body = "Deletes the task and its result. This cannot be undone.";
  askToConfirm({ title: "Delete this task?", body, confirm: "Delete", danger: true }, async () => {
    if (await runWithToast(() => api.deleteTask(task.id), "Deleted")) after();
  });
}

export const handlePause = () => runWithToast(api.pause);
export const handleResume = () => runWithToast(api.resume);
export const handleDrain = (backend) => runWithToast(() => api.drainBackend(backend.name));
export const handleUndrain = (backend) => runWithToast(() => api.resumeBackend(backend.name));

const DONE_TEXT = {
  cancel: "cancelled",
  retry: "queued again",
  delete: "deleted",
  priority: "changed",
};

/** The same to many tasks: to `ids`, or slice by slice to all that `filter` matches. */
export async function runBulk(verb, target, more = {}) {
  let done = 0;
  const errors = [];
  let cursor = null;
  do {
    const part = target.filter && cursor ? { filter: { ...target.filter, cursor } } : target;
    const answer = await runWithToast(() => api.bulk(verb, part, more));
    if (!answer) break;
    done += answer.done;
    errors.push(...answer.errors);
    cursor = answer.cursor ?? null;
    if (cursor) showToast(`${number(done)} ${DONE_TEXT[verb]} so far …`);
  } while (cursor);
  if (done || !errors.length) showToast(`${plural(done, "task")} ${DONE_TEXT[verb]}`, "good");
  if (errors.length)
    showToast(`Not done to ${plural(errors.length, "task")}: ${errors[0].message}`, "error");
}

/** Puts text on the clipboard, also where the page is not served by https or localhost. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    showToast("Copied", "good");
  } catch {
    showToast("The browser does not let this page copy; select the text instead", "error");
  }
}
