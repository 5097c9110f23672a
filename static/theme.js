// Light, dark, or as the system has it; kept for the next visit.

import { update } from "./state.js";

const KEY = "ollama-queue-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function loadTheme() {
  use(localStorage.getItem(KEY) ?? "auto");
}

export function switchTheme(theme) {
  localStorage.setItem(KEY, NEXT[theme]);
  use(NEXT[theme]);
}

function use(theme) {
  document.documentElement.dataset.theme = theme;
  update({ theme });
}
