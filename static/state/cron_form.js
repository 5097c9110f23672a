// The form of a cron: the form of a task with a schedule; conversion from and to a cron.

import { formFieldOf, taskFormFrom, taskFrom } from "./task_form.js";

const EMPTY_TEMPLATE = {
  type: "chat",
  model: null,
  payload: {},
  options: {},
  priority: 5,
  tags: [],
};

/** The form of a new cron, or one filled with `cron`. */
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

/** The cron of a form, as the API takes it. Empty fields are reset. Throws `FormError`. */
export function cronFrom(form) {
  const unset = {
    tags: [],
    max_retries: null,
    timeout_s: null,
    start_within: null,
    backend: null,
    fallback_models: null,
  };
  const { metadata, ...template } = taskFrom(form); // the queue sets it for each run
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

/** An error with field names as the form has them: without `task_template`. */
export function cronFormError({ message, field }) {
  const short = (text) => text?.replace("task_template.", "") ?? null;
  return { message: short(message), field: short(field) };
}

const SCHEDULE_FIELDS = ["cron_expr", "timezone"];

/** Whether an error is about the schedule or its time zone. */
export const isScheduleError = (error, form) =>
  Boolean(error) && SCHEDULE_FIELDS.includes(formFieldOf(error.field, form));
