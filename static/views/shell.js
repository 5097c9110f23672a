// What surrounds each view: navigation, connection, banners, dialogs, toasts.

import { button, emptyMessage, iconButton } from "../components/controls.js";
import { h } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { setApiKey } from "../server/api.js";
import { askToConfirm, handlePause, handleResume } from "../state/actions.js";
import { href } from "../state/router.js";
import { connectionStatus, dismissToast, notify, state, update } from "../state/store.js";
import { NEXT_THEME, switchTheme } from "../state/theme.js";

const TABS = [
  ["overview", "Overview"],
  ["tasks", "Tasks"],
  ["submit", "Submit"],
  ["crons", "Crons"],
  ["batches", "Batches"],
  ["history", "History"],
  ["webhooks", "Webhooks"],
  ["keys", "Keys"],
];

/** `draw(state)` describes the view inside. If it fails, an error takes its place. */
export function shell(state, draw) {
  return [
    h("a", { class: "skip", href: "#main", onclick: skipToContent }, "Skip to content"),
    h(
      "header",
      { class: "top" },
      h(
        "a",
        { class: "brand", href: href("overview") },
        h("img", { src: "static/icon.svg", alt: "", width: 20, height: 20 }),
        h("span", null, "Ollama Queue"),
      ),
      h(
        "nav",
        { "aria-label": "Views" },
        TABS.map(([name, label]) => navLink(state, name, label)),
      ),
      h(
        "div",
        { class: "top-end" },
        connection(connectionStatus(state), state.connection.retryAt),
        pauseButton(state.stats),
        iconButton(state.theme, themeLabel(state.theme), () => switchTheme(state.theme)),
      ),
    ),
    h("div", { class: "banners", role: "status" }, banners(state)),
    h(
      "main",
      { id: "main", tabindex: -1, class: `view-${state.route.view}` },
      drawSafely(draw, state),
    ),
    h(
      "div",
      { class: "toasts", role: "status", "aria-live": "polite" },
      state.toasts.map(toastBox),
    ),
    state.dialog && confirmDialog(state.dialog),
    state.keyRefusal !== null && keyDialog(state.keyRefusal),
  ];
}

function drawSafely(draw, now) {
  try {
    return draw(now);
  } catch (error) {
    return drawingError(error);
  }
}

/** Names the theme, and the one that a click switches to. */
function themeLabel(theme) {
  const names = { auto: "system", light: "light", dark: "dark" };
  return `Theme: ${names[theme]} (switch to ${names[NEXT_THEME[theme]]})`;
}

let reported = "";

/** In place of what could not be drawn; the next change tries again. */
export function drawingError(error) {
  if (error.stack !== reported) reportError(error); // once, not every second
  reported = error.stack;
  return h(
    "div",
    { role: "alert" },
    emptyMessage(
      "This could not be shown",
      `${error.name}: ${error.message}. This is a bug in the page; the queue and its tasks are not affected.`,
      h(
        "div",
        { class: "row" },
        button("Try again", notify),
        button("Reload the page", () => location.reload(), { variant: "primary" }),
      ),
    ),
  );
}

function skipToContent(event) {
  event.preventDefault(); // the address holds the view
  document.getElementById("main").focus();
}

function navLink(state, name, label) {
  const isHere = name === (state.route.view === "task" ? "tasks" : state.route.view);
  const count = name === "tasks" ? state.stats?.pending_tasks + state.stats?.running_tasks : 0;
  return h(
    "a",
    { key: name, href: href(name), "aria-current": isHere ? "page" : null },
    label,
    count > 0 && h("span", { class: "count", title: "waiting and running" }, number(count)),
  );
}

function connection(status, retryAt) {
  const seconds = retryAt ? Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) : null;
  const labels = {
    live: "Live",
    connecting: "Connecting …",
    lost: seconds === null ? "Not connected" : `Reconnecting in ${seconds} s`,
    locked: "Not connected",
  };
  return h(
    "span",
    { class: `connection ${status}` },
    h("span", { class: "dot", "aria-hidden": "true" }),
    labels[status],
  );
}

function pauseButton(stats) {
  if (!stats || stats.paused) return null;
  const body =
    "Running tasks finish; no others start until you resume. New tasks are still accepted.";
  return iconButton("pause", "Pause the queue", () =>
    askToConfirm({ title: "Pause the queue?", body, confirm: "Pause" }, handlePause),
  );
}

