// Tasks that were submitted together: the list, and one batch beside it.

import { hasMore, hear as heard, leave as left, load, more, show } from "../batches.js";
import { h } from "../dom.js";
import { number } from "../format.js";
import { go, href } from "../router.js";
import { state } from "../state.js";
import { batchPanel, progress } from "./batch_panel.js";
import { button, empty, failure, loading, trouble, when } from "./parts.js";

export const enter = show;
export const leave = left;
export const hear = heard;

export function key(event) {
  if (event.key === "Escape" && state.route.id) go("batches");
}

export function view({ batches, route }) {
  if (!batches?.items) return batches?.error ? failure(batches.error, load) : loading("batches");
  return h("div", { class: "split" },
    h("section", { class: "split-list", "aria-label": "List of batches" },
      h("div", { class: "bar" },
        h("h1", { class: "grow" }, "Batches"),
        h("a", { class: "button", href: href("submit", null, { mode: "batch" }) }, "Submit a batch")),
      trouble(batches.error, load),
      batches.items.length ? table(batches.items, route.id) : nothing(),
      hasMore(batches) && h("div", { class: "row list-foot" }, button("Show more", more))),
    route.id && h("aside", { key: "panel", class: "panel", "aria-label": "The batch" },
      batchPanel(batches.looked?.id === route.id ? batches.looked : null, batches.downloads[route.id])));
}

const nothing = () =>
  empty("There are no batches yet", "A batch is many tasks in one file, all taken on or none.",
    h("a", { class: "button", href: href("submit", null, { mode: "batch" }) }, "Drop a file on Submit"));

const table = (items, open) =>
  h("table", { class: "lines" },
    h("thead", null, h("tr", null, ["Batch", "Created", "Progress", "Tasks", "Failed"].map((word) =>
      h("th", { scope: "col", class: word === "Tasks" || word === "Failed" ? "figure" : null }, word)))),
    h("tbody", null, items.map((batch) => row(batch, batch.id === open))));

function row(batch, isOpen) {
  const open = (event) => event.target.closest("a") || go("batches", batch.id);
  return h("tr", { key: batch.id, class: isOpen ? "is-open" : "", onclick: open },
    h("td", { class: "l-name" }, h("a", { class: "mono", href: href("batches", batch.id), "aria-current": isOpen ? "true" : null }, batch.id)),
    h("td", { class: "l-what" }, when(batch.created_at)),
    h("td", { class: "l-more" }, progress(batch)),
    h("td", { class: "l-next figure", "data-word": "tasks" }, number(batch.total)),
    h("td", { class: "l-last figure", "data-word": "failed" }, batch.failed ? h("span", { class: "status failed" }, number(batch.failed)) : "0"));
}
