// What the History view shows: periods, usage, and who changed what.

import { requestOrder } from "../lib/request_order.js";
import * as api from "../server/api.js";
import { merge, state, update } from "./store.js";

const RELOAD_MS = 30_000;
const MAX_CHANGES = 50;

/** For each span: its name, how many periods it has, their seconds, and how long it is in days. */
export const SPANS = {
  "1h": { label: "Last hour", count: 60, seconds: 60, days: 1 / 24, start: "an hour ago" },
  "72h": { label: "Last 72 hours", count: 72, seconds: 3600, days: 3, start: "72 hours ago" },
  "90d": { label: "Last 90 days", count: 90, seconds: 86400, days: 90, start: "90 days ago" },
};

const requests = requestOrder();
let timer = null;

/** Loads what the address asks for, and again from time to time. */
export function showReport(span, by) {
  if (state.report?.span !== span || state.report?.by !== by)
    update({ report: { span, by, periods: null, usage: null, changes: null, error: null } });
  loadReport();
  timer ??= setInterval(() => document.hidden || loadReport(), RELOAD_MS);
}

export function leaveReport() {
  clearInterval(timer);
  timer = null;
}

export async function loadReport() {
  const isNewest = requests();
  const { span, by } = state.report;
  const since = new Date(Date.now() - SPANS[span].days * 86_400_000).toISOString();
  try {
    const [periods, usage, changes] = await Promise.all([
      api.getHistory(span),
      api.getUsage({ since, by }),
      loadChanges(),
    ]);
    if (isNewest()) merge("report", { periods, usage, changes, error: null });
  } catch (error) {
    if (isNewest()) merge("report", { error });
  }
}

/** Null for a key that may not read the audit log. */
async function loadChanges() {
  try {
    return (await api.listAudit(MAX_CHANGES)).entries;
  } catch (error) {
    if (error.status === 403) return null;
    throw error;
  }
}
