// The task that is looked at: all of it, and its reply as it comes.

import * as api from "./api.js";
import { said } from "./said.js";
import { changed, merge, state, update } from "./state.js";

let reading = new AbortController();
let following = null; // of the stream, while there is one
let isReading = false;
let soon = null; // the timer of the next reading

const STALE_MS = 2000; // from a change of the queue until the place of a task that waits is read anew

/** Looks at a task: `state.task` is {id, data, error, reply, tab, folds}. */
export function openTask(id) {
  if (state.task?.id === id) return;
  closeTask();
  update({ task: { id, data: null, error: null, reply: null, tab: state.taskTab, folds: {} } });
  read(id);
}

export function closeTask() {
  reading.abort();
  clearTimeout(soon);
  soon = null;
  stop();
  update({ task: null });
}

/** Which part of it is shown; the next task is shown in the same way. */
export function showTab(tab) {
  state.taskTab = tab;
  merge("task", { tab });
}

export async function read(id) {
  reading.abort();
  isReading = true;
  const { signal } = (reading = new AbortController());
  try {
    const data = await api.getTask(id, signal);
    if (state.task?.id !== id) return;
    merge("task", { data, error: null });
    if (data.status === "running") follow(id);
    else {
      stop();
      if (data.status !== "pending" || !data.attempt) merge("task", { reply: null });
    }
  } catch (error) {
    if (error.name !== "AbortError" && state.task?.id === id) merge("task", { error });
  }
  if (!signal.aborted) isReading = false;
}

function readSoon(id) {
  soon ??= setTimeout(() => {
    soon = null;
    if (state.task?.id !== id || state.task.data?.status !== "pending") return;
    if (isReading) readSoon(id); // it may be large
    else read(id);
  }, STALE_MS);
}

/** The list says little of a task: what happens to it is told at once, and then all of it is read. */
export function hearTask(message) {
  const { task } = state;
  if (!task) return;
  if (message.type === "snapshot") read(task.id);
  if (message.type === "stats") readSoon(task.id); // its place changes without an event of its own
  if (message.type !== "event" || message.task?.id !== task.id) return;
  if (message.event === "task_deleted") {
    stop();
    merge("task", { data: null, error: new api.ApiError(404, "not_found", "This task has been deleted") });
  } else {
    if (task.data) {
      const { payload, options, metadata, dialect, result } = task.data;
      merge("task", { data: { ...message.task, payload, options, metadata, dialect, result } });
    }
    read(task.id);
  }
}

// --- the stream

const EMPTY = { text: "", thinking: "", calls: [], pieces: 0, restarts: 0 };

async function follow(id) {
  if (following) return;
  const mine = (following = new AbortController());
  let lastId = null;
  const reply = { ...EMPTY, calls: [] };
  merge("task", { reply });
  while (following === mine) {
    try {
      for await (const { event, id: place, data } of api.streamTask(id, { signal: mine.signal, lastId })) {
        if (following !== mine) return;
        if (event === "end") return finish(mine, id);
        if (event === "restart") Object.assign(reply, EMPTY, { calls: [], restarts: reply.restarts + 1 });
        else add(reply, data);
        lastId = place ?? lastId;
        changed();
      }
    } catch (error) {
      if (error.name === "AbortError" || error.status === 404) return;
    }
    await new Promise((wake) => setTimeout(wake, 1000)); // the connection was lost: it goes on behind lastId
  }
}

function add(reply, data) {
  const { text, thinking, calls } = said(data);
  reply.text += text;
  reply.thinking += thinking;
  for (const call of calls) addCall(reply.calls, call);
  reply.pieces++;
}

/** In OpenAI's words the arguments of a call come in pieces, which tell the call by its number. */
function addCall(calls, { index, ...call }) {
  const known = index === undefined ? undefined : calls.find((each) => each.index === index);
  if (known) known.function.arguments += call.function?.arguments ?? "";
  else calls.push({ index, ...call, function: { ...call.function } });
}

function finish(mine, id) {
  if (following === mine) following = null;
  read(id);
}

function stop() {
  following?.abort();
  following = null;
}
