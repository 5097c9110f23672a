// The life of a task as a line: when it waited, when it ran and where.

import { h } from "../dom.js";
import { between, span } from "../format.js";
import { status, when } from "./parts.js";

export function timeline(task) {
  const steps = stepsOf(task);
  const whole = Math.max(0.001, steps.reduce((sum, step) => sum + (step.seconds ?? 0), 0));
  return h("div", { class: "timeline" },
    h("div", { class: "lane", role: "img", "aria-label": steps.map((s) => `${s.word} ${span(s.seconds)}`).join(", ") },
      steps.filter((step) => step.seconds > 0).map((step) =>
        h("span", { class: `span ${step.look}`, title: `${step.word}: ${span(step.seconds)}`, style: { "flex-grow": String(step.seconds / whole) } }))),
    h("ol", null, steps.map((step) =>
      h("li", { class: step.look },
        h("span", { class: "mark", "aria-hidden": "true" }),
        h("span", null, h("strong", null, step.word), step.where && ` on ${step.where}`),
        h("span", { class: "amount" }, step.seconds === undefined ? "" : span(step.seconds)),
        h("span", { class: "quiet" }, when(step.at)),
        step.error && h("p", { class: "error" }, step.error)))));
}

const now = () => new Date().toISOString();

/** {word, look: waits|runs|failed|done, at, seconds, where, error} in order. */
function stepsOf(task) {
  const steps = [];
  let from = task.queued_at;
  if (task.queued_at > task.created_at) steps.push({ word: "Submitted", look: "plain", at: task.created_at });
  if (task.scheduled_at && task.scheduled_at > from) {
    const due = task.scheduled_at < now() ? task.scheduled_at : now();
    steps.push({ word: "Scheduled", look: "scheduled", at: from, seconds: Math.max(0, between(from, due)) });
    if (task.scheduled_at > now()) return steps;
    from = task.scheduled_at;
  }
  for (const run of task.attempts) {
    const waited = between(from, run.started_at);
    if (waited >= 0) steps.push({ word: steps.some((s) => s.look === "failed") ? "Waited to retry" : "Waited", look: "waits", at: from, seconds: waited });
    const word = task.attempts.length > 1 ? `Attempt ${run.attempt}` : "Ran";
    steps.push({ word, look: run.error ? "failed" : "runs", at: run.started_at, seconds: between(run.started_at, run.ended_at), where: run.backend, error: run.error });
    from = run.ended_at;
  }
  if (task.status === "pending") steps.push({ word: "Waits", look: "waits", at: from, seconds: between(from, now()) });
  if (task.status === "running") {
    steps.push({ word: "Waited", look: "waits", at: from, seconds: Math.max(0, between(from, task.started_at)) });
    steps.push({ word: "Runs", look: "runs", at: task.started_at, seconds: between(task.started_at, now()), where: task.executed_on });
  }
  if (task.completed_at) steps.push({ word: status(task), look: `plain ${task.status}`, at: task.completed_at });
  return steps;
}
