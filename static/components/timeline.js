// A task over time: when it waited, when and where it ran.

import { h } from "../lib/dom.js";
import { duration, secondsBetween } from "../lib/format.js";
import { statusLabel, timeLabel } from "./controls.js";

export function timeline(task) {
  const steps = timelineSteps(task);
  const total = Math.max(
    0.001,
    steps.reduce((sum, step) => sum + (step.seconds ?? 0), 0),
  );
  return h(
    "div",
    { class: "timeline" },
    h(
      "div",
      {
        class: "lane",
        role: "img",
        "aria-label": steps.map((s) => `${s.label} ${duration(s.seconds)}`).join(", "),
      },
      steps
        .filter((step) => step.seconds > 0)
        .map((step) =>
          h("span", {
            class: `span ${step.kind}`,
            title: `${step.label}: ${duration(step.seconds)}`,
            style: { "flex-grow": String(step.seconds / total) },
          }),
        ),
    ),
    h(
      "ol",
      null,
      steps.map((step) =>
        h(
          "li",
          { class: step.kind },
          h("span", { class: "mark", "aria-hidden": "true" }),
          h("span", null, h("strong", null, step.label), step.where && ` on ${step.where}`),
          h("span", { class: "amount" }, step.seconds === undefined ? "" : duration(step.seconds)),
          h("span", { class: "quiet" }, timeLabel(step.at)),
          step.error && h("p", { class: "error" }, step.error),
        ),
      ),
    ),
  );
}

const now = () => new Date().toISOString();

/** {label, kind: waits|runs|failed|done, at, seconds, where, error} in order. */
function timelineSteps(task) {
  const steps = [];
  let from = task.queued_at;
  if (task.queued_at > task.created_at)
    steps.push({ label: "Submitted", kind: "plain", at: task.created_at });
  if (task.scheduled_at && task.scheduled_at > from) {
    const [due] = [task.scheduled_at, now()].sort(); // the earlier
    steps.push({
      label: "Scheduled",
      kind: "scheduled",
      at: from,
      seconds: Math.max(0, secondsBetween(from, due)),
    });
    if (task.scheduled_at > now()) return steps;
    from = task.scheduled_at;
  }
  for (const run of task.attempts) {
    const waited = secondsBetween(from, run.started_at);
    if (waited >= 0)
      steps.push({
        label: steps.some((s) => s.kind === "failed") ? "Waited to retry" : "Waited",
        kind: "waits",
        at: from,
        seconds: waited,
      });
    const label = task.attempts.length > 1 ? `Attempt ${run.attempt}` : "Ran";
    steps.push({
      label,
      kind: run.error ? "failed" : "runs",
      at: run.started_at,
      seconds: secondsBetween(run.started_at, run.ended_at),
      where: run.fallback ? `${run.fallback} on ${run.backend}` : run.backend,
      error: run.error,
    });
    from = run.ended_at;
  }
  if (task.status === "pending")
    steps.push({ label: "Waiting", kind: "waits", at: from, seconds: secondsBetween(from, now()) });
  if (task.status === "running") {
    steps.push({
      label: "Waited",
      kind: "waits",
      at: from,
      seconds: Math.max(0, secondsBetween(from, task.started_at)),
    });
    steps.push({
      label: "Running",
      kind: "runs",
      at: task.started_at,
      seconds: secondsBetween(task.started_at, now()),
      where: task.executed_on,
    });
  }
  if (task.completed_at)
    steps.push({ label: statusLabel(task), kind: `plain ${task.status}`, at: task.completed_at });
  return steps;
}
