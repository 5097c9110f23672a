// The address bar holds the view: #/tasks?status=failed&open=ID, so links, reload and back work.

import { state, update } from "./store.js";

const VIEW_NAMES = ["overview", "tasks", "task", "submit", "crons", "batches"];

/** `#/view/id?query`; `query` is an object of values or lists of values, empty ones left out. */
export function href(view, id = null, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") words.append(name, each);
    }
  }
  const path = id === null ? `#/${view}` : `#/${view}/${encodeURIComponent(id)}`;
  return words.size ? `${path}?${words}` : path;
}

/** What an address says; an unknown view is the overview. */
function parseHash(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, id = null] = path.split("/").map(safeDecode);
  const query = {};
  for (const [name, value] of new URLSearchParams(search)) (query[name] ??= []).push(value);
  return { view: VIEW_NAMES.includes(view) ? view : "overview", id: id || null, query };
}

/** The last value of a parameter, or "". */
export const lastValue = (query, name) => query[name]?.at(-1) ?? "";

/** Goes to a view, as a step that the back button undoes. */
export function navigate(view, id, query) {
  location.hash = href(view, id, query);
  followAddress(); // now: the browser tells of it later, and a redraw before that would show the old address
}

/** The same, in place of where we are. */
export function replaceRoute(view, id, query) {
  history.replaceState(null, "", href(view, id, query));
  followAddress();
}

/** `onRoute(route, before)` is called at the start and at each change. */
export function startRouter(onRoute) {
  listener = onRoute;
  addEventListener("hashchange", followAddress);
  followAddress();
}

let listener = () => {};
let followedHash = null; // the address that was followed last

function followAddress() {
  if (location.hash === followedHash) return;
  followedHash = location.hash;
  const before = state.route;
  update({ route: parseHash(location.hash) });
  listener(state.route, before);
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
