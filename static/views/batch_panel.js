// One batch: how far it is, what failed, and its results as a file.

import { cancelRest, download, heldOf, look, retryFailed } from "../batches.js";
import { h } from "../dom.js";
import { number, plural } from "../format.js";
import { go, href } from "../router.js";
import { latestTask } from "./cron_panel.js";
import { button, empty, failure, iconButton, loading, status, trouble, when } from "./parts.js";

const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];

export function batchPanel(looked, saving) {
  if (!looked || (!looked.batch && !looked.error)) return loading("the batch");
  const { batch, failed, error } = looked;
  if (error?.status === 404) {
    return empty("There is no such batch", "Its tasks may have been deleted, or their time to be kept is over.",
      h("a", { class: "button", href: href("batches") }, "All batches"));
  }
  const again = () => look(looked.id);
  if (!batch) return failure(error, again);
  return h("article", { class: "one" },
    h("header", null,
      h("div", { class: "row" }, h("h1", { class: "grow" }, `Batch of ${plural(batch.total, "task")}`), iconButton("close", "Close", () => go("batches"))),
      h("div", { class: "row actions" }, actions(batch, saving))),
    trouble(error, again),
    h("dl", { class: "facts" },
      fact("Progress", progress(batch)),
      fact("Created", when(batch.created_at, true)),
      fact("Id", h("code", null, batch.id))),
    h("section", { class: "part" }, h("h2", null, "Tasks"), counts(batch)),
    failed.length > 0 && h("section", { key: "errors", class: "part" }, h("h2", null, "Errors"), errors(batch, failed)));
}

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));

function actions(batch, saving) {
  const left = batch.pending + batch.running;
  return [
    saving
      ? button(`Stop saving, ${number(saving.done)} of ${number(saving.total)}`, () => saving.stop.abort(), { key: "stop", image: "close" })
      : button("Download results", () => download(batch), { key: "save", image: "down", look: "primary", disabled: !heldOf(batch) }),
    h("a", { key: "see", class: "button", href: href("tasks", null, { batch_id: batch.id }) }, "View tasks"),
    batch.failed > 0 && button(`Retry ${number(batch.failed)} failed`, () => retryFailed(batch), { key: "retry", image: "retry" }),
    left > 0 && button("Cancel the rest", () => cancelRest(batch), { key: "cancel", image: "close", look: "danger" }),
  ];
}

function counts(batch) {
  const deleted = batch.total - heldOf(batch);
  return h("ul", { class: "tally" },
    STATUSES.map((name) =>
      h("li", { key: name },
        h("a", { href: href("tasks", null, { batch_id: batch.id, status: name }) }, status({ status: name })),
        h("span", { class: "figure" }, number(batch[name])))),
    deleted > 0 && h("li", null, h("span", { class: "quiet" }, "deleted"), h("span", { class: "figure" }, number(deleted))));
}

function errors(batch, failed) {
  return [
    h("ul", { class: "latest" }, failed.map(latestTask)),
    batch.failed > failed.length && h("a", { href: href("tasks", null, { batch_id: batch.id, status: "failed" }) }, `All ${number(batch.failed)} that failed`),
  ];
}

/** How much is over, as a bar and in words. */
export function progress(batch) {
  const held = heldOf(batch);
  const ended = held - batch.pending - batch.running;
  const words = ended === held ? "done" : `${number(ended)} of ${number(held)}`;
  const parts = ["completed", "failed", "cancelled", "running"].filter((name) => batch[name]);
  return h("span", { class: "progress" },
    h("span", { class: "meter", role: "img", "aria-label": parts.map((name) => `${number(batch[name])} ${name}`).join(", ") || "none has run yet" },
      parts.map((name) => h("span", { key: name, class: name, style: { "flex-grow": String(batch[name]) } })),
      batch.pending > 0 && h("span", { key: "pending", style: { "flex-grow": String(batch.pending) } })),
    h("span", null, words));
}
