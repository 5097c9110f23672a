// The list of batches, and one beside it.

import {
  button,
  emptyMessage,
  errorMessage,
  loadingMessage,
  staleWarning,
  timeLabel,
} from "../components/controls.js";
import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import {
  applyFeedToBatches,
  hasMoreBatches,
  leaveBatches,
  loadBatches,
  loadMoreBatches,
  showBatches,
} from "../state/batch_list.js";
import { href, navigate } from "../state/router.js";
import { state } from "../state/store.js";
import { batchPanel, batchProgress } from "./batch_panel.js";

export const batchesView = {
  title: "Batches",
  draw,
  enter: showBatches,
  leave: leaveBatches,
  onMessage: applyFeedToBatches,
  onKey,
};

function onKey(event) {
  if (event.key === "Escape" && state.route.id) navigate("batches");
}

function draw({ batches, route }) {
  if (!batches?.items)
    return batches?.error ? errorMessage(batches.error, loadBatches) : loadingMessage("batches");
  return h(
    "div",
    { class: "split" },
    h(
      "section",
      { class: "split-list", "aria-label": "List of batches" },
      h(
        "div",
        { class: "bar" },
        h("h1", { class: "grow" }, "Batches"),
        h(
          "a",
          { class: "button", href: href("submit", null, { mode: "batch" }) },
          "Submit a batch",
        ),
      ),
      staleWarning(batches.error, loadBatches),
      batches.items.length ? batchTable(batches.items, route.id) : noBatches(),
      hasMoreBatches(batches) &&
        h("div", { class: "row list-foot" }, button("Show more", loadMoreBatches)),
    ),
    route.id &&
      h(
        "aside",
        { key: "panel", class: "panel", "aria-label": "The batch" },
        batchPanel(
          batches.detail?.id === route.id ? batches.detail : null,
          batches.downloads[route.id],
        ),
      ),
  );
}

const noBatches = () =>
  emptyMessage(
    "No batches yet",
    "A batch is a file of tasks. Either all are accepted or none.",
    h("a", { class: "button", href: href("submit", null, { mode: "batch" }) }, "Submit a batch"),
  );

const batchTable = (items, open) =>
  h(
    "table",
    { class: "lines" },
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        ["Batch", "Created", "Progress", "Tasks", "Failed"].map((heading) =>
          h(
            "th",
            { scope: "col", class: heading === "Tasks" || heading === "Failed" ? "figure" : null },
            heading,
          ),
        ),
      ),
    ),
    h(
      "tbody",
      null,
      items.map((batch) => batchRow(batch, batch.id === open)),
    ),
  );

function batchRow(batch, isOpen) {
  const open = (event) => event.target.closest("a") || navigate("batches", batch.id);
  return h(
    "tr",
    { key: batch.id, class: isOpen ? "is-open" : "", onclick: open },
    h(
      "td",
      { class: "l-name" },
      h(
        "a",
        { class: "mono", href: href("batches", batch.id), "aria-current": isOpen ? "true" : null },
        batch.id,
      ),
    ),
    h("td", { class: "l-what" }, timeLabel(batch.created_at)),
    h("td", { class: "l-more" }, batchProgress(batch)),
    h("td", { class: "l-next figure", "data-word": "tasks" }, number(batch.total)),
    h(
      "td",
      { class: "l-last figure", "data-word": "failed" },
      batch.failed ? h("span", { class: "status failed" }, number(batch.failed)) : "0",
    ),
  );
}
