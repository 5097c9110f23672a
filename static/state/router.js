// The address bar holds the route: #/tasks?status=failed&open=ID, so links, reload and back work.

import { state, update } from "./store.js";

const VIEW_NAMES = [
  ...["overview", "tasks", "task", "submit", "crons", "batches", "history"],
  ...["webhooks", "keys"],
];

/** `#/view/id?query`; `query` is an object of values or lists of values, empty ones left out. */
export function href(view, id = null, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const item of [value].flat()) {
      if (item !== null && item !== undefined && item !== "") params.append(name, item);
    }
  }
  const path = id === null ? `#/${view}` : `#/${view}/${encodeURIComponent(id)}`;
  return params.size ? `${path}?${params}` : path;
}

/** The route that an address names; an unknown view becomes the overview. */
function parseHash(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, id = null] = path.split("/").map(safeDecode);
  const query = {};
  for (const [name, value] of new URLSearchParams(search)) {
    query[name] = [...(query[name] ?? []), value];
  }
  return { view: VIEW_NAMES.includes(view) ? view : "overview", id: id || null, query };
}

/** The last value of a parameter, or "". */
export const lastValue = (query, name) => query[name]?.at(-1) ?? "";

/** Goes to a view, and adds a step to the history. */
export function navigate(view, id, query) {
  location.hash = href(view, id, query);
  followAddress(); // now: `hashchange` comes later, and a redraw before it would show the old address
}

/** Goes to a view in place of the current one. */
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
let followedHash = null; // the address that was applied last

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
