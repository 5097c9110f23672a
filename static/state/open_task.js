// The task that is looked at: all of it, and its reply as it comes.

import * as api from "../server/api.js";
import { replyParts } from "../server/replies.js";
import { merge, notify, state, update } from "./store.js";

let loadAbort = new AbortController();
let replyAbort = null; // of the stream, while there is one
let isLoading = false;
let reloadTimer = null; // the timer of the next reading

const RELOAD_DELAY_MS = 2000; // from a change of the queue until the place of a task that waits is read anew

/** Looks at a task: `state.task` is {id, data, error, reply, tab, openSections}. */
export function openTask(id) {
  if (state.task?.id === id) return;
  closeTask();
  update({
    task: { id, data: null, error: null, reply: null, tab: state.taskTab, openSections: {} },
  });
  loadTask(id);
}

export function closeTask() {
  loadAbort.abort();
  clearTimeout(reloadTimer);
  reloadTimer = null;
  stopReply();
  update({ task: null });
}

/** Which part of it is shown; the next task is shown in the same way. */
export function showTaskTab(tab) {
  state.taskTab = tab;
  merge("task", { tab });
}

export async function loadTask(id) {
  loadAbort.abort();
  isLoading = true;
  const { signal } = (loadAbort = new AbortController());
  try {
    const data = await api.getTask(id, signal);
    if (state.task?.id !== id) return;
    merge("task", { data, error: null });
    if (data.status === "running") followReply(id);
    else {
      stopReply();
      if (data.status !== "pending" || !data.attempt) merge("task", { reply: null });
    }
  } catch (error) {
    if (error.name !== "AbortError" && state.task?.id === id) merge("task", { error });
  }
  if (!signal.aborted) isLoading = false;
}

function reloadSoon(id) {
  reloadTimer ??= setTimeout(() => {
    reloadTimer = null;
    if (state.task?.id !== id || state.task.data?.status !== "pending") return;
    if (isLoading)
      reloadSoon(id); // it may be large
    else loadTask(id);
  }, RELOAD_DELAY_MS);
}

/** The list says little of a task: what happens to it is told at once, and then all of it is read. */
export function applyFeedToTask(message) {
  const { task } = state;
  if (!task) return;
  if (message.type === "snapshot") loadTask(task.id);
  if (message.type === "stats") reloadSoon(task.id); // its place changes without an event of its own
  if (message.type !== "event" || message.task?.id !== task.id) return;
  if (message.event === "task_deleted") {
    stopReply();
    merge("task", {
      data: null,
      error: new api.ApiError(404, "not_found", "This task has been deleted"),
    });
  } else {
    if (task.data) {
      const { payload, options, metadata, dialect, result } = task.data;
      merge("task", { data: { ...message.task, payload, options, metadata, dialect, result } });
    }
    loadTask(task.id);
  }
}

// --- the stream

const EMPTY_REPLY = { text: "", thinking: "", calls: [], pieces: 0, restarts: 0 };

async function followReply(id) {
  if (replyAbort) return;
  const mine = (replyAbort = new AbortController());
  let lastId = null;
  const reply = { ...EMPTY_REPLY, calls: [] };
  merge("task", { reply });
  while (replyAbort === mine) {
    try {
      for await (const { event, id: place, data } of api.streamTask(id, {
        signal: mine.signal,
        lastId,
      })) {
        if (replyAbort !== mine) return;
        if (event === "end") return endReply(mine, id);
        if (event === "restart")
          Object.assign(reply, EMPTY_REPLY, { calls: [], restarts: reply.restarts + 1 });
        else appendChunk(reply, data);
        lastId = place ?? lastId;
        notify();
      }
    } catch (error) {
      if (error.name === "AbortError" || error.status === 404) return;
    }
    await new Promise((wake) => setTimeout(wake, 1000)); // the connection was lost: it goes on behind lastId
  }
}

function appendChunk(reply, data) {
  const { text, thinking, calls } = replyParts(data);
  reply.text += text;
  reply.thinking += thinking;
  for (const call of calls) appendToolCall(reply.calls, call);
  reply.pieces++;
}

/** In OpenAI's words the arguments of a call come in pieces, which tell the call by its number. */
function appendToolCall(calls, { index, ...call }) {
  const known = index === undefined ? undefined : calls.find((each) => each.index === index);
  if (known) known.function.arguments += call.function?.arguments ?? "";
  else calls.push({ index, ...call, function: { ...call.function } });
}

function endReply(mine, id) {
  if (replyAbort === mine) replyAbort = null;
  loadTask(id);
}

function stopReply() {
  replyAbort?.abort();
  replyAbort = null;
}
