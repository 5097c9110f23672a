// A task on one line, in the panels of crons and batches.

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { href } from "../state/router.js";
import { statusLabel, timeLabel } from "./controls.js";

/** A task on one line, with its error below; `alike` is how many more have the same error. */
export const taskLine = (task, alike = 0) =>
  h(
    "li",
    { key: task.id },
    statusLabel(task),
    h("a", { class: "grow", href: href("task", task.id) }, task.title || task.id),
    timeLabel(task.created_at),
    task.error && h("p", { class: "error" }, task.error),
    alike > 0 && h("p", { class: "quiet" }, `and ${number(alike)} more like it`),
  );
