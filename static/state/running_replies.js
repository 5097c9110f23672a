// The replies of running tasks as they stream, over a WebSocket of their own: one that subscribes to
// chunks gets no other events.

import { openFeed } from "../server/feed.js";
import { replyParts } from "../server/replies.js";
import { notify, state } from "./store.js";

const MAX_TASKS = 50;
const MAX_TEXT = 400; // characters kept of a reply's end
const WINDOW_MS = 5000; // over which the speed is measured
const REPLAY_MS = 500; // in which earlier chunks arrive at once

let feed = null;
let followedIds = "";

/** Follows the tasks that run now; called again when that changes. */
export function followRunningTasks() {
  const ids = [...state.running.keys()].slice(-MAX_TASKS);
  const key = ids.join();
  if (key === followedIds && feed) return;
  followedIds = key;
  if (!feed) feed = openFeed({ onMessage, subscription });
  else feed.send(subscription());
}

export function stopFollowingTasks() {
  feed?.close();
  feed = null;
  state.runningReplies.clear();
}

function subscription() {
  const tasks = followedIds ? followedIds.split(",") : [];
  return { subscribe: [], tasks, chunks: tasks.length > 0 };
}

function onMessage({ type, task_id: id, data }) {
  if (type === "end") state.runningReplies.delete(id);
  else if (type === "restart") state.runningReplies.set(id, emptyReply());
  else if (type === "chunk") {
    if (!state.runningReplies.has(id)) state.runningReplies.set(id, emptyReply());
    const reply = state.runningReplies.get(id);
    const { text, thinking } = replyParts(data);
    reply.text = (reply.text + text + thinking).slice(-MAX_TEXT);
    reply.pieces++;
  } else return;
  notify();
}

const emptyReply = () => ({ text: "", pieces: 0, marks: [], since: performance.now() });

/** Tokens per second over the last seconds; null until it is known. */
export function tokensPerSecond(reply) {
  const now = performance.now();
  const { marks, pieces } = reply;
  if (now - reply.since < REPLAY_MS) return null;
  if (!marks.length || now - marks.at(-1)[0] > 400) marks.push([now, pieces]);
  while (marks.length > 2 && now - marks[1][0] > WINDOW_MS) marks.shift();
  const [at, then] = marks[0];
  return now - at < 900 ? null : ((pieces - then) * 1000) / (now - at);
}
