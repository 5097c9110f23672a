// The bar of what can be done to the tasks that are chosen.

import { button, PRIORITY_CHOICES, selectOptions } from "../components/controls.js";
import { h } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { askToConfirm, runBulk, runWithToast } from "../state/actions.js";
import { merge, showToast, state } from "../state/store.js";
import { countMatching, selectLoadedTasks, showHeldBack } from "../state/task_list.js";

// Which tasks a verb is meant for, as the server has it.
const ELIGIBLE = {
  cancel: ["pending", "running"],
  retry: ["failed", "cancelled"],
  delete: ["completed", "failed", "cancelled"],
  priority: ["pending", "running"],
};

export function selectionBar(list, total) {
  const words = list.allMatching
    ? `All ${total === null ? "that match" : number(total)} selected`
    : `${number(list.selected.size)} selected`;
  // Keys: a button must not become another one under the finger that is about to press it.
  const offersAll =
    !list.allMatching && list.selected.size === list.rows.length && !list.isComplete;
  return h(
    "div",
    {
      key: "chosen",
      class: "bar chosen",
      role: "toolbar",
      "aria-label": "What to do with the tasks selected",
    },
    h("strong", { role: "status" }, words),
    offersAll &&
      button(
        `Select all ${total === null ? "that match" : number(total)}`,
        () => merge("list", { allMatching: true }),
        { key: "all", variant: "plain" },
      ),
    actionButton(list, "cancel", "Cancel", "close"),
    actionButton(list, "retry", "Retry", "retry"),
    actionButton(list, "delete", "Delete", "trash"),
    h(
      "select",
      {
        key: "priority",
        "aria-label": "Set the priority of the tasks selected",
        value: "",
        disabled: list.isCounting || countEligible(list, "priority") === 0,
        oninput: onPriority,
      },
      selectOptions([["", "Priority …"], ...PRIORITY_CHOICES], ""),
    ),
    button("Clear", () => selectLoadedTasks(false), { key: "clear", variant: "plain" }),
  );
}

/** How many of those chosen it can be done to; null when nobody knows yet. */
function countEligible(list, name) {
  if (list.allMatching) return null;
  return eligibleIds(list, name).length;
}

const eligibleIds = (list, name) =>
  [...list.selected].filter((id) => ELIGIBLE[name].includes(list.tasks.get(id)?.status));

function actionButton(list, name, word, image) {
  const found = countEligible(list, name);
  return button(
    found === null || found === 0 ? word : `${word} ${number(found)}`,
    () => confirmAction(name, word),
    {
      key: name,
      image,
      disabled: list.isCounting || found === 0,
      variant: name === "delete" ? "danger" : "",
    },
  );
}

const DIALOG_TEXT = {
  cancel: () => "Those that run are stopped; the others do not start.",
  retry: () => "They go back to the queue at their current priority.",
  delete: (count) =>
    `Deletes ${plural(count, "task")} and ${count === 1 ? "its result" : "their results"}. This cannot be undone.`,
  priority: () => "Those that wait take their new place in the queue.",
};

/** Asks with the number of tasks, which is counted first where it is not known. */
async function confirmAction(name, word, more = {}) {
  const { list } = state;
  const asked = list.allMatching
    ? await countAllMatching(list, name)
    : eligibleIds(list, name).length;
  if (asked === undefined || state.list?.key !== list.key) return;
  if (!asked) return showToast(`Nothing to ${name === "priority" ? "change" : name}`);
  const tasks = plural(asked, "task");
  const to = name === "priority" ? ` ${more.priority}` : "";
  askToConfirm(
    {
      title: name === "priority" ? `Give ${tasks} priority${to}?` : `${word} ${tasks}?`,
      body: DIALOG_TEXT[name](asked),
      confirm: name === "priority" ? `Change ${tasks}` : `${word} ${tasks}`,
      keep: name === "cancel" ? "Keep tasks" : "Cancel",
      danger: name === "cancel" || name === "delete",
    },
    () => runAction(list, name, more),
  );
}

/** Undefined where it could not be counted, which is said. */
async function countAllMatching(list, name) {
  merge("list", { isCounting: true });
  const count = await runWithToast(() => countMatching(list, ELIGIBLE[name]));
  merge("list", { isCounting: false });
  return count;
}

/** To the list that was asked about: the address may be another by now. */
async function runAction(list, name, more) {
  if (list.allMatching) await runBulk(name, { filter: list.filter }, more);
  else {
    const ids = eligibleIds(list, name);
    for (let from = 0; from < ids.length; from += 1000)
      await runBulk(name, { ids: ids.slice(from, from + 1000) }, more);
  }
  if (state.list?.key !== list.key) return;
  document.activeElement?.blur(); // what was chosen is done with: the list may move
  selectLoadedTasks(false);
  showHeldBack();
}

function onPriority(event) {
  const priority = Number(event.target.value);
  event.target.value = "";
  if (!priority) return;
  if (state.list.allMatching) confirmAction("priority", "", { priority });
  else runAction(state.list, "priority", { priority });
}
