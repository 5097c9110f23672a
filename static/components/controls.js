// Buttons, fields, labels and messages that all views use.

import { h } from "../lib/dom.js";
import { localDateTime, localTime, priorityName, priorityText, utcTime } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { canonicalModel } from "../lib/model_names.js";
import { state } from "../state/store.js";

const STATUS_WORDS = {
  slot: "",
  schedule: "scheduled",
  retry: "waiting to retry",
  backend: "no server",
  paused: "paused",
};

/** A status as icon and text, never by colour alone; of a pending task, what it waits for, of one
 * that the queue has failed, why. */
export function statusLabel(task) {
  const why = task.status === "pending" ? STATUS_WORDS[task.waiting_for ?? "slot"] : "";
  const title = why && task.waiting_for === "backend" ? unservedReason(task.model) : null;
  return h(
    "span",
    { class: `status ${task.status}`, title },
    icon(task.status),
    h("span", null, why || task.error_code || task.status),
  );
}

/** Whether a fallback runs the task, or ran it last. */
export const usesFallback = (task) => Boolean(task.model_used) && task.model_used !== task.model;

/** The task's model, and the fallback that took its place. */
export const modelNames = (task) =>
  usesFallback(task) ? `${task.model} → ${task.model_used}` : task.model;

/** Why no model server takes the tasks of a model; null where unknown. */
export const unservedReason = (model) =>
  state.stats?.unserved.find((entry) => entry.model === canonicalModel(model))?.reason ?? null;

/** A local time, with UTC as its tooltip. `isFull` adds the day. */
export const timeLabel = (text, isFull = false) =>
  text
    ? h(
        "time",
        { datetime: text, title: utcTime(text) },
        isFull ? localDateTime(text) : localTime(text),
      )
    : h("span", { class: "quiet" }, "–");

export const priorityLabel = (value) =>
  h("span", { class: `level level-${priorityName(value)}` }, priorityText(value));

/** Choices of a priority, the highest first. */
export const PRIORITY_CHOICES = Array.from({ length: 15 }, (_, index) => {
  const value = 15 - index;
  return [value, priorityText(value)];
});

/** A button with text, and an icon before it. `variant`: primary, danger, plain, or nothing. */
export const button = (text, onclick, { variant = "", iconName = null, ...props } = {}) =>
  h(
    "button",
    { type: "button", class: `button ${variant}`, onclick, ...props },
    iconName && icon(iconName),
    h("span", null, text),
  );

/** A button with an icon only; `label` is its name for screen readers, and its tooltip. */
export const iconButton = (iconName, label, onclick, props = {}) =>
  h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...props },
    icon(iconName),
  );

/** In place of an empty list: what it means, and what to do. */
export const emptyMessage = (title, text, ...more) =>
  h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", null, text), more);

export const loadingMessage = (what) =>
  h("div", { class: "empty", role: "status" }, h("p", { class: "quiet" }, `Loading ${what} …`));

/** An error in place of content, with a way to try again. */
export const errorMessage = (error, again) =>
  h(
    "div",
    { class: "empty", role: "alert" },
    icon("warn"),
    h("p", { class: "empty-title" }, error.message),
    h("p", null, "Nothing is lost: the queue keeps its tasks on disk."),
    again && button("Try again", again),
  );

/** An error above content that may be out of date. */
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
 * A section that a click opens or closes. `onTurn(isOpen)` is called by the click itself: the
 * browser's `toggle` comes later, and a redraw between the two would undo the click.
 */
export function disclosure(className, isOpen, onTurn, summary, ...inside) {
  const onclick = (event) => {
    event.preventDefault();
    onTurn(!isOpen);
  };
  const ontoggle = ({ target }) => target.open !== isOpen && onTurn(target.open); // opened by the browser's search
  return h(
    "details",
    { class: className, open: isOpen, ontoggle },
    h("summary", { onclick }, summary),
    inside,
  );
}

const fieldIds = new Map(); // by name

function fieldId(name) {
  if (!fieldIds.has(name)) fieldIds.set(name, `field-${fieldIds.size + 1}`);
  return fieldIds.get(name);
}

/**
 * A labelled input. `make(props)` returns the input, given the props that connect it to its label,
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

/** Options of a select; `choices` are values or [value, label]. */
export const selectOptions = (choices, selected) =>
  choices.map((choice) => {
    const [value, label] = Array.isArray(choice) && choice.length === 2 ? choice : [choice, choice];
    return h("option", { key: value, value, selected: String(value) === String(selected) }, label);
  });
