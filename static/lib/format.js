// Numbers, durations and times as people read them.

const groupedDigits = new Intl.NumberFormat("en-GB");
const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const fullDayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

export const number = (value) =>
  value === null || value === undefined ? "–" : groupedDigits.format(value);

/** 1234567 as 1.2M. */
export function compactNumber(value) {
  if (value < 10_000) return number(value);
  for (const [scale, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (value >= scale) return `${(value / scale).toFixed(value < scale * 10 ? 1 : 0)}${unit}`;
  }
}

/** One decimal below 10. */
export const rate = (value) => (value < 10 ? value.toFixed(1) : number(Math.round(value)));

/** Seconds as 0.4 s, 12 s, 3 m 05 s, 2 h 10 m, 4 d 3 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0) seconds = 0;
  if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${twoDigits(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${twoDigits(Math.floor((s % 3600) / 60))} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Seconds between two times of the API; 0 where the clock was set back between. */
export const secondsBetween = (from, to) => Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);

/** A local time, with its day unless it is today. */
export function localTime(text) {
  if (!text) return "–";
  const at = new Date(text);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday
    ? clockFormat.format(at)
    : `${dayFormat.format(at)} ${clockFormat.format(at).slice(0, 5)}`;
}

/** A local time with its day. */
export const localDateTime = (text) =>
  text ? `${fullDayFormat.format(new Date(text))}, ${clockFormat.format(new Date(text))}` : "–";

/** The same time as UTC, to hover over. */
export const utcTime = (text) =>
  text
    ? new Date(text)
        .toISOString()
        .replace("T", " ")
        .replace(/\.000Z|Z/, " UTC")
    : "";

/** A time as an input of type datetime-local takes it. */
export function toLocalField(text) {
  const at = new Date(text);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export const fromLocalField = (text) => (text ? new Date(text).toISOString() : null);

const NAMES = { 1: "low", 5: "normal", 10: "high", 15: "critical" };

export const priorityName = (level) => NAMES[level] ?? String(level);

/** "5 normal", or the number of a level without a name. */
export const priorityText = (level) => (NAMES[level] ? `${level} ${NAMES[level]}` : String(level));

export const plural = (count, word) =>
  `${number(count)} ${word}${count === 1 ? "" : word.endsWith("ch") ? "es" : "s"}`;

export function fileSize(bytes) {
  for (const [unit, name] of [
    [1 << 30, "GiB"],
    [1 << 20, "MiB"],
    [1 << 10, "KiB"],
  ]) {
    if (bytes >= unit) return `${(bytes / unit).toFixed(1)} ${name}`;
  }
  return `${bytes} bytes`;
}

const twoDigits = (value) => String(value).padStart(2, "0");
