// The list of crons, and one beside it.

import {
  emptyMessage,
  errorMessage,
  loadingMessage,
  staleWarning,
  timeLabel,
} from "../components/controls.js";
import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { optimisticValue } from "../state/actions.js";
import { applyFeedToCrons, loadCrons, setCronEnabled, showCrons } from "../state/cron_list.js";
import { href, navigate } from "../state/router.js";
import { state } from "../state/store.js";
import { cronEditor } from "./cron_editor.js";
import { cronPanel } from "./cron_panel.js";

export const cronsView = {
  title: "Crons",
  draw,
  enter: showCrons,
  onMessage: applyFeedToCrons,
  onKey,
};

function onKey(event) {
  if (event.key === "Escape" && state.route.id) navigate("crons");
  else if (event.key === "n") navigate("crons", "new");
}

function draw({ crons, cronForm: form, route, stats }) {
  if (!crons?.items)
    return crons?.error ? errorMessage(crons.error, loadCrons) : loadingMessage("crons");
  return h(
    "div",
    { class: "split" },
    h(
      "section",
      { class: "split-list", "aria-label": "List of crons" },
      h(
        "div",
        { class: "bar" },
        h("h1", { class: "grow" }, "Crons"),
        h(
          "a",
          { class: "button primary", href: href("crons", "new") },
          icon("plus"),
          h("span", null, "New cron"),
        ),
      ),
      staleWarning(crons.error, loadCrons),
      crons.items.length ? cronTable(crons.items, route.id) : noCrons(),
    ),
    route.id &&
      h(
        "aside",
        { key: "panel", class: "panel", "aria-label": "The cron" },
        panelContent(crons, form, route, stats),
      ),
  );
}

const noCrons = () =>
  emptyMessage(
    "No crons yet",
    "A cron submits the same task on a schedule.",
    h("a", { class: "button", href: href("crons", "new") }, "Create a cron"),
  );

function panelContent(crons, form, route, stats) {
  if (form) return cronEditor(form, stats);
  if (route.id === "new") return loadingMessage("the form");
  const cron = crons.items.find(({ id }) => id === route.id);
  if (cron) return cronPanel(cron, crons.detail);
  return emptyMessage(
    "Cron not found",
    "It may have been removed.",
    h("a", { class: "button", href: href("crons") }, "All crons"),
  );
}

const cronTable = (items, open) =>
  h(
    "table",
    { class: "lines" },
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        [
          ["On"],
          ["Name"],
          ["Schedule"],
          ["Next run"],
          ["Last run"],
          ["Runs", "figure"],
          ["Submits", "l-aside"],
        ].map(([heading, className]) => h("th", { scope: "col", class: className }, heading)),
      ),
    ),
    h(
      "tbody",
      null,
      items.map((cron) => cronRow(cron, cron.id === open)),
    ),
  );

function cronRow(cron, isOpen) {
  const { id, name, enabled, task_template: task } = cron;
  const open = (event) => event.target.closest("a, input") || navigate("crons", id);
  return h(
    "tr",
    { key: id, class: `${isOpen ? "is-open" : ""} ${enabled ? "" : "is-off"}`, onclick: open },
    h(
      "td",
      { class: "l-on" },
      h("input", {
        type: "checkbox",
        role: "switch",
        "aria-label": `${name} is enabled`,
        title: enabled ? "Enabled" : "Disabled",
        checked: optimisticValue(`cron ${id}`, enabled),
        oninput: (e) => setCronEnabled(cron, e.target.checked),
      }),
    ),
    h(
      "td",
      { class: "l-name" },
      h("a", { href: href("crons", id), "aria-current": isOpen ? "true" : null }, name),
    ),
    h(
      "td",
      { class: "l-what" },
      h("code", null, cron.cron_expr),
      cron.timezone !== "UTC" && h("span", { class: "quiet" }, ` ${cron.timezone}`),
    ),
    h(
      "td",
      { class: "l-next", "data-word": "next" },
      enabled ? timeLabel(cron.next_run) : h("span", { class: "quiet" }, "disabled"),
    ),
    h("td", { class: "l-last", "data-word": "last" }, timeLabel(cron.last_run)),
    h("td", { class: "l-count figure", "data-word": "runs" }, number(cron.run_count)),
    h(
      "td",
      { class: "l-more l-aside" },
      `${task.type} · ${task.model}`,
      h("span", { class: "quiet" }, ` ${promptExcerpt(task)}`),
    ),
  );
}

/** The start of the prompt, on one line. */
function promptExcerpt({ payload }) {
  const last = payload.messages?.at(-1)?.content ?? payload.prompt ?? payload.input ?? "";
  const text = typeof last === "string" ? last : JSON.stringify(last);
  return text.slice(0, 120);
}
