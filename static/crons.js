// The crons, one of them looked at with its latest tasks, and the form that makes or changes one.

import * as api from "./api.js";
import { ask, attempt, wish } from "./actions.js";
import { time } from "./format.js";
import { cronOf, formOf, isTiming, said } from "./cron_fields.js";
import { focusWrong, withModel } from "./form.js";
import { go, one, replace } from "./router.js";
import { changed, inOrder, merge, state, toast, update } from "./state.js";

const LATEST = 10; // tasks shown of a cron

/** Shows what an address asks for: the list, one cron, or a form. After another view all is read anew. */
export async function show({ id, query }, before) {
  const isBack = before.view !== "crons";
  if (!state.crons) update({ crons: { items: null, error: null, looked: null } });
  if (!state.crons.items || isBack) await load();
  if (state.route.view !== "crons" || state.route.id !== id) return;
  const cron = find(id);
  const isForm = id === "new" || (cron && one(query, "edit"));
  if (!isForm) update({ cronForm: null });
  else if (!state.cronForm || state.cronForm.id !== (cron?.id ?? null)) openForm(cron);
  if (cron && (isBack || state.crons.looked?.id !== id)) look(cron);
}

export const find = (id) => state.crons?.items?.find((cron) => cron.id === id);

const askAll = inOrder();
const askOne = inOrder();

export async function load() {
  const isNews = askAll();
  try {
    const items = await api.listCrons();
    if (isNews()) merge("crons", { items, error: null });
  } catch (error) {
    if (isNews()) merge("crons", { error });
  }
}

export async function look(cron) {
  const isNews = askOne();
  if (state.crons.looked?.id !== cron.id) merge("crons", { looked: { id: cron.id, tasks: null, next: null, error: null } });
  const [page, times] = await Promise.allSettled([
    api.listTasks({ cron_id: cron.id, limit: LATEST }),
    api.testCron(cron.cron_expr, cron.timezone),
  ]);
  if (state.crons?.looked?.id !== cron.id || !isNews()) return;
  const looked = { id: cron.id, tasks: page.value?.tasks ?? [], next: times.value?.next ?? [], error: page.reason ?? times.reason ?? null };
  merge("crons", { looked });
}

/** What the feed says: each change of a cron, and how its tasks do. */
export async function hear({ type, event, task }) {
  if (!state.crons) return;
  if (type === "snapshot" || event?.startsWith("cron_")) {
    await load();
    const cron = find(state.route.id);
    if (cron) look(cron);
  } else if (task && task.cron_id === state.crons.looked?.id && state.crons.looked.tasks) {
    keep(task, event);
    changed();
  }
}

function keep(task, event) {
  const { looked } = state.crons;
  const others = looked.tasks.filter(({ id }) => id !== task.id);
  const kept = event === "task_deleted" ? others : [...others, task];
  looked.tasks = kept.sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, LATEST);
}

// --- the form

let timer = null;

function openForm(cron) {
  update({ cronForm: formOf(cron) });
  preview();
}

/** The schedule or its zone has another value. */
export function retime(change) {
  const { error } = state.cronForm;
  merge("cronForm", { ...change, error: isTiming(error, state.cronForm) ? null : error });
  clearTimeout(timer);
  timer = setTimeout(preview, 200);
}

/** The next times of what is written by now; what is wrong with it is said beside its field. */
async function preview() {
  const form = state.cronForm;
  if (!form) return;
  const { cron_expr: expr, timezone } = form;
  if (!expr.trim()) return merge("cronForm", { next: null });
  const change = await api.testCron(expr.trim(), timezone.trim()).catch((error) => ({ next: null, error: said(error) }));
  const isStill = state.cronForm?.cron_expr === expr && state.cronForm.timezone === timezone;
  if (isStill) merge("cronForm", change);
}

/** Makes the cron, or changes it; what is wrong is said beside its field. */
export async function save() {
  const form = state.cronForm;
  if (form.isSending) return;
  try {
    const cron = cronOf(withModel(form, state.stats));
    merge("cronForm", { isSending: true, error: null });
    const saved = await (form.id ? api.updateCron(form.id, cron) : api.addCron(cron));
    await load();
    const { next_run: next } = find(saved.id) ?? {};
    toast(`${form.id ? "Changed" : "Added"}. ${next ? `It runs next at ${time(next)}` : "It is disabled"}`, "good");
    update({ cronForm: null });
    merge("crons", { looked: null });
    replace("crons", saved.id);
  } catch (error) {
    merge("cronForm", { isSending: false, error: said(error) });
    focusWrong();
  }
}

// --- what else is done to one

export const run = (cron) => attempt(() => api.runCron(cron.id), "Submitted");

export const enable = ({ id }, isOn) =>
  wish(`cron ${id}`, isOn, async () => {
    const call = isOn ? api.enableCron : api.disableCron;
    const after = await attempt(() => call(id), isOn ? ({ next_run: next }) => `Enabled. It runs next at ${time(next)}` : "Disabled");
    if (after) merge("crons", { items: state.crons.items.map((cron) => (cron.id === id ? after : cron)) });
  });

export function remove(cron) {
  const body = "It submits no more tasks. Those that it has submitted stay.";
  ask({ title: `Remove ${cron.name}?`, body, confirm: "Remove", danger: true }, async () => {
    if (await attempt(() => api.removeCron(cron.id), "Removed")) go("crons");
  });
}
