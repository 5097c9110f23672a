// One batch: its progress, its failed tasks, and its results as a file.

import { jobDownloads, jobFacts, jobFaults, jobStatus } from "../components/batch_job.js";
import {
  button,
  emptyMessage,
  errorMessage,
  iconButton,
  loadingMessage,
  staleWarning,
  statusLabel,
  timeLabel,
} from "../components/controls.js";
import { factList } from "../components/facts.js";
import { taskLine } from "../components/task_line.js";
import { h } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import {
  confirmCancelJob,
  confirmCancelRest,
  countKept,
  downloadResults,
  isUnfinished,
  loadBatch,
  retryFailedTasks,
} from "../state/batch_list.js";
import { href, navigate } from "../state/router.js";

const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];

export function batchPanel(detail, saving) {
  if (!detail || (!detail.batch && !detail.error)) return loadingMessage("the batch");
  const { batch, failed, error } = detail;
  if (error?.status === 404) {
    return emptyMessage(
      "Batch not found",
      "Its tasks may have been deleted or have expired.",
      h("a", { class: "button", href: href("batches") }, "All batches"),
    );
  }
  const again = () => loadBatch(detail.id);
  if (!batch) return errorMessage(error, again);
  return h(
    "article",
    { class: "one" },
    h(
      "header",
      null,
      h(
        "div",
        { class: "row" },
        h("h1", { class: "grow" }, `Batch of ${plural(batch.total, "task")}`),
        iconButton("close", "Close", () => navigate("batches")),
      ),
      h("div", { class: "row actions" }, batchActions(batch, saving)),
    ),
    staleWarning(error, again),
    factList([
      ["Progress", batchProgress(batch)],
      ...(batch.job ? jobFacts(batch.job) : []),
      ["Created", timeLabel(batch.created_at, true)],
      batch.tenant && ["Tenant", batch.tenant],
      ["ID", h("code", null, batch.id)],
    ]),
    batch.job?.faults.length > 0 &&
      h(
        "section",
        { key: "faults", class: "part" },
        h("h2", null, "Errors in the file"),
        jobFaults(batch.job.faults),
      ),
    h("section", { key: "tasks", class: "part" }, h("h2", null, "Tasks"), statusCounts(batch)),
    failed.length > 0 &&
      h(
        "section",
        { key: "errors", class: "part" },
        h("h2", null, "Errors"),
        failedTasks(batch, failed),
      ),
  );
}

function batchActions(batch, saving) {
  const left = batch.pending + batch.running;
  return [
    batch.job ? jobDownloads(batch.job) : resultsButton(batch, saving),
    h(
      "a",
      { key: "see", class: "button", href: href("tasks", null, { batch_id: batch.id }) },
      "View tasks",
    ),
    batch.failed > 0 &&
      button(`Retry ${number(batch.failed)} failed`, () => retryFailedTasks(batch), {
        key: "retry",
        iconName: "retry",
      }),
    isUnfinished(batch) &&
      button("Cancel the batch", () => confirmCancelJob(batch), {
        key: "cancel-job",
        iconName: "close",
        variant: "danger",
        disabled: ["cancelling", "finalizing"].includes(batch.job.status),
      }),
    !batch.job &&
      left > 0 &&
      button("Cancel the rest", () => confirmCancelRest(batch), {
        key: "cancel",
        iconName: "close",
        variant: "danger",
      }),
  ];
}

const resultsButton = (batch, saving) =>
  saving
    ? button(
        `Stop download: ${number(saving.done)} of ${number(saving.total)}`,
        () => saving.stop.abort(),
        { key: "stop", iconName: "close" },
      )
    : button("Download results", () => downloadResults(batch), {
        key: "save",
        iconName: "down",
        variant: "primary",
        disabled: !countKept(batch),
      });

function statusCounts(batch) {
  const deleted = batch.total - countKept(batch);
  return h(
    "ul",
    { class: "tally" },
    STATUSES.map((name) =>
      h(
        "li",
        { key: name },
        h(
          "a",
          { href: href("tasks", null, { batch_id: batch.id, status: name }) },
          statusLabel({ status: name }),
        ),
        h("span", { class: "figure" }, number(batch[name])),
      ),
    ),
    deleted > 0 &&
      h(
        "li",
        null,
        h("span", { class: "quiet" }, "deleted"),
        h("span", { class: "figure" }, number(deleted)),
      ),
  );
}

/** Lists of the tasks whose errors differ in numbers and addresses only, the longest list first. */
function byKind(failed) {
  const kinds = new Map();
  for (const task of failed) {
    const words = (task.error ?? "").replace(/https?:\/\/[^\s]+/g, "").replace(/[0-9]+/g, "#");
    const kind = JSON.stringify([task.error_code, task.executed_on, words]);
    kinds.set(kind, [...(kinds.get(kind) ?? []), task]);
  }
  return [...kinds.values()].sort((one, other) => other.length - one.length);
}

function failedTasks(batch, failed) {
  return [
    h(
      "ul",
      { class: "latest" },
      byKind(failed).map(([task, ...others]) => taskLine(task, others.length)),
    ),
    batch.failed > failed.length &&
      h(
        "a",
        { href: href("tasks", null, { batch_id: batch.id, status: "failed" }) },
        `View all ${number(batch.failed)} failed`,
      ),
  ];
}

/** How many tasks have finished, as a bar and as text. */
export function batchProgress(batch) {
  const kept = countKept(batch);
  const ended = kept - batch.pending - batch.running;
  const isWorking = ended < kept;
  const done = batch.job ? jobStatus(batch.job) : "done";
  const label = isWorking ? `${number(ended)} of ${number(kept)}` : done;
  const parts = ["completed", "failed", "cancelled", "running"].filter((name) => batch[name]);
  return h(
    "span",
    { class: "progress" },
    h(
      "span",
      {
        class: "meter",
        role: "img",
        "aria-label":
          parts.map((name) => `${number(batch[name])} ${name}`).join(", ") || "none finished yet",
      },
      parts.map((name) =>
        h("span", { key: name, class: name, style: { "flex-grow": String(batch[name]) } }),
      ),
      batch.pending > 0 &&
        h("span", { key: "pending", style: { "flex-grow": String(batch.pending) } }),
    ),
    h("span", null, label),
  );
}
