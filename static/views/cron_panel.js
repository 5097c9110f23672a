// One cron: its schedule, its latest tasks, and what it submits.

import {
  button,
  iconButton,
  loadingMessage,
  priorityLabel,
  staleWarning,
  timeLabel,
} from "../components/controls.js";
import { factList, wishes } from "../components/facts.js";
import { taskLine } from "../components/task_line.js";
import { h } from "../lib/dom.js";
import { duration, number, secondsBetween } from "../lib/format.js";
import { confirmRemoveCron, loadCron, runCronNow, setCronEnabled } from "../state/cron_list.js";
import { href, navigate } from "../state/router.js";

export function cronPanel(cron, detail) {
  return h(
    "article",
    { class: "one" },
    h(
      "header",
      null,
      h(
        "div",
        { class: "row" },
        h("h1", { class: "grow" }, cron.name),
        iconButton("close", "Close", () => navigate("crons")),
      ),
      h(
        "div",
        { class: "row actions" },
        button("Run now", () => runCronNow(cron), { iconName: "running", variant: "primary" }),
        button("Edit", () => navigate("crons", cron.id, { edit: 1 }), { iconName: "edit" }),
        cron.enabled
          ? button("Disable", () => setCronEnabled(cron, false), {
              key: "disable",
              iconName: "pause",
            })
          : button("Enable", () => setCronEnabled(cron, true), {
              key: "enable",
              iconName: "completed",
            }),
        button("Remove", () => confirmRemoveCron(cron), { iconName: "trash", variant: "danger" }),
      ),
    ),
    cronFacts(cron),
    cron.enabled &&
      section("Next runs", nextTimes(detail?.id === cron.id ? detail.next : null, cron.timezone)),
    section("Latest tasks", latestTasks(cron, detail)),
    section("Task", payloadSection(cron.task_template)),
  );
}

const section = (title, ...inside) =>
  h("section", { key: title, class: "part" }, h("h2", null, title), inside);

function cronFacts(cron) {
  const { task_template: task } = cron;
  return factList([
    ["Schedule", h("code", null, cron.cron_expr)],
    ["Time zone", cron.timezone],
    ["Next run", cron.enabled ? timeLabel(cron.next_run, true) : "disabled"],
    ["Last run", cron.last_run ? timeLabel(cron.last_run, true) : "never"],
    ["Runs", number(cron.run_count)],
    [
      "If the previous run has not finished",
      cron.overlap === "skip" ? "skips this run" : "submits another task",
    ],
    ["Runs missed while the queue is down", cron.missed === "once" ? "run once" : "skipped"],
    ["Model", h("a", { href: href("tasks", null, { model: task.model }) }, task.model)],
    ["Type", task.type],
    ["Priority", priorityLabel(task.priority)],
    ...wishes(task),
    cron.tenant && ["Tenant", cron.tenant],
    task.tags.length > 0 && ["Tags", task.tags.map((tag) => h("span", { class: "tag" }, tag))],
  ]);
}

/** Local times; beside them the time in the cron's zone, where it differs. */
export function nextTimes(next, timezone) {
  if (!next) return h("p", { class: "quiet" }, "…");
  if (!next.length) return h("p", { class: "quiet" }, "never");
  return h(
    "ol",
    { class: "next-times" },
    next.map((text) =>
      h(
        "li",
        { key: text },
        timeLabel(text, true),
        h(
          "span",
          { class: "quiet" },
          [
            timeInZone(text, timezone),
            `in ${duration(secondsBetween(new Date().toISOString(), text))}`,
          ]
            .filter(Boolean)
            .join(" · "),
        ),
      ),
    ),
  );
}

function timeInZone(text, timeZone) {
  const as = (zone) =>
    new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
    }).format(new Date(text));
  try {
    return as(timeZone) === as(undefined) ? "" : `${as(timeZone)} ${timeZone}`;
  } catch {
    return ""; // browsers know fewer zones than the server
  }
}

function latestTasks(cron, detail) {
  if (detail?.id !== cron.id || !detail.tasks) return loadingMessage("its tasks");
  if (detail.error) return staleWarning(detail.error, () => loadCron(cron));
  if (!detail.tasks.length)
    return h("p", { class: "quiet" }, "No tasks yet, or they have been deleted.");
  return [
    h(
      "ul",
      { class: "latest" },
      detail.tasks.map((task) => taskLine(task)),
    ),
    h("a", { href: href("tasks", null, { cron_id: cron.id }) }, "View all its tasks"),
  ];
}

function payloadSection({ payload, options }) {
  const whole = { ...payload, ...(Object.keys(options).length && { options }) };
  return h(
    "pre",
    { tabindex: 0, "aria-label": "Payload" },
    h("code", null, JSON.stringify(whole, null, 2)),
  );
}
