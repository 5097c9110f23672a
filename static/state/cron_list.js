// The crons, the one that is open with its latest tasks, and the form that creates or edits one.

import { localTime } from "../lib/format.js";
import { requestOrder } from "../lib/request_order.js";
import * as api from "../server/api.js";
import { askToConfirm, changeOptimistically, runWithToast } from "./actions.js";
import { cronFormError, cronFormFrom, cronFrom, isScheduleError } from "./cron_form.js";
import { lastValue, navigate, replaceRoute } from "./router.js";
import { merge, notify, showToast, state, update } from "./store.js";
import { focusInvalidField, withModel } from "./task_form.js";

const MAX_LATEST = 10; // tasks shown of a cron

/** Shows what an address names: the list, a cron, or a form. Reloads all after another view. */
export async function showCrons({ id, query }, before) {
  const isBack = before.view !== "crons";
  if (!state.crons) update({ crons: { items: null, error: null, detail: null } });
  if (!state.crons.items || isBack) await loadCrons();
  if (state.route.view !== "crons" || state.route.id !== id) return;
  const cron = findCron(id);
  const isForm = id === "new" || (cron && lastValue(query, "edit"));
  if (!isForm) update({ cronForm: null });
  else if (!state.cronForm || state.cronForm.id !== (cron?.id ?? null)) openCronForm(cron);
  if (cron && (isBack || state.crons.detail?.id !== id)) loadCron(cron);
}

const findCron = (id) => state.crons?.items?.find((cron) => cron.id === id);

const listRequests = requestOrder();
const cronRequests = requestOrder();

export async function loadCrons() {
  const isNewest = listRequests();
  try {
    const items = await api.listCrons();
    if (isNewest()) merge("crons", { items, error: null });
  } catch (error) {
    if (isNewest()) merge("crons", { error });
  }
}

export async function loadCron(cron) {
  const isNewest = cronRequests();
  if (state.crons.detail?.id !== cron.id)
    merge("crons", { detail: { id: cron.id, tasks: null, next: null, error: null } });
  const [page, times] = await Promise.allSettled([
    api.listTasks({ cron_id: cron.id, limit: MAX_LATEST }),
    api.testCron(cron.cron_expr, cron.timezone),
  ]);
  if (state.crons?.detail?.id !== cron.id || !isNewest()) return;
  const detail = {
    id: cron.id,
    tasks: page.value?.tasks ?? [],
    next: times.value?.next ?? [],
    error: page.reason ?? times.reason ?? null,
  };
  merge("crons", { detail });
}

/** Takes in changes of crons and of the open one's tasks. */
export async function applyFeedToCrons({ type, event, task }) {
  if (!state.crons) return;
  if (type === "snapshot" || event?.startsWith("cron_")) {
    await loadCrons();
    const cron = findCron(state.route.id);
    if (cron) loadCron(cron);
  } else if (task && task.cron_id === state.crons.detail?.id && state.crons.detail.tasks) {
    updateLatest(task, event);
    notify();
  }
}

function updateLatest(task, event) {
  const { detail } = state.crons;
  const others = detail.tasks.filter(({ id }) => id !== task.id);
  const kept = event === "task_deleted" ? others : [...others, task];
  detail.tasks = kept.sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, MAX_LATEST);
}

// --- the form

let previewTimer = null;

function openCronForm(cron) {
  update({ cronForm: cronFormFrom(cron) });
  previewSchedule();
}

/** Changes the schedule or its time zone, and previews it. */
export function updateSchedule(change) {
  const { error } = state.cronForm;
  merge("cronForm", { ...change, error: isScheduleError(error, state.cronForm) ? null : error });
  clearTimeout(previewTimer);
  previewTimer = setTimeout(previewSchedule, 200);
}

/** Loads the next times of the schedule in the form, or the error of its field. */
async function previewSchedule() {
  const form = state.cronForm;
  if (!form) return;
  const { cron_expr: expr, timezone } = form;
  if (!expr.trim()) return merge("cronForm", { next: null });
  const change = await api
    .testCron(expr.trim(), timezone.trim())
    .catch((error) => ({ next: null, error: cronFormError(error) }));
  const isStill = state.cronForm?.cron_expr === expr && state.cronForm.timezone === timezone;
  if (isStill) merge("cronForm", change);
}

/** Creates or updates the cron; an error is shown beside its field. */
export async function saveCron() {
  const form = state.cronForm;
  if (form.isSending) return;
  try {
    const cron = cronFrom(withModel(form, state.stats));
    merge("cronForm", { isSending: true, error: null });
    const saved = await (form.id ? api.updateCron(form.id, cron) : api.addCron(cron));
    await loadCrons();
    const { next_run: next } = findCron(saved.id) ?? {};
    showToast(
      `${form.id ? "Saved" : "Created"}. ${next ? `Next run: ${localTime(next)}` : "The cron is disabled"}`,
      "good",
    );
    update({ cronForm: null });
    merge("crons", { detail: null });
    replaceRoute("crons", saved.id);
  } catch (error) {
    merge("cronForm", { isSending: false, error: cronFormError(error) });
    focusInvalidField();
  }
}

// --- actions

export const runCronNow = (cron) => runWithToast(() => api.runCron(cron.id), "Submitted");

export const setCronEnabled = ({ id }, isOn) =>
  changeOptimistically(`cron ${id}`, isOn, async () => {
    const call = isOn ? api.enableCron : api.disableCron;
    const after = await runWithToast(
      () => call(id),
      isOn ? ({ next_run: next }) => `Enabled. Next run: ${localTime(next)}` : "Disabled",
    );
    if (after)
      merge("crons", { items: state.crons.items.map((cron) => (cron.id === id ? after : cron)) });
  });

export function confirmRemoveCron(cron) {
  const body = "It stops submitting tasks. Tasks that it already submitted are kept.";
  askToConfirm(
    { title: `Remove ${cron.name}?`, body, confirm: "Remove", danger: true },
    async () => {
      if (await runWithToast(() => api.removeCron(cron.id), "Removed")) navigate("crons");
    },
  );
}
