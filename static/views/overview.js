// The overview: counts, running tasks, throughput, waiting times, model servers.

import { backendList } from "../components/backend_list.js";
import { errorMessage, loadingMessage, staleWarning } from "../components/controls.js";
import { serverList } from "../components/server_list.js";
import { chart, lastHour } from "../lib/charts.js";
import { h } from "../lib/dom.js";
import {
  compactNumber,
  duration,
  localTime,
  number,
  plural,
  priorityName,
  rate,
} from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { requestOrder } from "../lib/request_order.js";
import * as api from "../server/api.js";
import { secondsRan } from "../server/task_times.js";
import { href } from "../state/router.js";
import {
  followRunningTasks,
  stopFollowingTasks,
  tokensPerSecond,
} from "../state/running_replies.js";
import { connectionStatus, update } from "../state/store.js";
import { failureGroups } from "./failure_groups.js";

export const overviewView = { title: "Overview", draw, enter, leave, onMessage };

const HISTORY_MS = 15_000;
let historyTimer = null;

function enter() {
  loadReports();
  loadRunning();
  historyTimer ??= setInterval(() => document.hidden || loadReports(), HISTORY_MS);
}

function loadReports() {
  loadHistory();
  loadFailures();
  loadServers();
}

function leave() {
  clearInterval(historyTimer);
  historyTimer = null;
  stopFollowingTasks();
}

function onMessage(message) {
  if (message.type === "snapshot") enter();
  else if (message.type === "event" && message.task) followRunningTasks();
}

const historyRequests = requestOrder();
const failureRequests = requestOrder();
const runningRequests = requestOrder();
const serverRequests = requestOrder();

/** Those who may not list the servers see none: the section is left out. */
async function loadServers() {
  const isNewest = serverRequests();
  const servers = await api.listServers().catch(() => []);
  if (isNewest()) update({ servers });
}

async function loadFailures() {
  const isNewest = failureRequests();
  try {
    const failures = await api.listFailures();
    if (isNewest()) update({ failures, failuresError: null });
  } catch (error) {
    if (isNewest()) update({ failuresError: error });
  }
}

async function loadHistory() {
  const isNewest = historyRequests();
  try {
    const history = await api.getHistory();
    if (isNewest()) update({ history, historyError: null });
  } catch (error) {
    if (isNewest()) update({ historyError: error });
  }
}

/** The snapshot of the feed has the newest tasks only; running ones may be older. */
async function loadRunning() {
  const isNewest = runningRequests();
  try {
    const page = await api.listTasks({ status: "running", sort: "started", limit: 50 });
    if (!isNewest()) return;
    update({
      running: new Map(page.tasks.reverse().map((task) => [task.id, task])),
      runningError: null,
    });
    if (historyTimer) followRunningTasks();
  } catch (error) {
    if (isNewest()) update({ runningError: error });
  }
}

function draw(state) {
  const { stats, history, historyError, running, runningError, runningReplies } = state;
  const { failures, failuresError } = state;
  if (!stats)
    return connectionStatus(state) === "lost"
      ? errorMessage({ message: "The server cannot be reached" }, null)
      : loadingMessage("the overview");
  return h(
    "div",
    { class: "overview" },
    h("h1", { class: "hidden" }, "Overview"),
    counts(stats),
    section(
      "Running now",
      [staleWarning(runningError, loadRunning), runningTasks(stats, running, runningReplies)],
      "wide",
    ),
    section("Finished per minute", throughputChart(history, historyError)),
    section("Time to start", waitChart(history, historyError)),
    section("Waiting by priority", waitingByPriority(stats)),
    (failures.length > 0 || failuresError) &&
      section(
        "Failures by cause",
        [staleWarning(failuresError, loadFailures), failureGroups(failures)],
        "wide",
      ),
    section("Model servers", backendList(stats.backends), "wide"),
    state.servers.length > 1 && section("Servers", serverList(state.servers), "wide"),
    h(
      "p",
      { class: "quiet foot" },
      `Ollama Queue ${stats.version}, up for ${duration(stats.uptime_s)} · `,
      h("a", { href: "openapi.json" }, "openapi.json"),
      " · Keys: / search; j, k move; Enter open; x select; g, then the first letter of a view (k: Keys) opens it",
    ),
  );
}

const section = (title, body, className = "") =>
  h("section", { class: `sheet ${className}`, "aria-label": title }, h("h2", null, title), body);

function counts(stats) {
  const ended = stats.throughput * 60;
  return h(
    "ul",
    { class: "counts", "aria-label": "Counts" },
    tile(
      "pending",
      stats.pending_tasks,
      stats.scheduled ? `${number(stats.scheduled)} scheduled` : oldestWait(stats),
    ),
    tile(
      "running",
      stats.running_tasks,
      `${number(stats.workers_active)} of ${plural(stats.workers_active + stats.workers_idle, "slot")}`,
    ),
    tile(
      "completed",
      stats.completed_tasks,
      `${number(Math.round(ended))} finished in the last minute`,
    ),
    tile("failed", stats.failed_tasks, stats.failed_tasks ? "View failures" : "none"),
    tile("cancelled", stats.cancelled_tasks, ""),
  );
}

const oldestWait = (stats) =>
  stats.oldest_wait_s === null ? "none waiting" : `oldest: ${duration(stats.oldest_wait_s)}`;

