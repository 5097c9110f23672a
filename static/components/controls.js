// Small things that all views are made of.

import { h } from "../lib/dom.js";
import { localDateTime, localTime, priorityName, utcTime } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { state } from "../state/store.js";

const STATUS_WORDS = {
  slot: "",
  schedule: "scheduled",
  retry: "waits to retry",
  backend: "no server",
  paused: "paused",
};

/** A status as icon and word, never by colour alone; a pending task says what it waits for. */
export function statusLabel(task) {
  const why = task.status === "pending" ? STATUS_WORDS[task.waiting_for ?? "slot"] : "";
  const title = why && task.waiting_for === "backend" ? unservedReason(task.model) : null;
  return h(
    "span",
    { class: `status ${task.status}`, title },
    icon(task.status),
    h("span", null, why || task.status),
  );
}

/** Why no model server takes the tasks of a model, null where nobody has said. */
export const unservedReason = (model) =>
  state.stats?.unserved.find((each) => each.model === model)?.reason ?? null;

/** A local time; UTC when hovered over. */
export const timeLabel = (text, whole = false) =>
  text
    ? h(
        "time",
        { datetime: text, title: utcTime(text) },
        whole ? localDateTime(text) : localTime(text),
      )
    : h("span", { class: "quiet" }, "–");

export const priorityLabel = (value) =>
  h(
    "span",
    { class: `level level-${priorityName(value)}` },
    `${value} ${priorityName(value) === String(value) ? "" : priorityName(value)}`.trim(),
  );

/** Choices of a priority, the highest first. */
export const PRIORITY_CHOICES = Array.from({ length: 15 }, (_, index) => {
  const value = 15 - index;
  return [value, priorityName(value) === String(value) ? value : `${value} ${priorityName(value)}`];
});

/** A button with a word, and an icon before it. `variant`: primary, danger, plain, or nothing. */
export const button = (text, onclick, { variant = "", iconName = null, ...props } = {}) =>
  h(
    "button",
    { type: "button", class: `button ${variant}`, onclick, ...props },
    iconName && icon(iconName),
    h("span", null, text),
  );

/** A button that is an icon only; `label` is said by screen readers and when hovered over. */
export const iconButton = (iconName, label, onclick, props = {}) =>
  h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...props },
    icon(iconName),
  );

/** Nothing is here: what that means, and what to do. */
export const emptyMessage = (title, text, ...more) =>
  h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", null, text), more);

export const loadingMessage = (what) =>
  h("div", { class: "empty", role: "status" }, h("p", { class: "quiet" }, `Loading ${what} …`));

/** What went wrong, and a way to try again. */
export const errorMessage = (error, again) =>
  h(
    "div",
    { class: "empty", role: "alert" },
    icon("warn"),
    h("p", { class: "empty-title" }, error.message),
    h("p", null, "Nothing is lost: the queue keeps its tasks on disk."),
    again && button("Try again", again),
  );

/** What went wrong while something older is still shown below. */
export const staleWarning = (error, again) =>
  error &&
  h(
    "div",
    { key: "trouble", class: "bar trouble", role: "alert" },
    icon("warn"),
    h("p", { class: "grow" }, `This may be out of date: ${error.message}`),
    button("Try again", again),
  );

/**
 * A part that a click unfolds. `turn(isOpen)` is called by the click itself: the browser's `toggle`
 * comes later, and a redraw between the two would take back what the user did.
 */
export function disclosure(look, isOpen, turn, summary, ...inside) {
  const onclick = (event) => {
    event.preventDefault();
    turn(!isOpen);
  };
  const ontoggle = ({ target }) => target.open !== isOpen && turn(target.open); // by the browser's search
  return h(
    "details",
    { class: look, open: isOpen, ontoggle },
    h("summary", { onclick }, summary),
    inside,
  );
}

let fieldCount = 0;
const fieldIds = new Map();
const fieldId = (name) =>
  fieldIds.get(name) ?? (fieldIds.set(name, `field-${++fieldCount}`), fieldIds.get(name));

/**
 * A labelled input. `make(props)` gives the input itself from the props that join it to its label,
 * hint and error. `name` is unique on the page.
 */
export function field(name, label, make, { error = null, hint = null, variant = "" } = {}) {
  const id = fieldId(name);
  const described = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const props = {
    id,
    name,
    "aria-invalid": error ? "true" : null,
    "aria-describedby": described || null,
  };
  return h(
    "div",
    { class: `field ${variant} ${error ? "is-wrong" : ""}` },
    h("label", { for: id }, label),
    make(props),
    error && h("p", { class: "error", id: `${id}-error`, role: "alert" }, error),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
  );
}

/** Options of a select; `choices` are values or [value, word]. */
export const selectOptions = (choices, chosen) =>
  choices.map((each) => {
    const [value, word] = [each].flat().length === 2 ? each : [each, each];
    return h("option", { key: value, value, selected: String(value) === String(chosen) }, word);
  });
