// The deliveries of webhooks that are shown: loaded again from time to time, since no event tells
// of them.

import { requestOrder } from "../lib/request_order.js";
import * as api from "../server/api.js";
import { askToConfirm, runWithToast } from "../state/actions.js";
import { merge, state, update } from "../state/store.js";

const RELOAD_MS = 5_000;

const requests = requestOrder();
let timer = null;

/** Shows those of a status ("": all), from a cursor on ("": the newest). */
export function showDeliveries(status, cursor) {
  const { deliveries } = state;
  if (deliveries?.status !== status || deliveries?.cursor !== cursor)
    update({ deliveries: { status, cursor, items: null, next: null, error: null, open: null } });
  timer ??= setInterval(() => document.hidden || loadDeliveries(), RELOAD_MS);
  return loadDeliveries();
}

export function leaveDeliveries() {
  clearInterval(timer);
  timer = null;
}

export async function loadDeliveries() {
  const isNewest = requests();
  const { status, cursor } = state.deliveries;
  try {
    const page = await api.listDeliveries({ status, cursor });
    if (isNewest()) merge("deliveries", { items: page.deliveries, next: page.cursor, error: null });
  } catch (error) {
    if (isNewest()) merge("deliveries", { error });
  }
}

/** Opens or closes the attempts of a delivery. */
export const openAttempts = (id, isOpen) => merge("deliveries", { open: isOpen ? id : null });

/** Sends a delivery now; asks first if the receiver has accepted it. */
export function sendAgain({ id, status }) {
  const run = async () => {
    await runWithToast(() => api.retryDelivery(id), "Sent again");
    await loadDeliveries();
  };
  if (status !== "delivered") return run();
  const body = "The receiver has accepted this delivery, and gets it once more with the same id.";
  askToConfirm({ title: "Send it again?", body, confirm: "Send again" }, run);
}
