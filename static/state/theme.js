// Light, dark, or the system's theme; kept for the next visit.

import { update } from "./store.js";

const KEY = "ollama-queue-theme";
export const NEXT_THEME = { auto: "light", light: "dark", dark: "auto" };

export function loadTheme() {
  applyTheme(localStorage.getItem(KEY) ?? "auto");
}

export function switchTheme(theme) {
  localStorage.setItem(KEY, NEXT_THEME[theme]);
  applyTheme(NEXT_THEME[theme]);
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  update({ theme });
}
