// One task: beside the list, or on its own page.

import {
  button,
  emptyMessage,
  errorMessage,
  iconButton,
  loadingMessage,
  PRIORITY_CHOICES,
  selectOptions,
  staleWarning,
  statusLabel,
  timeLabel,
  unservedReason,
  usesFallback,
} from "../components/controls.js";
import { conversation } from "../components/conversation.js";
import { factList, wishes } from "../components/facts.js";
import { timeline } from "../components/timeline.js";
import { h } from "../lib/dom.js";
import { localTime, number } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { replyParts } from "../server/replies.js";
import { expiresAt, expiresIn, placeInLine, startsIn } from "../server/task_times.js";
import {
  copyText,
  handleCancel,
  handleDelete,
  handlePriority,
  handleRetry,
  optimisticValue,
} from "../state/actions.js";
import { applyFeedToTask, closeTask, loadTask, openTask, showTaskTab } from "../state/open_task.js";
import { href, navigate } from "../state/router.js";
import { merge, state, update } from "../state/store.js";

export const taskView = {
  title: "Task",
  draw: ({ task }) => h("div", { class: "task-page" }, taskPanel(task)),
  enter: ({ id }) => (id ? openTask(id) : navigate("tasks")),
  leave: closeTask,
  onMessage: applyFeedToTask,
  onKey: ({ key }) => key === "Escape" && history.back(),
};

/** `close` is null where the task has its own page. */
export function taskPanel(detail, close = null) {
  if (!detail) return loadingMessage("the task");
  const { data: task, error, tab } = detail;
  if (error?.status === 404) {
    return emptyMessage(
      error.message,
      "It may have been deleted or have expired.",
      close
        ? button("Close", close)
        : h("a", { class: "button", href: href("tasks") }, "All tasks"),
    );
  }
  if (error && !task) return errorMessage(error, () => loadTask(detail.id));
  if (!task) return loadingMessage("the task");
  return h(
    "article",
    { class: "task" },
    h(
      "header",
      null,
      h(
        "div",
        { class: "row" },
        statusLabel(task),
        h("h1", { class: "grow" }, task.title || "Untitled task"),
        close &&
          h(
            "a",
            {
              class: "icon-button",
              href: href("task", task.id),
              "aria-label": "Open full page",
              title: "Open full page",
            },
            icon("expand"),
          ),
        close && iconButton("close", "Close", close),
      ),
      h("div", { class: "row actions" }, actions(task)),
    ),
    staleWarning(error, () => loadTask(detail.id)),
    facts(task),
    tabList(tab),
    h(
      "div",
      {
        class: "tab-panel",
        role: "tabpanel",
        id: "task-part",
        "aria-label": TABS[tab],
        tabindex: 0,
      },
      TAB_CONTENT[tab](task, detail),
    ),
  );
}

const TABS = {
  conversation: "Conversation",
  timeline: "Timeline",
  payload: "Payload",
  raw: "Raw JSON",
};
const TAB_CONTENT = {
  conversation: (task, { reply }) => conversation(task, reply),
  timeline: (task) => timeline(task),
  payload: (task) => [
    jsonSection("Payload", task.payload),
    jsonSection("Options", task.options),
    jsonSection("Metadata", task.metadata),
  ],
  raw: (task) => jsonSection("Task", task),
};

function tabList(current) {
  const names = Object.keys(TABS);
  const step = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    const at = (names.indexOf(current) + by + names.length) % names.length;
    showTaskTab(names[at]);
    event.currentTarget.children[at].focus();
  };
  return h(
    "div",
    { class: "tabs", role: "tablist", "aria-label": "Parts of the task", onkeydown: step },
    names.map((name) =>
      h(
        "button",
        {
          key: name,
          type: "button",
          role: "tab",
          "aria-selected": name === current,
          "aria-controls": "task-part",
          tabindex: name === current ? 0 : -1,
          onclick: () => showTaskTab(name),
        },
        TABS[name],
      ),
    ),
  );
}

function actions(task) {
  const isOpen = task.status === "pending" || task.status === "running";
  const isRetried = task.status === "failed" || task.status === "cancelled";
  return [
    // Keys: a button must not turn into another one just before a click.
    isOpen && button("Cancel", () => handleCancel(task), { key: "cancel", iconName: "close" }),
    isRetried &&
      button("Retry", () => handleRetry(task), {
        key: "retry",
        iconName: "retry",
        variant: "primary",
      }),
    button("Duplicate and edit …", () => duplicate(task), {
      key: "duplicate",
      iconName: "edit",
      disabled: !task.payload || task.dialect !== "ollama",
    }),
    task.result &&
      button("Copy result", () => copyText(resultText(task.result)), {
        key: "copy",
        iconName: "copy",
      }),
    !isOpen &&
      button("Delete", () => handleDelete(task), {
        key: "delete",
        iconName: "trash",
        variant: "danger",
      }),
  ];
}

