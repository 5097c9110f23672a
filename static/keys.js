// The keyboard: / to search, g and a letter to go to a view; the rest is the view's own.

import { go } from "./router.js";

const PLACES = { o: "overview", t: "tasks", s: "submit", c: "crons", b: "batches" };
const TYPING = "input, textarea, select, [contenteditable]";
let isGoing = false;

/** `other(event)` gets what is no key of all views, outside of fields. */
export function hearKeys(other) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest?.(TYPING)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (isGoing && PLACES[event.key]) {
      go(PLACES[event.key]);
      isGoing = false;
      return;
    }
    isGoing = event.key === "g";
    if (event.key === "/") {
      event.preventDefault();
      const field = document.querySelector("[type=search]");
      if (field) field.focus();
      else go("tasks");
    } else other(event);
  });
}
