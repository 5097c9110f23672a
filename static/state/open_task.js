// The task that is shown: all of its fields, and its reply as it streams.

import * as api from "../server/api.js";
import { replyParts } from "../server/replies.js";
import { merge, notify, state, update } from "./store.js";

let loadAbort = new AbortController();
let replyAbort = null; // of the reply's stream, while there is one
let isLoading = false;
let reloadTimer = null;

const RELOAD_DELAY_MS = 2000; // from a change of the queue to the new place of a pending task

/** Shows a task: `state.task` is {id, data, error, reply, tab, openSections}. */
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

/** Shows a tab of the task; the next task opens with the same tab. */
export function showTaskTab(tab) {
  state.taskTab = tab;
  merge("task", { tab });
}

export async function loadTask(id) {
  loadAbort.abort();
  isLoading = true;
  loadAbort = new AbortController();
  const { signal } = loadAbort;
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
      reloadSoon(id); // it may be slow
    else loadTask(id);
  }, RELOAD_DELAY_MS);
}

/** Shows what an event tells at once, then loads the rest: events have no payload and no result. */
export function applyFeedToTask(message) {
  const { task } = state;
  if (!task) return;
  if (message.type === "snapshot") loadTask(task.id);
  if (message.type === "stats") reloadSoon(task.id); // its place changes without an event
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

// --- the stream of the reply

const EMPTY_REPLY = { text: "", thinking: "", calls: [], pieces: 0, restarts: 0 };

async function followReply(id) {
  if (replyAbort) return;
  const abort = new AbortController();
  replyAbort = abort;
  let lastId = null;
  const reply = { ...EMPTY_REPLY, calls: [] };
  merge("task", { reply });
  while (replyAbort === abort) {
    try {
      for await (const { event, id: chunkId, data } of api.streamTask(id, {
        signal: abort.signal,
        lastId,
      })) {
        if (replyAbort !== abort) return;
        if (event === "end") return endReply(abort, id);
        if (event === "restart")
          Object.assign(reply, EMPTY_REPLY, { calls: [], restarts: reply.restarts + 1 });
        else appendChunk(reply, data);
        lastId = chunkId ?? lastId;
        notify();
      }
    } catch (error) {
      if (error.name === "AbortError" || error.status === 404) return;
    }
    await new Promise((wake) => setTimeout(wake, 1000)); // reconnects, and continues after lastId
  }
}

function appendChunk(reply, data) {
  const { text, thinking, calls } = replyParts(data);
  reply.text += text;
  reply.thinking += thinking;
  for (const call of calls) appendToolCall(reply.calls, call);
  reply.pieces++;
}

/** In OpenAI's format the arguments of a call come in pieces, which name the call by its index. */
function appendToolCall(calls, { index, ...call }) {
  const known = index === undefined ? undefined : calls.find((other) => other.index === index);
  if (known) known.function.arguments += call.function?.arguments ?? "";
  else calls.push({ index, ...call, function: { ...call.function } });
}

function endReply(abort, id) {
  if (replyAbort === abort) replyAbort = null;
  loadTask(id);
}

function stopReply() {
  replyAbort?.abort();
  replyAbort = null;
}
