// The bar of what can be done to the tasks that are chosen.

import { ask, bulk } from "../actions.js";
import { h } from "../dom.js";
import { number, plural } from "../format.js";
import { selectLoaded, settle } from "../listing.js";
import { merge, state } from "../state.js";
import { button, options } from "./parts.js";
import { LEVELS } from "./task_row.js";

// Which tasks a verb is meant for, as the server has it.
const MEANT_FOR = {
  cancel: ["pending", "running"],
  retry: ["failed", "cancelled"],
  delete: ["completed", "failed", "cancelled"],
  priority: ["pending", "running"],
};

export function chosenBar(list, total) {
  const words = list.matching ? `All ${total === null ? "" : number(total)} that match` : `${number(list.selected.size)} chosen`;
  // Keys: a button must not become another one under the finger that is about to press it.
  const offersAll = !list.matching && list.selected.size === list.rows.length && !list.isWhole;
  return h("div", { key: "chosen", class: "bar chosen", role: "toolbar", "aria-label": "What to do with the tasks chosen" },
    h("strong", { role: "status" }, words),
    offersAll && button(`Choose all ${total === null ? "" : number(total)} that match`, () => merge("list", { matching: true }), { key: "all", look: "plain" }),
    verb(list, "cancel", "Cancel", "close"),
    verb(list, "retry", "Retry", "retry"),
    verb(list, "delete", "Delete", "trash"),
    h("select", { key: "priority", "aria-label": "Set the priority of the tasks chosen", value: "", disabled: count(list, "priority") === 0, onchange: reprioritise },
      options([["", "Priority …"], ...LEVELS], "")),
    button("Clear", () => selectLoaded(false), { key: "clear", look: "plain" }));
}

/** How many of those chosen it can be done to; null when nobody knows yet. */
function count(list, name) {
  if (list.matching) return null;
  return chosenFor(list, name).length;
}

const chosenFor = (list, name) => [...list.selected].filter((id) => MEANT_FOR[name].includes(list.tasks.get(id)?.status));

function verb(list, name, word, image) {
  const found = count(list, name);
  return button(found === null || found === 0 ? word : `${word} ${number(found)}`, () => confirm(name, word), { key: name, image, disabled: found === 0, look: name === "delete" ? "danger" : "" });
}

const BODY = {
  cancel: "Those that run are stopped; the others do not start.",
  retry: "They wait for another run, in the order of their priority.",
  delete: "They are forgotten, with their results. This cannot be undone.",
};

function confirm(name, word) {
  const { list } = state;
  const what = list.matching ? "all tasks that match" : plural(chosenFor(list, name).length, "task");
  ask({ title: `${word} ${what}?`, body: BODY[name], confirm: `${word} ${list.matching ? "them all" : what}`, danger: name !== "retry" }, () => carryOut(name));
}

async function carryOut(name, more = {}) {
  const { list } = state;
  if (list.matching) await bulk(name, { filter: list.filter }, more);
  else {
    const ids = chosenFor(list, name);
    for (let from = 0; from < ids.length; from += 1000) await bulk(name, { ids: ids.slice(from, from + 1000) }, more);
  }
  if (state.list === null) return;
  document.activeElement?.blur(); // what was chosen is done with: the list may move
  selectLoaded(false);
  settle();
}

function reprioritise(event) {
  const priority = Number(event.target.value);
  event.target.value = "";
  if (priority) carryOut("priority", { priority });
}
