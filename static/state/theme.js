// Light, dark, or as the system has it; kept for the next visit.

import { update } from "./store.js";

const KEY = "ollama-queue-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function loadTheme() {
  applyTheme(localStorage.getItem(KEY) ?? "auto");
}

export function switchTheme(theme) {
  localStorage.setItem(KEY, NEXT[theme]);
  applyTheme(NEXT[theme]);
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  update({ theme });
}
