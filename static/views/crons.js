// Tasks that are submitted again and again, by the clock: the list, and one beside it.

import { wished } from "../actions.js";
import { enable, hear as heard, load, show } from "../crons.js";
import { h } from "../dom.js";
import { number } from "../format.js";
import { go, href } from "../router.js";
import { state } from "../state.js";
import { cronForm } from "./cron_form.js";
import { cronPanel } from "./cron_panel.js";
import { icon } from "./icons.js";
import { empty, failure, loading, trouble, when } from "./parts.js";

export const enter = show;
export const hear = heard;

export function key(event) {
  if (event.key === "Escape" && state.route.id) go("crons");
  else if (event.key === "n") go("crons", "new");
}

export function view({ crons, cronForm: form, route, stats }) {
  if (!crons?.items) return crons?.error ? failure(crons.error, load) : loading("crons");
  return h("div", { class: "split" },
    h("section", { class: "split-list", "aria-label": "List of crons" },
      h("div", { class: "bar" },
        h("h1", { class: "grow" }, "Crons"),
        h("a", { class: "button primary", href: href("crons", "new") }, icon("plus"), h("span", null, "New cron"))),
      trouble(crons.error, load),
      crons.items.length ? table(crons.items, route.id) : nothing()),
    route.id && h("aside", { key: "panel", class: "panel", "aria-label": "The cron" }, beside(crons, form, route, stats)));
}

const nothing = () =>
  empty("There are no crons yet", "A cron submits the same task again and again, by the clock.",
    h("a", { class: "button", href: href("crons", "new") }, "Make the first one"));

function beside(crons, form, route, stats) {
  if (form) return cronForm(form, stats);
  if (route.id === "new") return loading("the form");
  const cron = crons.items.find(({ id }) => id === route.id);
  if (cron) return cronPanel(cron, crons.looked);
  return empty("There is no such cron", "It may have been removed.", h("a", { class: "button", href: href("crons") }, "All crons"));
}

const table = (items, open) =>
  h("table", { class: "lines" },
    h("thead", null, h("tr", null,
      [["On"], ["Name"], ["Schedule"], ["Next run"], ["Last run"], ["Runs", "figure"], ["Submits", "l-aside"]].map(([word, look]) =>
        h("th", { scope: "col", class: look }, word)))),
    h("tbody", null, items.map((cron) => row(cron, cron.id === open))));

function row(cron, isOpen) {
  const { id, name, enabled, task_template: task } = cron;
  const open = (event) => event.target.closest("a, input") || go("crons", id);
  return h("tr", { key: id, class: `${isOpen ? "is-open" : ""} ${enabled ? "" : "is-off"}`, onclick: open },
    h("td", { class: "l-on" },
      h("input", { type: "checkbox", role: "switch", "aria-label": `${name} is enabled`, title: enabled ? "Enabled" : "Disabled", checked: wished(`cron ${id}`, enabled), oninput: (e) => enable(cron, e.target.checked) })),
    h("td", { class: "l-name" }, h("a", { href: href("crons", id), "aria-current": isOpen ? "true" : null }, name)),
    h("td", { class: "l-what" }, h("code", null, cron.cron_expr), cron.timezone !== "UTC" && h("span", { class: "quiet" }, ` ${cron.timezone}`)),
    h("td", { class: "l-next", "data-word": "next" }, enabled ? when(cron.next_run) : h("span", { class: "quiet" }, "disabled")),
    h("td", { class: "l-last", "data-word": "last" }, when(cron.last_run)),
    h("td", { class: "l-count figure", "data-word": "runs" }, number(cron.run_count)),
    h("td", { class: "l-more l-aside" }, `${task.type} · ${task.model}`, h("span", { class: "quiet" }, ` ${gist(task)}`)));
}

/** What is asked, on one line. */
export function gist({ payload }) {
  const last = payload.messages?.at(-1)?.content ?? payload.prompt ?? payload.input ?? "";
  const text = typeof last === "string" ? last : JSON.stringify(last);
  return text.slice(0, 120);
}
