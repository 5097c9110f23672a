// All that the page knows. Views read it; actions change it.

const listeners = new Set();
let isDue = false;

export const state = {
  route: { view: "overview", id: null, query: {} },
  connection: { status: "connecting", retryAt: null }, // connecting, live, lost
  keyRefusal: null, // the server asks for an API key, "" or why it refused the last one
  stats: null, // QueueStats, from the feed
  unservedSince: null, // when (ms) tasks began to wait for a model server; null while none do
  running: new Map(), // id -> task, while it runs
  runningReplies: new Map(), // id -> {text, pieces, marks, since}, see running_replies.js
  runningError: null,
  history: null, // the minutes of the last hour
  historyError: null,
  failures: [], // groups of failed tasks, the largest first
  servers: [],
  failuresError: null,
  report: null, // what the History view shows, see report.js
  deliveries: null, // of webhooks, see delivery_list.js
  keys: null, // the API keys, see key_list.js
  list: null, // the list of tasks, see task_list.js
  task: null, // the task that is shown, see open_task.js
  crons: null,
  cronForm: null, // the form of a cron, see cron_form.js
  batches: null,
  submit: null, // the form of a new task, see task_form.js
  prefill: null, // the task to fill the form with
  taskTab: "conversation", // the tab of a task that was shown last
  optimistic: new Map(), // control -> the value it was set to, until the server answers
  showsFilters: false, // whether all filter fields are shown
  dialog: null, // {key, title, body, confirm, keep, run}: the question that is open
  toasts: [], // [{id, kind, text}]
  theme: "auto", // auto, light, dark
};

/** connecting, live, lost, or locked: a server that wants a key is not away. */
export const connectionStatus = ({ keyRefusal, connection }) =>
  keyRefusal === null ? connection.status : "locked";

/** Changes the state: `change` holds the new values of some of its parts. */
export function update(change) {
  Object.assign(state, change);
  notify();
}

/** Changes some fields of one part of the state; does nothing while that part is null. */
export function merge(part, change) {
  if (state[part] === null) return;
  state[part] = { ...state[part], ...change };
  notify();
}

/** `listener` is called once a frame, however many changes there were. */
export function subscribe(listener) {
  listeners.add(listener);
}

/** Tells listeners that something within the state has changed. */
export function notify() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false; // first: if a listener fails, the next change is still drawn
    for (const listener of listeners) listener(state);
  });
}

let lastToast = 0;

/** Shows a message for a few seconds; errors stay until closed. */
export function showToast(text, kind = "info") {
  const id = ++lastToast;
  update({ toasts: [...state.toasts.slice(-3), { id, kind, text }] });
  if (kind !== "error") setTimeout(() => dismissToast(id), 5000);
}

export function dismissToast(id) {
  update({ toasts: state.toasts.filter((toast) => toast.id !== id) });
}
