// Keyboard shortcuts of all views: / searches, g and a letter switches views.

import { navigate } from "./router.js";

const VIEW_KEYS = {
  o: "overview",
  t: "tasks",
  s: "submit",
  c: "crons",
  b: "batches",
  h: "history",
  w: "webhooks",
  k: "keys",
};
const TYPING = "input, textarea, select, [contenteditable]";
let isAfterG = false;

/** `onOther(event)` gets all other keys, except those typed into fields. */
export function listenForKeys(onOther) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
      return;
    if (event.target.closest?.(TYPING)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (isAfterG && VIEW_KEYS[event.key]) {
      navigate(VIEW_KEYS[event.key]);
      isAfterG = false;
      return;
    }
    isAfterG = event.key === "g";
    if (event.key === "/") {
      event.preventDefault();
      const field = document.querySelector("[type=search]");
      if (field) field.focus();
      else navigate("tasks");
    } else onOther(event);
  });
}
