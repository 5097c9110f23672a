// One task: beside the list, or as a view of its own.

import { cancelTask, copy, deleteTask, retryTask, setPriority, wished } from "../actions.js";
import { h } from "../dom.js";
import { standing, startsIn } from "../estimates.js";
import { number, span, time } from "../format.js";
import { closeTask, hearTask, openTask, read, showTab } from "../looking.js";
import { go, href } from "../router.js";
import { said } from "../said.js";
import { merge, state, update } from "../state.js";
import { icon } from "./icons.js";
import { conversation } from "./conversation.js";
import { button, empty, failure, iconButton, loading, options, reasonOf, status, trouble, when } from "./parts.js";
import { LEVELS } from "./task_row.js";
import { timeline } from "./timeline.js";

export const enter = (route) => (route.id ? openTask(route.id) : go("tasks"));
export const leave = () => closeTask();
export const hear = hearTask;

export const view = ({ task }) => h("div", { class: "task-page" }, taskPanel(task));

export const key = (event) => {
  if (event.key === "Escape") history.back();
};

/** `close` is given where the task stands beside the list. */
export function taskPanel(looked, close = null) {
  if (!looked) return loading("the task");
  const { data: task, error, tab } = looked;
  if (error?.status === 404) {
    return empty(error.message, "It may have been deleted, or its time to be kept is over.",
      close ? button("Close", close) : h("a", { class: "button", href: href("tasks") }, "All tasks"));
  }
  if (error && !task) return failure(error, () => read(looked.id));
  if (!task) return loading("the task");
  return h("article", { class: "task" },
    h("header", null,
      h("div", { class: "row" }, status(task), h("h1", { class: "grow" }, task.title || "Untitled task"),
        close && h("a", { class: "icon-button", href: href("task", task.id), "aria-label": "Whole page", title: "Whole page" }, icon("expand")),
        close && iconButton("close", "Close", close)),
      h("div", { class: "row actions" }, actions(task))),
    trouble(error, () => read(looked.id)),
    facts(task),
    tabs(tab),
    h("div", { class: "tab-panel", role: "tabpanel", id: "task-part", "aria-label": TABS[tab], tabindex: 0 }, PARTS[tab](task, looked)));
}

const TABS = { talk: "Conversation", time: "Timeline", asked: "Payload", raw: "Raw JSON" };
const PARTS = {
  talk: (task, { reply }) => conversation(task, reply),
  time: (task) => timeline(task),
  asked: (task) => [json("Payload", task.payload), json("Options", task.options), json("Metadata", task.metadata)],
  raw: (task) => json("Task", task),
};

function tabs(current) {
  const names = Object.keys(TABS);
  const step = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    const at = (names.indexOf(current) + by + names.length) % names.length;
    showTab(names[at]);
    event.currentTarget.children[at].focus();
  };
  return h("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the task", onkeydown: step }, names.map((name) =>
    h("button", { key: name, type: "button", role: "tab", "aria-selected": name === current, "aria-controls": "task-part", tabindex: name === current ? 0 : -1, onclick: () => showTab(name) }, TABS[name])));
}

function actions(task) {
  const isOpen = task.status === "pending" || task.status === "running";
  const isRetried = task.status === "failed" || task.status === "cancelled";
  return [
    // Keys: a button must not become another one under the finger that is about to press it.
    isOpen && button("Cancel", () => cancelTask(task), { key: "cancel", image: "close" }),
    isRetried && button("Retry", () => retryTask(task), { key: "retry", image: "retry", look: "primary" }),
    button("Duplicate and edit …", () => retryAsNew(task), { key: "anew", image: "edit", disabled: !task.payload || task.dialect === "openai" }),
    task.result && button("Copy result", () => copy(textOf(task.result)), { key: "copy", image: "copy" }),
    !isOpen && button("Delete", () => deleteTask(task), { key: "delete", image: "trash", look: "danger" }),
  ];
}

/** The form of a new task, filled in with this one. */
function retryAsNew({ type, model, payload, options: given, priority, tags, max_retries, timeout_s, backend, remote_execution, metadata }) {
  update({ prefill: { type, model, payload, options: given, priority, tags, max_retries, timeout_s, backend, remote_execution, metadata } });
  go("submit");
}

const textOf = (result) => said(result).text || JSON.stringify(result, null, 2);

function facts(task) {
  const isOpen = task.status === "pending" || task.status === "running";
  const known = [
    ["Model", h("a", { href: href("tasks", null, { model: task.model }) }, task.model)],
    ["Type", task.type],
    ["Priority", isOpen ? priorityField(task) : task.priority],
    task.status === "pending" && ["Waits for", waitsFor(task)],
    ["Created", when(task.created_at, true)],
    task.scheduled_at && ["Scheduled", when(task.scheduled_at, true)],
    task.completed_at && ["Ended", when(task.completed_at, true)],
    task.executed_on && [task.status === "running" ? "Runs on" : "Ran on", task.executed_on],
    task.backend && ["Only on", task.backend],
    ["Attempts", `${number(task.attempt)}${task.retry_count ? `, ${task.retry_count} of ${task.max_retries} retries` : ""}${task.interruptions ? `, ${task.interruptions} interrupted` : ""}`],
    task.timeout_s && ["Time limit", span(task.timeout_s)],
    task.batch_id && ["Batch", link("batch_id", task.batch_id)],
    task.cron_id && ["Cron", link("cron_id", task.cron_id)],
    task.tenant && ["Tenant", link("tenant", task.tenant)],
    task.tags.length > 0 && ["Tags", task.tags.map((tag) => h("a", { class: "tag", href: href("tasks", null, { tag }) }, tag))],
    ["Id", h("span", { class: "row" }, h("code", null, task.id), iconButton("copy", "Copy the id", () => copy(task.id)))],
  ];
  return h("dl", { class: "facts" }, known.filter(Boolean).map(([name, value]) => h("div", { key: name, class: name === "Id" ? "whole" : null }, h("dt", null, name), h("dd", null, value))));
}

const link = (name, id) => h("a", { href: href("tasks", null, { [name]: id }), class: "mono" }, id);

function waitsFor(task) {
  const { waiting_for: why, model, next_attempt_at: next, scheduled_at: due } = task;
  const words = {
    schedule: () => `its time, ${time(due)}`,
    retry: () => (next ? `its next attempt, ${time(next)}` : "its next attempt"),
    backend: () => `a model server: ${reasonOf(model) ?? "none can take it"}`,
    paused: () => "the queue to be resumed",
    slot: () => "a free slot",
  };
  const what = words[why]?.();
  return what ? [what, standing(task), startsIn(task)].filter(Boolean).join(", ") : "–";
}

const priorityField = (task) =>
  h("select", { "aria-label": "Priority", oninput: (e) => setPriority(task, Number(e.target.value)) }, options(LEVELS, wished(`priority of ${task.id}`, task.priority)));

function json(name, value) {
  const text = JSON.stringify(value ?? {}, null, 2);
  const isLong = text.length > 200_000;
  const isEmpty = text === "{}";
  return h("section", { key: name, class: "json" },
    h("div", { class: "row" }, h("h2", { class: "grow" }, name), !isEmpty && iconButton("copy", `Copy ${name.toLowerCase()}`, () => copy(text))),
    isEmpty ? h("p", { class: "quiet" }, "none") : h("pre", { tabindex: 0 }, h("code", null, isLong && !state.task.isWhole ? `${text.slice(0, 200_000)} …` : text)),
    isLong && !state.task.isWhole && button("Show all of it", () => merge("task", { isWhole: true })));
}
