// The facts about one task, cron or batch, in its panel.

import { h } from "../lib/dom.js";
import { duration } from "../lib/format.js";

/** A list of [name, value]; what is null or false is left out. Those named `whole` have a line of
 * their own. */
export const factList = (facts, whole = []) =>
  h(
    "dl",
    { class: "facts" },
    facts
      .filter(Boolean)
      .map(([name, value]) =>
        h(
          "div",
          { key: name, class: whole.includes(name) ? "whole" : null },
          h("dt", null, name),
          h("dd", null, value),
        ),
      ),
  );

/** What whoever submitted a task, or made a cron, wants of its runs. */
export const wishes = (task) => [
  task.fallback_models && ["Fallbacks", task.fallback_models.join(", ") || "none"],
  task.backend && ["Pinned to", task.backend],
  task.remote_execution && ["Runs", "on a remote server"],
  task.timeout_s && ["Timeout", duration(task.timeout_s)],
  task.start_within && ["Start within", duration(task.start_within)],
  task.callback_url && ["Callback", task.callback_url],
];
