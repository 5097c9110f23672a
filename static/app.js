// Joins the parts: the address says which view is shown, the feed tells what happens.

import { onUnauthorized } from "./api.js";
import { render } from "./dom.js";
import { openFeed } from "./feed.js";
import { hearKeys } from "./keys.js";
import { start } from "./router.js";
import { changed, state, subscribe, update } from "./state.js";
import { loadTheme } from "./theme.js";
import * as batches from "./views/batches.js";
import * as crons from "./views/crons.js";
import * as overview from "./views/overview.js";
import { broken, shell } from "./views/shell.js";
import * as submit from "./views/submit.js";
import * as task from "./views/task.js";
import * as tasks from "./views/tasks.js";

// A view has `view(state)`, and as it needs them: `enter(route, before)` at each change of the
// address to it, `leave()` when another comes, `hear(message)` of the feed, `key(event)`, and
// `drawn(state)` each time it is on the page.
const VIEWS = { overview, tasks, task, submit, crons, batches };

/** What cannot be drawn is never the end: the page says so, and tries again at the next change. */
function draw() {
  const page = document.getElementById("page");
  const shown = VIEWS[state.route.view];
  try {
    render(page, shell(state, shown));
    shown.drawn?.(state);
  } catch (error) {
    page.replaceChildren(); // half of it is new, half old
    render(page, broken(error));
  }
}

const ENDED = ["completed", "failed", "cancelled"];

function follow(route, before) {
  if (before.view !== route.view) VIEWS[before.view].leave?.();
  VIEWS[route.view].enter?.(route, before);
  document.title = `${TITLES[route.view]} · Ollama Queue`;
}

const TITLES = {
  overview: "Overview",
  tasks: "Tasks",
  task: "Task",
  submit: "Submit",
  crons: "Crons",
  batches: "Batches",
};

function hear(message) {
  if (message.type === "snapshot" || message.type === "stats") keepStats(message.stats);
  if (message.type === "snapshot") {
    state.running = new Map(message.tasks.filter((t) => t.status === "running").map((t) => [t.id, t]));
  } else if (message.type === "event" && message.task) {
    keepRunning(message.event, message.task);
  }
  changed(); // also where the view cannot make sense of it
  VIEWS[state.route.view].hear?.(message);
}

function keepStats(stats) {
  const unservedSince = stats.waiting_for.backend ? state.unservedSince ?? Date.now() : null;
  update({ stats, unservedSince });
}

function keepRunning(event, told) {
  if (told.status === "running" && event !== "task_deleted") state.running.set(told.id, told);
  else state.running.delete(told.id);
  if (ENDED.includes(told.status)) state.live.delete(told.id);
}

loadTheme();
onUnauthorized(() => update({ needsKey: true }));
subscribe(draw);
start(follow);
hearKeys((event) => VIEWS[state.route.view].key?.(event));
export const feed = openFeed({
  hear,
  told: (status, retryAt) => update({ connection: { status, retryAt } }),
});
// Spans that go on (waits, runs) are counted on by the page itself.
setInterval(() => document.hidden || changed(), 1000);
