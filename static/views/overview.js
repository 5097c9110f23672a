// How the queue is doing, at a glance.

import * as api from "../api.js";
import { chart, lastHour } from "../charts.js";
import { h } from "../dom.js";
import { number, plural, priority, rate, short, span, time } from "../format.js";
import { followRunning, speed, stopFollowing } from "../live.js";
import { href } from "../router.js";
import { inOrder, state, update } from "../state.js";
import { backends } from "./backends.js";
import { icon } from "./icons.js";
import { failure, loading, trouble } from "./parts.js";
import { ran } from "./task_row.js";

const HISTORY_MS = 15_000;
let timer = null;

export function enter() {
  loadHistory();
  loadRunning();
  timer ??= setInterval(() => document.hidden || loadHistory(), HISTORY_MS);
}

export function leave() {
  clearInterval(timer);
  timer = null;
  stopFollowing();
}

export function hear(message) {
  if (message.type === "snapshot") enter();
  else if (message.type === "event" && message.task) followRunning();
}

const askHistory = inOrder();
const askRunning = inOrder();

async function loadHistory() {
  const isNews = askHistory();
  try {
    const history = await api.getHistory();
    if (isNews()) update({ history, historyError: null });
  } catch (error) {
    if (isNews()) update({ historyError: error });
  }
}

/** The snapshot has the newest tasks only: those that run may be older. */
async function loadRunning() {
  const isNews = askRunning();
  try {
    const page = await api.listTasks({ status: "running", sort: "started", limit: 50 });
    if (!isNews()) return;
    update({ running: new Map(page.tasks.reverse().map((task) => [task.id, task])), runningError: null });
    if (timer) followRunning();
  } catch (error) {
    if (isNews()) update({ runningError: error });
  }
}

export function view({ stats, history, historyError, running, runningError, live, connection }) {
  if (!stats) return connection.status === "lost" ? failure({ message: "The server cannot be reached" }, null) : loading("the overview");
  return h("div", { class: "overview" },
    h("h1", { class: "hidden" }, "Overview"),
    counts(stats),
    sheet("Running now", [trouble(runningError, loadRunning), runningNow(stats, running, live)], "wide"),
    sheet("Tasks ended a minute", throughput(history, historyError)),
    sheet("Wait before the first run", waits(history, historyError)),
    sheet("Waiting, by priority", byPriority(stats)),
    sheet("Model servers", backends(stats.backends), "wide"),
    h("p", { class: "quiet foot" }, `Ollama Queue ${stats.version}, up for ${span(stats.uptime_s)} · `, h("a", { href: "openapi.json" }, "openapi.json"),
      " · keys: / search, j k move, Enter open, x choose, g then o t s c b go to a view"));
}

const sheet = (title, body, look = "") => h("section", { class: `sheet ${look}`, "aria-label": title }, h("h2", null, title), body);

function counts(stats) {
  const ended = stats.throughput * 60;
  return h("ul", { class: "counts", "aria-label": "Counts" },
    count("pending", stats.pending_tasks, stats.scheduled ? `${number(stats.scheduled)} for later` : oldest(stats)),
    count("running", stats.running_tasks, `${number(stats.workers_active)} of ${plural(stats.workers_active + stats.workers_idle, "slot")}`),
    count("completed", stats.completed_tasks, `${number(Math.round(ended))} ended in the last minute`),
    count("failed", stats.failed_tasks, stats.failed_tasks ? "see why, retry" : "nothing to do"),
    count("cancelled", stats.cancelled_tasks, ""));
}

const oldest = (stats) => (stats.oldest_wait_s === null ? "nothing waits" : `the oldest for ${span(stats.oldest_wait_s)}`);

const count = (name, value, more) =>
  h("li", { key: name }, h("a", { class: "tile", href: href("tasks", null, { status: name }) },
    h("span", { class: `status ${name}` }, icon(name), h("span", null, name)),
    h("strong", { title: number(value) }, short(value)),
    h("span", { class: "quiet" }, more)));

