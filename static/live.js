// The replies of all running tasks as they come, over a socket of their own: one that hears chunks
// hears of its tasks only.

import { openFeed } from "./feed.js";
import { said } from "./said.js";
import { changed, state } from "./state.js";

const MOST = 50;
const TAIL = 400; // characters kept of a reply
const WINDOW_MS = 5000; // that the speed is measured over
const REPLAY_MS = 500; // in which what was said before comes at once

let feed = null;
let followed = "";

/** Follows the tasks that run now; called again when others do. */
export function followRunning() {
  const ids = [...state.running.keys()].slice(-MOST);
  const key = ids.join();
  if (key === followed && feed) return;
  followed = key;
  if (!feed) feed = openFeed({ hear, wish });
  else feed.send(wish());
}

export function stopFollowing() {
  feed?.close();
  feed = null;
  state.live.clear();
}

function wish() {
  const tasks = followed ? followed.split(",") : [];
  return { subscribe: [], tasks, chunks: tasks.length > 0 };
}

function hear({ type, task_id: id, data }) {
  if (type === "end") state.live.delete(id);
  else if (type === "restart") state.live.set(id, begin());
  else if (type === "chunk") {
    if (!state.live.has(id)) state.live.set(id, begin());
    const reply = state.live.get(id);
    const { text, thinking } = said(data);
    reply.text = (reply.text + text + thinking).slice(-TAIL);
    reply.pieces++;
  } else return;
  changed();
}

const begin = () => ({ text: "", pieces: 0, marks: [], since: performance.now() });

/** Tokens a second over the last seconds, null as long as nobody can know. */
export function speed(reply) {
  const now = performance.now();
  const { marks, pieces } = reply;
  if (now - reply.since < REPLAY_MS) return null;
  if (!marks.length || now - marks.at(-1)[0] > 400) marks.push([now, pieces]);
  while (marks.length > 2 && now - marks[1][0] > WINDOW_MS) marks.shift();
  const [at, then] = marks[0];
  return now - at < 900 ? null : ((pieces - then) * 1000) / (now - at);
}
