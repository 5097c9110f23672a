// One cron: when it runs, what it submits, and how its latest tasks did.

import { enable, look, remove, run } from "../crons.js";
import { h } from "../dom.js";
import { between, number, span } from "../format.js";
import { go, href } from "../router.js";
import { button, iconButton, level, loading, status, trouble, when } from "./parts.js";

export function cronPanel(cron, looked) {
  return h("article", { class: "one" },
    h("header", null,
      h("div", { class: "row" }, h("h1", { class: "grow" }, cron.name), iconButton("close", "Close", () => go("crons"))),
      h("div", { class: "row actions" },
        button("Run now", () => run(cron), { image: "running", look: "primary" }),
        button("Edit", () => go("crons", cron.id, { edit: 1 }), { image: "edit" }),
        cron.enabled
          ? button("Disable", () => enable(cron, false), { key: "disable", image: "pause" })
          : button("Enable", () => enable(cron, true), { key: "enable", image: "completed" }),
        button("Remove", () => remove(cron), { image: "trash", look: "danger" }))),
    facts(cron),
    cron.enabled && part("Next runs", times(looked?.id === cron.id ? looked.next : null, cron.timezone)),
    part("Latest tasks", latest(cron, looked)),
    part("What it submits", asked(cron.task_template)));
}

const part = (title, ...inside) => h("section", { key: title, class: "part" }, h("h2", null, title), inside);

function facts(cron) {
  const { task_template: task } = cron;
  const known = [
    ["Schedule", h("code", null, cron.cron_expr)],
    ["Time zone", cron.timezone],
    ["Next run", cron.enabled ? when(cron.next_run, true) : "disabled"],
    ["Last run", cron.last_run ? when(cron.last_run, true) : "never"],
    ["Runs", number(cron.run_count)],
    ["While one still runs", cron.overlap === "skip" ? "skips the run" : "submits another"],
    ["Runs missed while the queue is down", cron.missed === "once" ? "one for all" : "skipped"],
    ["Model", h("a", { href: href("tasks", null, { model: task.model }) }, task.model)],
    ["Type", task.type],
    ["Priority", level(task.priority)],
    task.tags.length > 0 && ["Tags", task.tags.map((tag) => h("span", { class: "tag" }, tag))],
  ];
  return h("dl", { class: "facts" }, known.filter(Boolean).map(([name, value]) =>
    h("div", { key: name }, h("dt", null, name), h("dd", null, value))));
}

/** Times as here; where the cron's clock is another, what it shows then is said beside. */
export function times(next, timezone) {
  if (!next) return h("p", { class: "quiet" }, "…");
  if (!next.length) return h("p", { class: "quiet" }, "never");
  return h("ol", { class: "next-times" }, next.map((text) =>
    h("li", { key: text }, when(text, true), h("span", { class: "quiet" }, [there(text, timezone), `in ${span(between(new Date().toISOString(), text))}`].filter(Boolean).join(" · ")))));
}

function there(text, timeZone) {
  const as = (zone) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit" }).format(new Date(text));
  try {
    return as(timeZone) === as(undefined) ? "" : `${as(timeZone)} there`;
  } catch {
    return ""; // the browser knows fewer zones than the server
  }
}

function latest(cron, looked) {
  if (looked?.id !== cron.id || !looked.tasks) return loading("its tasks");
  if (looked.error) return trouble(looked.error, () => look(cron));
  if (!looked.tasks.length) return h("p", { class: "quiet" }, "It has submitted none, or they are no longer kept.");
  return [
    h("ul", { class: "latest" }, looked.tasks.map(latestTask)),
    h("a", { href: href("tasks", null, { cron_id: cron.id }) }, "All its tasks"),
  ];
}

/** A task on one line, with its error below. */
export const latestTask = (task) =>
  h("li", { key: task.id }, status(task),
    h("a", { class: "grow", href: href("task", task.id) }, task.title || task.id), when(task.created_at),
    task.error && h("p", { class: "error" }, task.error));

function asked({ payload, options }) {
  const whole = { ...payload, ...(Object.keys(options).length && { options }) };
  return h("pre", { tabindex: 0, "aria-label": "Payload" }, h("code", null, JSON.stringify(whole, null, 2)));
}