function runningNow(stats, running, live) {
  if (!running.size) {
    const words = stats.pending_tasks ? "Nothing runs at this moment." : "Nothing runs and nothing waits.";
    return h("p", { class: "quiet" }, words, " ", h("a", { href: href("submit") }, "Submit a task"));
  }
  const tasks = [...running.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return h("ul", { class: "running-list" }, tasks.slice(0, 20).map((task) => runningTask(task, live.get(task.id))),
    tasks.length > 20 && h("li", { key: "more" }, h("a", { href: href("tasks", null, { status: "running" }) }, `and ${number(tasks.length - 20)} more`)));
}

function runningTask(task, reply) {
  const pace = reply ? speed(reply) : null;
  return h("li", { key: task.id },
    h("a", { class: "running-title", href: href("task", task.id) }, task.title || task.id),
    h("span", { class: "quiet running-where" }, [task.model, task.executed_on].filter(Boolean).join(" on ")),
    h("span", { class: "amount" }, span(ran(task))),
    h("span", { class: "amount" }, reply ? `${number(reply.pieces)} tok` : "–"),
    h("span", { class: "amount" }, pace === null ? "–" : `${rate(pace)}/s`),
    h("p", { class: "running-text quiet" }, h("span", null, reply?.text.replace(/\s+/g, " ") || "…"))); // its end is seen
}

function throughput(history, error) {
  if (!history) return error ? failure(error, loadHistory) : loading("history");
  const hour = lastHour(history);
  const pick = (name) => hour.map((minute) => minute[name] ?? null);
  const sum = (name) => history.reduce((all, minute) => all + minute[name], 0);
  const summary = `In the last hour ${plural(sum("completed"), "task")} completed, ${number(sum("failed"))} failed, ${number(sum("cancelled"))} were cancelled`;
  return [
    trouble(error, loadHistory),
    chart({
      series: [
        { name: "completed", look: "completed", values: pick("completed") },
        { name: "failed", look: "failed", values: pick("failed") },
        { name: "cancelled", look: "cancelled", values: pick("cancelled") },
      ],
      times: hour.map(({ at }) => time(at).slice(0, 5)), show: (value) => number(value), summary,
    }),
    h("p", { class: "quiet" }, `${summary}; ${short(sum("tokens"))} tokens.`),
  ];
}

function waits(history, error) {
  if (!history) return error ? failure(error, loadHistory) : loading("history");
  const hour = lastHour(history);
  const started = history.filter((minute) => minute.started);
  const longest = Math.max(0, ...started.map((minute) => minute.wait_max_s ?? 0));
  const all = started.reduce((sum, minute) => sum + minute.started, 0);
  const mean = started.reduce((sum, minute) => sum + (minute.wait_mean_s ?? 0) * minute.started, 0) / (all || 1);
  const summary = all ? `On average ${span(mean)}, at most ${span(longest)} in the last hour` : "No task has started in the last hour";
  return [
    trouble(error, loadHistory),
    chart({
      series: [{ name: "longest", look: "wash", values: hour.map((m) => m.wait_max_s ?? null) }],
      line: { name: "average", look: "accent", values: hour.map((m) => m.wait_mean_s ?? null) },
      times: hour.map(({ at }) => time(at).slice(0, 5)), show: span, summary,
    }),
    h("p", { class: "quiet" }, `${summary}.`),
  ];
}

const REASONS = { slot: "for a free slot", schedule: "for their time", retry: "to be retried", backend: "for a model server", paused: "for the queue to be resumed" };

function byPriority({ queues_by_priority: levels, waiting_for: reasons }) {
  const rows = Object.entries(levels).map(([level, count]) => [Number(level), count]).sort((a, b) => b[0] - a[0]);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  const why = Object.entries(reasons).filter(([, count]) => count > 0);
  return [
    h("table", { class: "depths" }, h("tbody", null, rows.map(([level, count]) =>
      h("tr", { key: level },
        h("th", { scope: "row" }, h("a", { href: href("tasks", null, { status: "pending", priority: level }) }, `${level} ${priority(level) === String(level) ? "" : priority(level)}`)),
        h("td", { class: "depth" }, h("span", { class: "depth-bar", style: { width: `${(count / most) * 100}%` } })),
        h("td", { class: "amount" }, number(count)))))),
    h("p", { class: "quiet" }, why.length ? `They wait ${why.map(([name, count]) => `${REASONS[name] ?? name}: ${number(count)}`).join(", ")}.` : "Nothing waits."),
  ];
}
