// Small charts over time, one column for each minute, hour or day.

import { h } from "./dom.js";

const HEIGHT = 72;
const MINUTES = 60;
const STEP = 8;

/**
 * `series`: [{name, color, values}], stacked in columns; `line`: {name, color, values} over them. There
 * is a value for each column, null where nothing is known. `times` has the time of each column, `format`
 * turns a value into text, `summary` describes the chart to screen readers, `start` names its left end.
 */
export function chart({ series, line = null, times, format, summary, start = "an hour ago" }) {
  const width = times.length * STEP;
  const sums = times.map((_, index) =>
    series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0),
  );
  const top = roundUp(Math.max(...sums, ...(line?.values ?? []).map((value) => value ?? 0)));
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  return h(
    "div",
    { class: "chart" },
    h("span", { class: "chart-top" }, format(top)),
    h(
      "svg",
      {
        viewBox: `0 0 ${width} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": summary,
      },
      h("line", { class: "axis", x1: 0, x2: width, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
      h("line", { class: "axis faint", x1: 0, x2: width, y1: 0.5, y2: 0.5 }),
      times.map((time, index) =>
        column(series, index, y, [time, ...hoverLines(series, line, index, format)].join("\n")),
      ),
      line && linePaths(line, y),
    ),
    h(
      "div",
      { class: "chart-foot quiet" },
      h("span", null, start),
      legend(series, line),
      h("span", null, "now"),
    ),
  );
}

function column(series, index, y, title) {
  let base = 0;
  return h(
    "g",
    { key: index },
    series.map(({ color, values }) => {
      const value = values[index] ?? 0;
      const from = base;
      base += value;
      const height = y(from) - y(base);
      return (
        value > 0 &&
        h("rect", {
          class: `fill ${color}`,
          x: index * STEP + 1,
          width: STEP - 2,
          y: y(base),
          height: Math.max(1, height),
        })
      );
    }),
    h(
      "rect",
      { class: "hover", x: index * STEP, width: STEP, y: 0, height: HEIGHT },
      h("title", null, title),
    ),
  );
}

const hoverLines = (series, line, index, format) =>
  [...series, line]
    .filter(Boolean)
    .map(
      ({ name, values }) =>
        `${name}: ${values[index] === null || values[index] === undefined ? "–" : format(values[index])}`,
    );

/** A line with gaps where values are null; a single point becomes a dash. */
function linePaths({ color, values }, y) {
  const parts = [];
  let isDown = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) isDown = false;
    else {
      const x = index * STEP + STEP / 2;
      const isAlone = !isDown && (values[index + 1] ?? null) === null;
      parts.push(isAlone ? `M${x - 3} ${y(value)}h6` : `${isDown ? "L" : "M"}${x} ${y(value)}`);
      isDown = true;
    }
  });
  return h("path", {
    class: `line ${color}`,
    d: parts.join("") || "M0 0",
    "vector-effect": "non-scaling-stroke",
  });
}

const legend = (series, line) =>
  h(
    "span",
    { class: "legend" },
    [...series, line]
      .filter(Boolean)
      .map(({ name, color }) =>
        h("span", { key: name }, h("span", { class: `key ${color}`, "aria-hidden": "true" }), name),
      ),
  );

/** Rounds up to 1, 2, 5, 10, 20, … */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * size >= value) * size;
}

/** The 60 minutes up to now, each with its entry of `minutes` where there is one. */
export const lastHour = (minutes) => lastPeriods(minutes, MINUTES, 60);

/** The `count` periods of so many `seconds` up to now, each with its entry where there is one. */
export function lastPeriods(periods, count, seconds) {
  const span = seconds * 1000;
  const now = Math.floor(Date.now() / span);
  const known = new Map(
    periods.map((period) => [Math.floor(Date.parse(period.at) / span), period]),
  );
  return Array.from({ length: count }, (_, index) => {
    const at = now - count + 1 + index;
    return { at: new Date(at * span).toISOString(), ...known.get(at) };
  });
}
