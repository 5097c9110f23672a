// What is done when a button is pressed, and what is said of it.

import * as api from "./api.js";
import { number, plural } from "./format.js";
import { toast, update } from "./state.js";

/** Does it; an error is said, and undefined returned. */
export async function attempt(work, done = null) {
  try {
    const answer = await work();
    if (done) toast(typeof done === "function" ? done(answer) : done, "good");
    return answer;
  } catch (error) {
    if (error.status !== 401) toast(error.message, "error");
  }
}

/** Asks first. `question`: {title, body, confirm, danger}. */
export function ask(question, run) {
  update({ dialog: { ...question, run } });
}

export const cancelTask = (task) => attempt(() => api.cancelTask(task.id), "Cancelled");
export const retryTask = (task) => attempt(() => api.retryTask(task.id), "It waits for another run");
export const setPriority = (task, level) =>
  attempt(() => api.setPriority(task.id, level), (after) => `Priority is ${after.priority} now`);

/** Asks, deletes, then calls `after`. */
export function deleteTask(task, after = () => {}) {
  const body = "It is forgotten, with its result. This cannot be undone.";
  ask({ title: "Delete this task?", body, confirm: "Delete", danger: true }, async () => {
    if (await attempt(() => api.deleteTask(task.id), "Deleted")) after();
  });
}

export const pause = () => attempt(api.pause);
export const resume = () => attempt(api.resume);
export const drain = (backend) => attempt(() => api.drainBackend(backend.name));
export const undrain = (backend) => attempt(() => api.resumeBackend(backend.name));

const DONE = { cancel: "Cancelled", retry: "To run again:", delete: "Deleted", priority: "Changed" };

/** The same to many tasks: to `ids`, or slice by slice to all that `filter` matches. */
export async function bulk(verb, chosen, more = {}) {
  let done = 0;
  const errors = [];
  let cursor = null;
  do {
    const part = chosen.filter && cursor ? { filter: { ...chosen.filter, cursor } } : chosen;
    const answer = await attempt(() => api.bulk(verb, part, more));
    if (!answer) break;
    done += answer.done;
    errors.push(...answer.errors);
    cursor = answer.cursor ?? null;
    if (cursor) toast(`${DONE[verb]} ${number(done)} so far …`);
  } while (cursor);
  if (done || !errors.length) toast(`${DONE[verb]} ${plural(done, "task")}`, "good");
  if (errors.length) toast(`Not done to ${plural(errors.length, "task")}: ${errors[0].message}`, "error");
}

/** Puts text on the clipboard, also where the page is not served by https or localhost. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied", "good");
  } catch {
    toast("The browser does not let this page copy; select the text instead", "error");
  }
}