const DUPLICATED_FIELDS = [
  "type",
  "model",
  "payload",
  "options",
  "priority",
  "tags",
  "max_retries",
  "timeout_s",
  "deadline",
  "start_within",
  "fallback_models",
  "backend",
  "remote_execution",
  "metadata",
];

/** Opens the form of a new task, filled with this one. */
function duplicate(task) {
  update({ prefill: Object.fromEntries(DUPLICATED_FIELDS.map((name) => [name, task[name]])) });
  navigate("submit");
}

const resultText = (result) => replyParts(result).text || JSON.stringify(result, null, 2);

function facts(task) {
  const isOpen = task.status === "pending" || task.status === "running";
  const known = [
    ["Model", h("a", { href: href("tasks", null, { model: task.model }) }, task.model)],
    usesFallback(task) && [
      task.status === "completed" ? "Answered by" : "Model used",
      task.model_used,
    ],
    ["Type", task.type],
    ["Priority", isOpen ? priorityField(task) : task.priority],
    task.status === "pending" && ["Waiting for", waitingText(task)],
    ["Created", timeLabel(task.created_at, true)],
    task.scheduled_at && ["Scheduled", timeLabel(task.scheduled_at, true)],
    task.completed_at && ["Ended", timeLabel(task.completed_at, true)],
    task.executed_on && [task.status === "running" ? "Runs on" : "Ran on", task.executed_on],
    [
      "Attempts",
      `${number(task.attempt)}${task.retry_count ? `, ${task.retry_count} of ${task.max_retries} retries` : ""}${task.interruptions ? `, ${task.interruptions} interrupted` : ""}`,
    ],
    ...wishes(task),
    task.deadline && ["Deadline", timeLabel(task.deadline, true)],
    isOpen && expiresAt(task) && ["Expires in", expiresIn(task)],
    task.batch_id && ["Batch", filterLink("batch_id", task.batch_id)],
    task.cron_id && ["Cron", filterLink("cron_id", task.cron_id)],
    task.tenant && ["Tenant", filterLink("tenant", task.tenant)],
    task.tags.length > 0 && [
      "Tags",
      task.tags.map((tag) => h("a", { class: "tag", href: href("tasks", null, { tag }) }, tag)),
    ],
    [
      "ID",
      h(
        "span",
        { class: "row" },
        h("code", null, task.id),
        iconButton("copy", "Copy ID", () => copyText(task.id)),
      ),
    ],
  ];
  return factList(known, ["ID"]);
}

const filterLink = (name, id) =>
  h("a", { href: href("tasks", null, { [name]: id }), class: "mono" }, id);

function waitingText(task) {
  const { waiting_for: why, model, next_attempt_at: next, scheduled_at: due } = task;
  const reasons = {
    schedule: () => `its scheduled time, ${localTime(due)}`,
    retry: () => (next ? `its next attempt, ${localTime(next)}` : "its next attempt"),
    backend: () => `a model server: ${unservedReason(model) ?? "none can take it"}`,
    paused: () => "the queue to resume",
    slot: () => "a free slot",
  };
  const reason = reasons[why]?.();
  return reason ? [reason, placeInLine(task), startsIn(task)].filter(Boolean).join(", ") : "–";
}

const priorityField = (task) =>
  h(
    "select",
    { "aria-label": "Priority", oninput: (e) => handlePriority(task, Number(e.target.value)) },
    selectOptions(PRIORITY_CHOICES, optimisticValue(`priority of ${task.id}`, task.priority)),
  );

function jsonSection(name, value) {
  const text = JSON.stringify(value ?? {}, null, 2);
  const isLong = text.length > 200_000;
  const isEmpty = text === "{}";
  return h(
    "section",
    { key: name, class: "json" },
    h(
      "div",
      { class: "row" },
      h("h2", { class: "grow" }, name),
      !isEmpty && iconButton("copy", `Copy ${name.toLowerCase()}`, () => copyText(text)),
    ),
    isEmpty
      ? h("p", { class: "quiet" }, "none")
      : h(
          "pre",
          { tabindex: 0 },
          h("code", null, isLong && !state.task.showsAll ? `${text.slice(0, 200_000)} …` : text),
        ),
    isLong && !state.task.showsAll && button("Show all", () => merge("task", { showsAll: true })),
  );
}
