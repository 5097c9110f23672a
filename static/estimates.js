// When waiting tasks may start: the server's estimates, counted on from when they were read.

import { number } from "./format.js";

const readAt = new WeakMap(); // task -> when (ms)
const UNITS = [[1, "s", 59.5], [60, "min", 59.5], [3600, "h", 47.5], [86400, "days", Infinity]];
const ENDINGS = { one: "st", two: "nd", few: "rd", other: "th" };
const rules = new Intl.PluralRules("en", { type: "ordinal" });

/** The task, whose estimate holds from now on. */
export function justRead(task) {
  readAt.set(task, Date.now());
  return task;
}

/** "about 2 min" until a waiting task starts; null where nobody knows. */
export function startsIn(task) {
  if (task.status !== "pending" || typeof task.eta_s !== "number") return null;
  const left = task.eta_s - (Date.now() - (readAt.get(task) ?? Date.now())) / 1000;
  if (left < 1) return "any moment";
  const [size, unit] = UNITS.find(([each, , most]) => left / each < most);
  return `about ${Math.round(left / size)} ${unit}`;
}

/** "12th in line" of a waiting task; null where it has no place. */
export function standing({ status, position }) {
  if (status !== "pending" || typeof position !== "number") return null;
  return position === 0 ? "next in line" : `${number(position + 1)}${ENDINGS[rules.select(position + 1)]} in line`;
}
