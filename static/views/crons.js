// Tasks that are submitted again and again, by the clock.

import { listCrons } from "../api.js";
import { h } from "../dom.js";
import { update } from "../state.js";
import { empty, failure, loading, when } from "./parts.js";

export async function enter() {
  try {
    update({ crons: { items: await listCrons() } });
  } catch (error) {
    update({ crons: { error } });
  }
}

export function hear({ type, event }) {
  if (type === "snapshot" || event?.startsWith("cron_")) enter();
}

export function view({ crons }) {
  if (!crons) return loading("crons");
  if (crons.error) return failure(crons.error, enter);
  if (!crons.items.length) return empty("There are no crons", "A cron submits the same task by the clock.");
  return h("ul", { class: "plain-list" }, crons.items.map((cron) =>
    h("li", { key: cron.id }, h("strong", null, cron.name), " ", h("code", null, cron.cron_expr), " next ", when(cron.next_run))));
}
