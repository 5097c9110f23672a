// What is done when a button is pressed, and what is said of it.

import * as api from "./api.js";
import { number, plural } from "./format.js";
import { hear } from "./listing.js";
import { hearTask } from "./looking.js";
import { changed, state, toast, update } from "./state.js";

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

let questions = 0;

/** Asks first. `question`: {title, body, confirm, keep, danger}; `keep` is the button that says no. */
export function ask(question, run) {
  update({ dialog: { keep: "Cancel", ...question, key: `question-${++questions}`, run } });
}

/** What a control shows: what it was set to, until the server has answered, or else `value`. */
export const wished = (control, value) => state.wishes.get(control) ?? value;

/** Does what a control was set to. `work` ends once the state has the answer; an error is said. */
export async function wish(control, value, work) {
  state.wishes.set(control, value);
  changed();
  await work();
  if (state.wishes.get(control) === value) state.wishes.delete(control); // else it was set again
  changed();
}

export const cancelTask = (task) => attempt(() => api.cancelTask(task.id), "Cancelled");
export const retryTask = (task) => attempt(() => api.retryTask(task.id), "Queued again");

export const setPriority = ({ id }, level) =>
  wish(`priority of ${id}`, level, async () => {
    const after = await attempt(() => api.setPriority(id, level), ({ priority }) => `Priority is ${priority} now`);
    if (!after) return;
    const told = { type: "event", event: "priority_updated", task: after, seq: after.seq };
    hear(told); // the feed says so too, but perhaps later
    hearTask(told);
  });

/** Asks, deletes, then calls `after`. */
export function deleteTask(task, after = () => {}) {
  const body = "Deletes the task and its result. This cannot be undone.";
  ask({ title: "Delete this task?", body, confirm: "Delete", danger: true }, async () => {
    if (await attempt(() => api.deleteTask(task.id), "Deleted")) after();
  });
}

export const pause = () => attempt(api.pause);
export const resume = () => attempt(api.resume);
export const drain = (backend) => attempt(() => api.drainBackend(backend.name));
export const undrain = (backend) => attempt(() => api.resumeBackend(backend.name));

const DONE = { cancel: "cancelled", retry: "queued again", delete: "deleted", priority: "changed" };

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
    if (cursor) toast(`${number(done)} ${DONE[verb]} so far …`);
  } while (cursor);
  if (done || !errors.length) toast(`${plural(done, "task")} ${DONE[verb]}`, "good");
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
