// Small things that all views are made of.

import { h } from "../dom.js";
import { fullTime, priority, time, utc } from "../format.js";
import { state } from "../state.js";
import { icon } from "./icons.js";

const STATUS_WORDS = { slot: "", schedule: "scheduled", retry: "waits to retry", backend: "no server", paused: "paused" };

/** A status as icon and word, never by colour alone; a pending task says what it waits for. */
export function status(task) {
  const why = task.status === "pending" ? STATUS_WORDS[task.waiting_for ?? "slot"] : "";
  const title = why && task.waiting_for === "backend" ? reasonOf(task.model) : null;
  return h("span", { class: `status ${task.status}`, title }, icon(task.status), h("span", null, why || task.status));
}

/** Why no model server takes the tasks of a model, null where nobody has said. */
export const reasonOf = (model) => state.stats?.unserved.find((each) => each.model === model)?.reason ?? null;

/** A local time; UTC when hovered over. */
export const when = (text, whole = false) =>
  text ? h("time", { datetime: text, title: utc(text) }, whole ? fullTime(text) : time(text)) : h("span", { class: "quiet" }, "–");

export const level = (value) => h("span", { class: `level level-${priority(value)}` }, `${value} ${priority(value) === String(value) ? "" : priority(value)}`.trim());

/** A button with a word, and an icon before it. `look`: primary, danger, plain, or nothing. */
export const button = (text, onclick, { look = "", image = null, ...props } = {}) =>
  h("button", { type: "button", class: `button ${look}`, onclick, ...props }, image && icon(image), h("span", null, text));

/** A button that is an icon only; `label` is said by screen readers and when hovered over. */
export const iconButton = (image, label, onclick, props = {}) =>
  h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...props }, icon(image));

/** Nothing is here: what that means, and what to do. */
export const empty = (title, text, ...more) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", null, text), more);

export const loading = (what) => h("div", { class: "empty", role: "status" }, h("p", { class: "quiet" }, `Loading ${what} …`));

/** What went wrong, and a way to try again. */
export const failure = (error, again) =>
  h("div", { class: "empty", role: "alert" }, icon("warn"), h("p", { class: "empty-title" }, error.message),
    h("p", null, "Nothing is lost: the queue keeps its tasks on disk."), again && button("Try again", again));

/** What went wrong while something older is still shown below. */
export const trouble = (error, again) =>
  error && h("div", { key: "trouble", class: "bar trouble", role: "alert" }, icon("warn"),
    h("p", { class: "grow" }, `This may be out of date: ${error.message}`), button("Try again", again));

/**
 * A part that a click unfolds. `turn(isOpen)` is called by the click itself: the browser's `toggle`
 * comes later, and a redraw between the two would take back what the user did.
 */
export function fold(look, isOpen, turn, summary, ...inside) {
  const onclick = (event) => {
    event.preventDefault();
    turn(!isOpen);
  };
  const ontoggle = ({ target }) => target.open !== isOpen && turn(target.open); // by the browser's search
  return h("details", { class: look, open: isOpen, ontoggle }, h("summary", { onclick }, summary), inside);
}

let fields = 0;
const ids = new Map();
const idOf = (name) => ids.get(name) ?? (ids.set(name, `field-${++fields}`), ids.get(name));

/**
 * A labelled input. `make(props)` gives the input itself from the props that join it to its label,
 * hint and error. `name` is unique on the page.
 */
export function field(name, label, make, { error = null, hint = null, look = "" } = {}) {
  const id = idOf(name);
  const described = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const props = { id, name, "aria-invalid": error ? "true" : null, "aria-describedby": described || null };
  return h("div", { class: `field ${look} ${error ? "is-wrong" : ""}` },
    h("label", { for: id }, label), make(props),
    error && h("p", { class: "error", id: `${id}-error`, role: "alert" }, error),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
}

/** Options of a select; `choices` are values or [value, word]. */
export const options = (choices, chosen) =>
  choices.map((each) => {
    const [value, word] = [each].flat().length === 2 ? each : [each, each];
    return h("option", { key: value, value, selected: String(value) === String(chosen) }, word);
  });