const tile = (name, value, more) =>
  h(
    "li",
    { key: name },
    h(
      "a",
      { class: "tile", href: href("tasks", null, { status: name }) },
      h("span", { class: `status ${name}` }, icon(name), h("span", null, name)),
      h("strong", { title: number(value) }, compactNumber(value)),
      h("span", { class: "quiet" }, more),
    ),
  );

function runningTasks(stats, running, runningReplies) {
  if (!running.size) {
    const text = stats.pending_tasks ? "No task is running." : "No task is running or waiting.";
    return h("p", { class: "quiet" }, text, " ", h("a", { href: href("submit") }, "Submit a task"));
  }
  const tasks = [...running.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return h(
    "ul",
    { class: "running-list" },
    tasks.slice(0, 20).map((task) => runningTask(task, runningReplies.get(task.id))),
    tasks.length > 20 &&
      h(
        "li",
        { key: "more" },
        h(
          "a",
          { href: href("tasks", null, { status: "running" }) },
          `and ${number(tasks.length - 20)} more`,
        ),
      ),
  );
}

function runningTask(task, reply) {
  const pace = reply ? tokensPerSecond(reply) : null;
  return h(
    "li",
    { key: task.id },
    h("a", { class: "running-title", href: href("task", task.id) }, task.title || task.id),
    h(
      "span",
      { class: "quiet running-where" },
      [task.model, task.executed_on].filter(Boolean).join(" on "),
    ),
    h("span", { class: "amount" }, duration(secondsRan(task))),
    h("span", { class: "amount" }, reply ? `${number(reply.pieces)} tok` : "–"),
    h("span", { class: "amount" }, pace === null ? "–" : `${rate(pace)}/s`),
    h(
      "p",
      { class: "running-text quiet" },
      h("span", null, reply?.text.replace(/\s+/g, " ") || "…"),
    ),
  ); // its end stays visible
}

function throughputChart(history, error) {
  if (!history) return error ? errorMessage(error, loadHistory) : loadingMessage("history");
  const hour = lastHour(history);
  const pick = (name) => hour.map((minute) => minute[name] ?? null);
  const sum = (name) => history.reduce((all, minute) => all + minute[name], 0);
  const late = sum("expired");
  const expired = late ? ` (${number(late)} expired)` : "";
  const summary = `Last hour: ${number(sum("completed"))} completed, ${number(sum("failed"))} failed${expired}, ${number(sum("cancelled"))} cancelled`;
  return [
    staleWarning(error, loadHistory),
    chart({
      series: [
        { name: "completed", color: "completed", values: pick("completed") },
        { name: "failed", color: "failed", values: pick("failed") },
        { name: "cancelled", color: "cancelled", values: pick("cancelled") },
      ],
      times: hour.map(({ at }) => localTime(at).slice(0, 5)),
      format: (value) => number(value),
      summary,
    }),
    h("p", { class: "quiet" }, `${summary}; ${compactNumber(sum("tokens"))} tokens.`),
  ];
}

function waitChart(history, error) {
  if (!history) return error ? errorMessage(error, loadHistory) : loadingMessage("history");
  const hour = lastHour(history);
  const started = history.filter((minute) => minute.started);
  const longest = Math.max(0, ...started.map((minute) => minute.wait_max_s ?? 0));
  const all = started.reduce((sum, minute) => sum + minute.started, 0);
  const mean =
    started.reduce((sum, minute) => sum + (minute.wait_mean_s ?? 0) * minute.started, 0) /
    (all || 1);
  const summary = all
    ? `Last hour: ${duration(mean)} on average, ${duration(longest)} at most`
    : "No task started in the last hour";
  return [
    staleWarning(error, loadHistory),
    chart({
      series: [{ name: "longest", color: "wash", values: hour.map((m) => m.wait_max_s ?? null) }],
      line: { name: "average", color: "accent", values: hour.map((m) => m.wait_mean_s ?? null) },
      times: hour.map(({ at }) => localTime(at).slice(0, 5)),
      format: duration,
      summary,
    }),
    h("p", { class: "quiet" }, `${summary}.`),
  ];
}

const REASONS = {
  slot: "for a free slot",
  schedule: "for their scheduled time",
  retry: "to retry",
  backend: "for a model server",
  paused: "for the queue to resume",
};

function waitingByPriority({ queues_by_priority: levels, waiting_for: reasons }) {
  const rows = Object.entries(levels)
    .map(([level, count]) => [Number(level), count])
    .sort((a, b) => b[0] - a[0]);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  const why = Object.entries(reasons).filter(([, count]) => count > 0);
  return [
    h(
      "table",
      { class: "depths" },
      h(
        "tbody",
        null,
        rows.map(([level, count]) =>
          h(
            "tr",
            { key: level },
            h(
              "th",
              { scope: "row" },
              h(
                "a",
                { href: href("tasks", null, { status: "pending", priority: level }) },
                `${level} ${priorityName(level) === String(level) ? "" : priorityName(level)}`,
              ),
            ),
            h(
              "td",
              { class: "depth" },
              h("span", { class: "depth-bar", style: { width: `${(count / most) * 100}%` } }),
            ),
            h("td", { class: "amount" }, number(count)),
          ),
        ),
      ),
    ),
    h(
      "p",
      { class: "quiet" },
      why.length
        ? `Waiting: ${why.map(([name, count]) => `${number(count)} ${REASONS[name] ?? name}`).join(", ")}.`
        : "No task is waiting.",
    ),
  ];
}
