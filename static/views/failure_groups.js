// Failed tasks grouped by cause: each group leads to the list of its tasks.

import { h } from "../lib/dom.js";
import { localTime, number, plural } from "../lib/format.js";
import { href } from "../state/router.js";

const SHOWN = 10;

/** The largest groups, as `api.listFailures` returns them. */
export const failureGroups = (groups) =>
  h("ul", { class: "failure-groups" }, groups.slice(0, SHOWN).map(failureGroup), more(groups));

function failureGroup(group) {
  const isKnown = group.id !== "other";
  const where = [group.code, group.backend && `on ${group.backend}`].filter(Boolean).join(" ");
  return h(
    "li",
    { key: group.id },
    h("strong", { class: "amount" }, number(group.count)),
    isKnown
      ? h(
          "a",
          { class: "failure-words", href: tasksOf(group), title: group.latest_error },
          words(group),
        )
      : h("span", { class: "failure-words" }, "other causes"),
    h("span", { class: "quiet" }, where),
    h(
      "span",
      { class: "quiet", title: `First: ${localTime(group.first_at)}` },
      `last: ${localTime(group.last_at)}`,
    ),
  );
}

const words = (group) => group.words || "no message";

const tasksOf = (group) => href("tasks", null, { status: "failed", failure: group.id });

const more = (groups) =>
  groups.length > SHOWN &&
  h("li", { key: "more", class: "quiet" }, `and ${plural(groups.length - SHOWN, "more cause")}`);
