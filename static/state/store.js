// The one place where the page keeps what it knows. Views read it; actions change it.

const listeners = new Set();
let isDue = false;

export const state = {
  route: { view: "overview", id: null, query: {} },
  connection: { status: "connecting", retryAt: null }, // connecting, live, lost
  needsKey: false, // the server asks for an API key
  stats: null, // QueueStats, as the feed says
  unservedSince: null, // when (ms) tasks began to wait for a model server, null while none do
  running: new Map(), // id -> task, those that run now
  runningReplies: new Map(), // id -> {text, pieces, firstAt, lastAt}, replies as they come
  runningError: null,
  history: null, // the minutes of the last hour
  historyError: null,
  list: null, // the list of tasks, see listing.js
  task: null, // the task that is looked at, see task.js
  crons: null,
  cronForm: null, // of the cron that is made or changed, see crons.js
  batches: null,
  submit: null, // the form, see form.js
  prefill: null, // the task that the form is to be filled in with
  taskTab: "conversation", // the tab of a task that was shown last
  optimistic: new Map(), // what controls were set to, while the server has not answered: see actions.js
  showsFilters: false, // whether the fields of all filters are shown
  dialog: null, // {key, title, body, confirm, keep, run}: a question to be answered first
  toasts: [], // [{id, kind, text}]
  theme: "auto", // auto, light, dark
};

/** Changes the state: `change` holds the new values of some of its parts. */
export function update(change) {
  Object.assign(state, change);
  notify();
}

/** Changes some fields of one part, unless it has gone meanwhile. */
export function merge(part, change) {
  if (state[part] === null) return;
  state[part] = { ...state[part], ...change };
  notify();
}

/** `listener` is called once before the next frame after any number of changes. */
export function subscribe(listener) {
  listeners.add(listener);
}

/** Something within the state has changed. */
export function notify() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false; // first: whatever becomes of it, the next change is drawn
    for (const listener of listeners) listener(state);
  });
}

let lastToast = 0;

/** Says something for a few seconds; errors stay until they are closed. */
export function showToast(text, kind = "info") {
  const id = ++lastToast;
  update({ toasts: [...state.toasts.slice(-3), { id, kind, text }] });
  if (kind !== "error") setTimeout(() => dismissToast(id), 5000);
}

export function dismissToast(id) {
  update({ toasts: state.toasts.filter((each) => each.id !== id) });
}
