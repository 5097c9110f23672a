// Joins the parts: the address says which view is shown, the feed tells what happens.

import { render } from "./lib/dom.js";
import { accessKeysView } from "./operating/access_keys.js";
import { deliveriesView } from "./operating/deliveries.js";
import { onUnauthorized } from "./server/api.js";
import { openFeed } from "./server/feed.js";
import { listenForKeys } from "./state/keyboard.js";
import { startRouter } from "./state/router.js";
import { notify, state, subscribe, update } from "./state/store.js";
import { loadTheme } from "./state/theme.js";
import { batchesView } from "./views/batches.js";
import { cronsView } from "./views/crons.js";
import { historyView } from "./views/history.js";
import { overviewView } from "./views/overview.js";
import { drawingError, shell } from "./views/shell.js";
import { submitView } from "./views/submit.js";
import { taskView } from "./views/task.js";
import { tasksView } from "./views/tasks.js";

// A view has a `title` and `draw(state)`, and where it needs them `enter(route, before)` for each
// change of the address to it, `leave()`, `onMessage(message)` of the feed, `onKey(event)`, and
// `onDrawn(state)` after each drawing.
const VIEWS = {
  overview: overviewView,
  tasks: tasksView,
  task: taskView,
  submit: submitView,
  crons: cronsView,
  batches: batchesView,
  history: historyView,
  webhooks: deliveriesView,
  keys: accessKeysView,
};

/** An error while drawing never ends the page: it is shown, and the next change tries again. */
function draw() {
  const page = document.getElementById("page");
  const view = VIEWS[state.route.view];
  try {
    render(page, shell(state, view.draw));
    view.onDrawn?.(state);
  } catch (error) {
    page.replaceChildren(); // it is half old, half new
    render(page, drawingError(error));
  }
}

const ENDED = ["completed", "failed", "cancelled"];

function onRoute(route, before) {
  if (before.view !== route.view) VIEWS[before.view].leave?.();
  VIEWS[route.view].enter?.(route, before);
  document.title = `${VIEWS[route.view].title} · Ollama Queue`;
}

function onMessage(message) {
  if (message.type === "snapshot" || message.type === "stats") updateStats(message.stats);
  if (message.type === "snapshot") {
    state.running = new Map(
      message.tasks.filter((t) => t.status === "running").map((t) => [t.id, t]),
    );
  } else if (message.type === "event" && message.task) {
    updateRunning(message.event, message.task);
  }
  notify(); // even if the view fails on it
  VIEWS[state.route.view].onMessage?.(message);
}

function updateStats(stats) {
  const unservedSince = stats.waiting_for.backend ? (state.unservedSince ?? Date.now()) : null;
  update({ stats, unservedSince });
}

function updateRunning(event, task) {
  if (task.status === "running" && event !== "task_deleted") state.running.set(task.id, task);
  else state.running.delete(task.id);
  if (ENDED.includes(task.status)) state.runningReplies.delete(task.id);
}

loadTheme();
onUnauthorized((refusal) => update({ keyRefusal: refusal }));
subscribe(draw);
startRouter(onRoute);
listenForKeys((event) => VIEWS[state.route.view].onKey?.(event));
openFeed({
  onMessage,
  onStatus: (status, retryAt) => update({ connection: { status, retryAt } }),
});
// Durations that go on (waits, runs) advance once a second.
setInterval(() => document.hidden || notify(), 1000);
