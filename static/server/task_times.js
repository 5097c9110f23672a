// How long tasks wait and run. Estimates of the server count down from when they were read.

import { duration, number, secondsBetween } from "../lib/format.js";

const readAt = new WeakMap(); // task -> when (ms)
const UNITS = [
  [1, "s", 59.5],
  [60, "min", 59.5],
  [3600, "h", 47.5],
  [86400, "days", Infinity],
];
const ORDINAL_SUFFIXES = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinalRules = new Intl.PluralRules("en", { type: "ordinal" });

/** Notes when the task was read, for its estimate. Returns the task. */
export function stampEstimate(task) {
  readAt.set(task, Date.now());
  return task;
}

/** "about 2 min" until a pending task starts; null where unknown. */
export function startsIn(task) {
  if (task.status !== "pending" || typeof task.eta_s !== "number") return null;
  const left = task.eta_s - (Date.now() - (readAt.get(task) ?? Date.now())) / 1000;
  if (left < 1) return "any moment";
  const [size, unit] = UNITS.find(([unitSeconds, , limit]) => left / unitSeconds < limit);
  return `about ${Math.round(left / size)} ${unit}`;
}

/** "12th in line" of a pending task; null where it has no place. */
export function placeInLine({ status, position }) {
  if (status !== "pending" || typeof position !== "number") return null;
  return position === 0
    ? "next in line"
    : `${number(position + 1)}${ORDINAL_SUFFIXES[ordinalRules.select(position + 1)]} in line`;
}

/** When an open task fails unless it starts or ends before (ms); null if it has no limit. */
export function expiresAt(task) {
  const limits = [];
  if (task.deadline) limits.push(Date.parse(task.deadline));
  if (task.start_within && task.status === "pending" && !task.attempt)
    limits.push(dueSince(task) + task.start_within * 1000);
  return limits.length ? Math.min(...limits) : null;
}

/** "4 m 05 s" until an open task expires. */
export const expiresIn = (task) => duration((expiresAt(task) - Date.now()) / 1000);

const dueSince = (task) =>
  Math.max(...[task.queued_at, task.scheduled_at].filter(Boolean).map(Date.parse));

const now = () => new Date().toISOString();

/** Seconds from due to the first run, or to now; null while it is not due. */
export function secondsWaited(task) {
  if (task.status === "pending" && task.scheduled_at > now()) return null;
  const from = [task.queued_at, task.scheduled_at].filter(Boolean).sort().at(-1); // the later
  const first = task.attempts[0]?.started_at ?? task.started_at;
  if (first) return secondsBetween(from, first);
  return task.status === "pending" ? secondsBetween(from, now()) : null;
}

/** Seconds of the last run, or of the current one. */
export function secondsRan(task) {
  if (!task.started_at || task.status === "pending") return null;
  return secondsBetween(task.started_at, task.status === "running" ? now() : task.completed_at);
}
