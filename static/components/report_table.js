// Tables of reports, and what is left of budgets.

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { timeLabel } from "./controls.js";

/** A table named `label` with these headings; it scrolls where it is too wide. */
export const reportTable = (label, head, rows) =>
  h(
    "div",
    { class: "report-table", tabindex: 0, role: "group", "aria-label": label },
    h(
      "table",
      null,
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head.map((name) => h("th", { key: name, scope: "col" }, name)),
        ),
      ),
      h("tbody", null, rows),
    ),
  );

/** What is left of budgets, such as "tasks a day: 3 of 10 left until 00:00". */
export const budgetList = (budgets) =>
  h(
    "ul",
    { class: "budgets" },
    budgets.map(({ name, limit, left, resets_at: until }) =>
      h(
        "li",
        { key: name },
        `${budgetName(name)}: `,
        h("strong", { class: left ? "" : "is-used-up" }, number(left)),
        ` of ${number(limit)} left until `,
        timeLabel(until),
      ),
    ),
  );

/** The name of a key's field as users say it: "tasks a day". */
export const budgetName = (name) => name.replace("requests", "tasks").replace("_per_", " a ");
