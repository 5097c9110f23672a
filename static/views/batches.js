// Tasks that were submitted together.

import { listBatches } from "../api.js";
import { h } from "../dom.js";
import { plural } from "../format.js";
import { href } from "../router.js";
import { update } from "../state.js";
import { empty, failure, loading, when } from "./parts.js";

export async function enter() {
  try {
    update({ batches: { items: await listBatches() } });
  } catch (error) {
    update({ batches: { error } });
  }
}

export function hear({ type }) {
  if (type === "snapshot") enter();
}

export function view({ batches }) {
  if (!batches) return loading("batches");
  if (batches.error) return failure(batches.error, enter);
  if (!batches.items.length) return empty("There are no batches", "Drop a file on Submit to make one.");
  return h("ul", { class: "plain-list" }, batches.items.map((batch) =>
    h("li", { key: batch.id }, h("a", { href: href("tasks", null, { batch_id: batch.id }) }, batch.id), " ", plural(batch.total, "task"), " ", when(batch.created_at))));
}
