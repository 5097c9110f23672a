// A cron as a form, and back: the form of a task, and when it is submitted.

import { formFieldOf, taskFormFrom, taskFrom } from "./task_form.js";

const EMPTY_TEMPLATE = {
  type: "chat",
  model: null,
  payload: {},
  options: {},
  priority: 5,
  tags: [],
};

/** The form of a new cron, or one filled in with a cron. */
export function cronFormFrom(cron) {
  return {
    ...taskFormFrom(cron?.task_template ?? EMPTY_TEMPLATE),
    stateKey: "cronForm",
    id: cron?.id ?? null,
    name: cron?.name ?? "",
    cron_expr: cron?.cron_expr ?? "",
    timezone: cron?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC",
    enabled: cron?.enabled ?? true,
    overlap: cron?.overlap ?? "allow",
    missed: cron?.missed ?? "skip",
    next: null, // the next five times of the schedule
  };
}

/** The cron as the API takes it. What is empty in the form is set back. Raises `FormError`. */
export function cronFrom(form) {
  const unset = { tags: [], max_retries: null, timeout_s: null, backend: null };
  const { metadata, ...template } = taskFrom(form); // the queue's own, in each run
  return {
    name: form.name.trim(),
    cron_expr: form.cron_expr.trim(),
    timezone: form.timezone.trim(),
    enabled: form.enabled,
    overlap: form.overlap,
    missed: form.missed,
    task_template: { ...unset, ...template },
  };
}

/** The error as the form says it: of a field of the task, not of the template. */
export function cronFormError({ message, field }) {
  const short = (text) => text?.replace("task_template.", "") ?? null;
  return { message: short(message), field: short(field) };
}

const SCHEDULE_FIELDS = ["cron_expr", "timezone"];

/** Whether it is about when, not about what. */
export const isScheduleError = (error, form) =>
  Boolean(error) && SCHEDULE_FIELDS.includes(formFieldOf(error.field, form));
