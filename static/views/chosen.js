// The bar of what can be done to the tasks that are chosen.

import { ask, attempt, bulk } from "../actions.js";
import { h } from "../dom.js";
import { number, plural } from "../format.js";
import { countMatching, selectLoaded, settle } from "../listing.js";
import { merge, state, toast } from "../state.js";
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
  const words = list.matching ? `All ${total === null ? "that match" : number(total)} selected` : `${number(list.selected.size)} selected`;
  // Keys: a button must not become another one under the finger that is about to press it.
  const offersAll = !list.matching && list.selected.size === list.rows.length && !list.isWhole;
  return h("div", { key: "chosen", class: "bar chosen", role: "toolbar", "aria-label": "What to do with the tasks selected" },
    h("strong", { role: "status" }, words),
    offersAll && button(`Select all ${total === null ? "that match" : number(total)}`, () => merge("list", { matching: true }), { key: "all", look: "plain" }),
    verb(list, "cancel", "Cancel", "close"),
    verb(list, "retry", "Retry", "retry"),
    verb(list, "delete", "Delete", "trash"),
    h("select", { key: "priority", "aria-label": "Set the priority of the tasks selected", value: "", disabled: list.counting || count(list, "priority") === 0, oninput: reprioritise },
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
  return button(found === null || found === 0 ? word : `${word} ${number(found)}`, () => confirm(name, word), { key: name, image, disabled: list.counting || found === 0, look: name === "delete" ? "danger" : "" });
}

const BODY = {
  cancel: () => "Those that run are stopped; the others do not start.",
  retry: () => "They go back to the queue at their current priority.",
  delete: (count) => `Deletes ${plural(count, "task")} and ${count === 1 ? "its result" : "their results"}. This cannot be undone.`,
  priority: () => "Those that wait take their new place in the queue.",
};

/** Asks with the number of tasks, which is counted first where it is not known. */
async function confirm(name, word, more = {}) {
  const { list } = state;
  const asked = list.matching ? await counted(list, name) : chosenFor(list, name).length;
  if (asked === undefined || state.list?.key !== list.key) return;
  if (!asked) return toast(`Nothing to ${name === "priority" ? "change" : name}`);
  const tasks = plural(asked, "task");
  const to = name === "priority" ? ` ${more.priority}` : "";
  ask({
    title: name === "priority" ? `Give ${tasks} priority${to}?` : `${word} ${tasks}?`,
    body: BODY[name](asked),
    confirm: name === "priority" ? `Change ${tasks}` : `${word} ${tasks}`,
    keep: name === "cancel" ? "Keep tasks" : "Cancel",
    danger: name === "cancel" || name === "delete",
  }, () => carryOut(list, name, more));
}

/** Undefined where it could not be counted, which is said. */
async function counted(list, name) {
  merge("list", { counting: true });
  const count = await attempt(() => countMatching(list, MEANT_FOR[name]));
  merge("list", { counting: false });
  return count;
}

/** To the list that was asked about: the address may be another by now. */
async function carryOut(list, name, more) {
  if (list.matching) await bulk(name, { filter: list.filter }, more);
  else {
    const ids = chosenFor(list, name);
    for (let from = 0; from < ids.length; from += 1000) await bulk(name, { ids: ids.slice(from, from + 1000) }, more);
  }
  if (state.list?.key !== list.key) return;
  document.activeElement?.blur(); // what was chosen is done with: the list may move
  selectLoaded(false);
  settle();
}

function reprioritise(event) {
  const priority = Number(event.target.value);
  event.target.value = "";
  if (!priority) return;
  if (state.list.matching) confirm("priority", "", { priority });
  else carryOut(state.list, "priority", { priority });
}
