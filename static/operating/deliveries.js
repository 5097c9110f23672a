// Webhooks: which events were sent where, and what was answered.

import {
  button,
  disclosure,
  emptyMessage,
  errorMessage,
  loadingMessage,
  selectOptions,
  staleWarning,
  timeLabel,
} from "../components/controls.js";
import { reportTable } from "../components/report_table.js";
import { h } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { href, lastValue, replaceRoute } from "../state/router.js";
import {
  leaveDeliveries,
  loadDeliveries,
  openAttempts,
  sendAgain,
  showDeliveries,
} from "./delivery_list.js";

export const deliveriesView = { title: "Webhooks", draw, enter, leave: leaveDeliveries };

const STATUSES = ["pending", "delivered", "failed"];
const ICONS = { pending: "pending", delivered: "completed", failed: "failed" };

/** What the address asks for; an unknown status is all of them. */
function asked({ query }) {
  const status = lastValue(query, "status");
  return {
    status: STATUSES.includes(status) ? status : "",
    cursor: lastValue(query, "cursor"),
  };
}

function enter(route) {
  const { status, cursor } = asked(route);
  showDeliveries(status, cursor);
}

function draw({ route, deliveries }) {
  const { status, cursor } = asked(route);
  const choose = ({ target }) => replaceRoute("webhooks", null, { status: target.value });
  return h(
    "div",
    { class: "overview" },
    h(
      "div",
      { class: "history-head" },
      h("h1", null, "Webhooks"),
      h(
        "label",
        { class: "row" },
        h("span", { class: "quiet" }, "Status"),
        h("select", { oninput: choose }, selectOptions([["", "all"], ...STATUSES], status)),
      ),
    ),
    body(deliveries, status, cursor),
  );
}

function body(list, status, cursor) {
  if (!list?.items)
    return h(
      "div",
      { key: "body", class: "wide" },
      list?.error ? errorMessage(list.error, loadDeliveries) : loadingMessage("the deliveries"),
    );
  return h(
    "section",
    { key: "list", class: "sheet wide", "aria-label": "Deliveries" },
    staleWarning(list.error, loadDeliveries),
    list.items.length ? table(list) : nothing(status, list.next),
    h(
      "div",
      { class: "row" },
      cursor && h("a", { class: "button", href: href("webhooks", null, { status }) }, "Newest"),
      list.next &&
        h(
          "a",
          { class: "button", href: href("webhooks", null, { status, cursor: list.next }) },
          "Older",
        ),
    ),
  );
}

function nothing(status, next) {
  if (next) return emptyMessage(`None ${status} here`, "There are older deliveries.");
  if (status)
    return emptyMessage(`No ${status} deliveries`, "Choose another status to see others.");
  return emptyMessage(
    "No deliveries yet",
    "The end of a task is sent to its callback_url, other events to the webhooks of the configuration.",
  );
}

const table = ({ items, open }) =>
  reportTable(
    "Deliveries",
    ["when", "event", "to", "status", "answer", "again"],
    items.map((delivery) => deliveryRow(delivery, delivery.id === open)),
  );

function deliveryRow(delivery, isOpen) {
  const { id, status, webhook, url, next_attempt_at: next } = delivery;
  return h(
    "tr",
    { key: id },
    h("td", null, timeLabel(delivery.created_at)),
    h(
      "td",
      null,
      h("div", null, delivery.event.replaceAll("_", " ")),
      delivery.task_id && h("a", { href: href("task", delivery.task_id) }, "View task"),
    ),
    h(
      "td",
      { class: "target" },
      h("div", null, url),
      webhook && h("div", { class: "quiet" }, webhook),
    ),
    h(
      "td",
      null,
      h("span", { class: `status ${ICONS[status]}` }, icon(ICONS[status]), h("span", null, status)),
      next && h("div", { class: "quiet" }, "next: ", timeLabel(next)),
    ),
    h("td", { class: "answers" }, answers(delivery, isOpen)),
    h(
      "td",
      null,
      button(status === "pending" ? "Send now" : "Send again", () => sendAgain(delivery)),
    ),
  );
}

/** The newest answer; a click shows those before it. */
function answers({ id, attempt, attempts }, isOpen) {
  if (!attempts.length) return h("span", { class: "quiet" }, "not sent yet");
  return disclosure(
    "attempts",
    isOpen,
    (isNowOpen) => openAttempts(id, isNowOpen),
    h("span", null, answerText(attempts.at(-1)), h("span", { class: "quiet" }, count(attempt))),
    isOpen &&
      h(
        "ol",
        null,
        attempts.map((one) =>
          h(
            "li",
            { key: one.at },
            timeLabel(one.at),
            ` ${answerText(one)}`,
            one.reply && h("pre", null, one.reply),
          ),
        ),
      ),
  );
}

const count = (attempt) => ` · ${plural(attempt, "attempt")}`;

const answerText = ({ status, error }) => error ?? `status ${status}`;