const PATIENCE_MS = 10_000; // time for a server to restart
const MOST_MODELS = 3; // shown by name

function banners(now) {
  const { stats, unservedSince } = now;
  const shown = [];
  if (connectionStatus(now) === "lost") {
    shown.push(
      banner(
        "lost",
        "warn",
        "Connection lost. This page may be out of date; it reconnects automatically.",
      ),
    );
  }
  if (stats?.read_only) shown.push(banner("read-only", "warn", `Read-only: ${stats.read_only}.`));
  if (stats?.paused) {
    shown.push(
      banner(
        "paused",
        "pause",
        "The queue is paused: no tasks start.",
        button("Resume", handleResume, { variant: "primary" }),
      ),
    );
  }
  if (unservedSince !== null && Date.now() - unservedSince >= PATIENCE_MS)
    shown.push(unservedBanner(stats));
  return shown;
}

/** The models that no server takes, and why; each links to the tasks that wait for it. */
function unservedBanner({ waiting_for: { backend: count }, unserved: models }) {
  const waiting = (query) => href("tasks", null, { waiting_for: "backend", ...query });
  return banner(
    "unserved",
    "warn",
    `${plural(count, "task")} waiting for a model server; nothing is lost.`,
    h(
      "ul",
      null,
      models
        .slice(0, MOST_MODELS)
        .map(({ model, tasks, reason }) =>
          h(
            "li",
            { key: `${model} ${reason}` },
            h("a", { href: waiting({ model }) }, model),
            ` (${number(tasks)}): ${reason}`,
          ),
        ),
      models.length > MOST_MODELS &&
        h("li", { key: "…" }, `and ${plural(models.length - MOST_MODELS, "more model")}`),
    ),
    h("a", { href: waiting() }, `View ${count === 1 ? "the task" : `all ${number(count)}`}`),
    h("a", { href: href("overview") }, "View model servers"),
  );
}

const banner = (key, iconName, text, ...more) =>
  h("div", { key, class: `banner ${key}` }, icon(iconName), h("p", null, text), more);

const toastBox = ({ id, kind, text }) =>
  h(
    "div",
    { key: id, class: `toast ${kind}`, role: kind === "error" ? "alert" : null },
    icon({ good: "completed", error: "warn" }[kind] ?? "pending"),
    h("p", null, text),
    iconButton("close", "Close", () => dismissToast(id)),
  );

const showModal = (node) => node.showModal();

/** A key of its own for each question, so that each opens as a new dialog. */
function confirmDialog({ key, title, body, confirm, keep, danger, run }) {
  const close = () => state.dialog?.key === key && update({ dialog: null });
  const yes = () => {
    close();
    run();
  };
  return h(
    "dialog",
    {
      key,
      class: "dialog",
      mounted: showModal,
      oncancel: close,
      onclose: close,
      "aria-labelledby": "question-title",
    },
    h("h2", { id: "question-title" }, title),
    h("p", null, body),
    h(
      "div",
      { class: "row end" },
      button(keep, close),
      button(confirm, yes, { variant: danger ? "danger" : "primary" }),
    ),
  );
}

/** `refusal` says why the last key was refused; "" if there was none. */
function keyDialog(refusal) {
  const use = (event) => {
    event.preventDefault();
    setApiKey(new FormData(event.target).get("key").trim());
    location.reload();
  };
  // Browsers let a second Escape close it anyway; the page is of no use without a key.
  return h(
    "dialog",
    {
      key: "key",
      class: "dialog",
      mounted: showModal,
      oncancel: (event) => event.preventDefault(),
      onclose: (event) => showModal(event.target),
      "aria-labelledby": "key-title",
    },
    h("h2", { id: "key-title" }, "This queue requires an API key"),
    refusal && h("p", { class: "form-error", role: "alert" }, refusal),
    h("p", null, "It is kept in this tab only and sent to this server only."),
    h(
      "form",
      { onsubmit: use, class: "row" },
      h("input", {
        name: "key",
        type: "password",
        autocomplete: "off",
        required: true,
        "aria-label": "API key",
      }),
      h("button", { class: "button primary" }, "Continue"),
    ),
  );
}
