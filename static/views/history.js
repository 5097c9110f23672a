// The history: what happened over an hour, 72 hours or 90 days, what was used, who changed what.

import {
  emptyMessage,
  errorMessage,
  loadingMessage,
  selectOptions,
  staleWarning,
  timeLabel,
} from "../components/controls.js";
import { budgetList, reportTable } from "../components/report_table.js";
import { chart, lastPeriods } from "../lib/charts.js";
import { h } from "../lib/dom.js";
import { compactNumber, duration, localTime, number } from "../lib/format.js";
import { leaveReport, loadReport, SPANS, showReport } from "../state/report.js";
import { lastValue, replaceRoute } from "../state/router.js";

export const historyView = { title: "History", draw, enter, leave: leaveReport };

const GROUPS = ["model", "backend", "tenant", "tag"];

/** What the address asks for; anything unknown is the first choice. */
function asked({ query }) {
  const [span, by] = [lastValue(query, "span"), lastValue(query, "by")];
  return { span: span in SPANS ? span : "72h", by: GROUPS.includes(by) ? by : GROUPS[0] };
}

function enter(route) {
  const { span, by } = asked(route);
  showReport(span, by);
}

function draw({ route, report }) {
  const { span, by } = asked(route);
  return h(
    "div",
    { class: "overview history" },
    h(
      "div",
      { class: "history-head" },
      h("h1", null, "History"),
      choice(
        "Span",
        span,
        Object.entries(SPANS).map(([name, { label }]) => [name, label]),
        (value) => replaceRoute("history", null, { span: value, by }),
      ),
      choice("Usage by", by, GROUPS, (value) => replaceRoute("history", null, { span, by: value })),
    ),
    body(report),
  );
}

const choice = (label, value, choices, choose) =>
  h(
    "label",
    { class: "row" },
    h("span", { class: "quiet" }, label),
    h("select", { oninput: ({ target }) => choose(target.value) }, selectOptions(choices, value)),
  );

function body(report) {
  if (!report?.periods)
    return h(
      "div",
      { key: "body", class: "wide" },
      report?.error ? errorMessage(report.error, loadReport) : loadingMessage("the history"),
    );
  const span = SPANS[report.span];
  const periods = lastPeriods(report.periods, span.count, span.seconds);
  return [
    report.error && h("div", { class: "wide" }, staleWarning(report.error, loadReport)),
    section("Finished tasks", finished(periods, span)),
    section("Time to start", times(periods, span, "wait")),
    section("Time to run", times(periods, span, "run")),
    report.usage.budgets.length > 0 &&
      section("Left of your budgets", budgetList(report.usage.budgets), "wide"),
    section(`Usage by ${report.by}`, usageTable(report.usage, report.by), "wide"),
    report.changes && section("Changes", changesTable(report.changes), "wide"),
  ];
}

const section = (title, content, className = "") =>
  h(
    "section",
    { key: title, class: `sheet ${className}`, "aria-label": title },
    h("h2", null, title),
    content,
  );

const sum = (periods, name) => periods.reduce((all, period) => all + (period[name] ?? 0), 0);
const values = (periods, name) => periods.map((period) => period[name] ?? null);

function finished(periods, span) {
  const [completed, failed, cancelled] = ["completed", "failed", "cancelled"].map((name) =>
    sum(periods, name),
  );
  const summary = `${span.label}: ${number(completed)} completed, ${number(failed)} failed, ${number(cancelled)} cancelled`;
  return [
    chart({
      series: ["completed", "failed", "cancelled"].map((name) => ({
        name,
        color: name,
        values: values(periods, name),
      })),
      times: periods.map(({ at }) => localTime(at)),
      format: number,
      summary,
      start: span.start,
    }),
    h("p", { class: "quiet" }, `${summary}; ${compactNumber(sum(periods, "tokens"))} tokens.`),
  ];
}

/** The median as a line over the 99th percentile; `name` is wait or run. */
function times(periods, span, name) {
  const [median, high] = [`${name}_p50_s`, `${name}_p99_s`];
  const longest = Math.max(0, ...periods.map((period) => period[`${name}_max_s`] ?? 0));
  const isKnown = periods.some((period) => (period[median] ?? null) !== null);
  const summary = isKnown ? `${span.label}: ${duration(longest)} at most` : "No task so far";
  return [
    chart({
      series: [{ name: "99 % within", color: "wash", values: values(periods, high) }],
      line: { name: "half within", color: "accent", values: values(periods, median) },
      times: periods.map(({ at }) => localTime(at)),
      format: duration,
      summary,
      start: span.start,
    }),
    h("p", { class: "quiet" }, `${summary}.`),
  ];
}

function usageTable(usage, by) {
  if (!usage.rows.length)
    return emptyMessage("No tasks yet", "Submit one, and it is counted here.");
  return reportTable(
    `Usage by ${by}`,
    [by, "submitted", "completed", "failed", "cancelled", "prompt tokens", "reply tokens"],
    usage.rows.map((row, index) =>
      h(
        "tr",
        { key: index },
        h("th", { scope: "row" }, row[by] ?? "–"),
        ["submitted", "completed", "failed", "cancelled", "prompt_tokens", "tokens"].map((name) =>
          h("td", { key: name, class: "amount" }, number(row[name])),
        ),
      ),
    ),
  );
}

function changesTable(changes) {
  if (!changes.length)
    return emptyMessage(
      "No changes yet",
      "Cancels, pauses, drains and changes of crons are listed here, with who made them.",
    );
  return reportTable(
    "Changes",
    ["when", "who", "from", "action", "what", "detail"],
    changes.map((entry) =>
      h(
        "tr",
        { key: entry.seq },
        h("td", null, timeLabel(entry.at)),
        h("td", null, entry.who === "-" ? "–" : entry.who),
        h("td", null, [entry.door, entry.address].filter(Boolean).join(" ")),
        h("td", null, entry.action.replaceAll("_", " ")),
        h("td", { class: "target" }, entry.target || "–"),
        h("td", null, entry.detail),
      ),
    ),
  );
}
