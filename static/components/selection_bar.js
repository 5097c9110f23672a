// Actions on the selected tasks.

import { h } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { askToConfirm, runBulk, runWithToast } from "../state/actions.js";
import { merge, showToast, state } from "../state/store.js";
import { countMatching, selectLoadedTasks, showHeldBack } from "../state/task_list.js";
import { button, PRIORITY_CHOICES, selectOptions } from "./controls.js";

// The statuses that each verb applies to, as on the server.
const ELIGIBLE = {
  cancel: ["pending", "running"],
  retry: ["failed", "cancelled"],
  delete: ["completed", "failed", "cancelled"],
  priority: ["pending", "running"],
};

export function selectionBar(list, total) {
  const label = list.allMatching
    ? `All ${total === null ? "that match" : number(total)} selected`
    : `${number(list.selected.size)} selected`;
  // Keys: a button must not turn into another one just before a click.
  const offersAll =
    !list.allMatching && list.selected.size === list.rows.length && !list.isComplete;
  return h(
    "div",
    {
      key: "selection",
      class: "bar selection",
      role: "toolbar",
      "aria-label": "Actions on selected tasks",
    },
    h("strong", { role: "status" }, label),
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
        "aria-label": "Priority of selected tasks",
        value: "",
        disabled: list.isCounting || countEligible(list, "priority") === 0,
        oninput: onPriority,
      },
      selectOptions([["", "Priority …"], ...PRIORITY_CHOICES], ""),
    ),
    button("Clear", () => selectLoadedTasks(false), { key: "clear", variant: "plain" }),
  );
}

/** How many selected tasks the verb applies to; null where unknown. */
function countEligible(list, name) {
  if (list.allMatching) return null;
  return eligibleIds(list, name).length;
}

const eligibleIds = (list, name) =>
  [...list.selected].filter((id) => ELIGIBLE[name].includes(list.tasks.get(id)?.status));

function actionButton(list, name, label, iconName) {
  const eligible = countEligible(list, name);
  return button(
    eligible === null || eligible === 0 ? label : `${label} ${number(eligible)}`,
    () => confirmAction(name, label),
    {
      key: name,
      iconName,
      disabled: list.isCounting || eligible === 0,
      variant: name === "delete" ? "danger" : "",
    },
  );
}

const DIALOG_TEXT = {
  cancel: () => "Running tasks are stopped; waiting ones do not start.",
  retry: () => "They go back to the queue at their current priority.",
  delete: (count) =>
    `Deletes ${plural(count, "task")} and ${count === 1 ? "its result" : "their results"}. This cannot be undone.`,
  priority: () => "Waiting tasks move to their new place in the queue.",
};

/** Asks to confirm, with the number of tasks, which is counted first where unknown. */
async function confirmAction(name, label, more = {}) {
  const { list } = state;
  const count = list.allMatching
    ? await countAllMatching(list, name)
    : eligibleIds(list, name).length;
  if (count === undefined || state.list?.key !== list.key) return;
  if (!count) return showToast(`Nothing to ${name === "priority" ? "change" : name}`);
  const tasks = plural(count, "task");
  askToConfirm(
    {
      title:
        name === "priority"
          ? `Set the priority of ${tasks} to ${more.priority}?`
          : `${label} ${tasks}?`,
      body: DIALOG_TEXT[name](count),
      confirm: name === "priority" ? `Change ${tasks}` : `${label} ${tasks}`,
      keep: name === "cancel" ? "Keep tasks" : "Cancel",
      danger: name === "cancel" || name === "delete",
    },
    () => runAction(list, name, more),
  );
}

/** Counts all matching tasks that the verb applies to; undefined after an error, which is shown. */
async function countAllMatching(list, name) {
  merge("list", { isCounting: true });
  const count = await runWithToast(() => countMatching(list, ELIGIBLE[name]));
  merge("list", { isCounting: false });
  return count;
}

/** Acts on the list that the question was about: another may be shown by now. */
async function runAction(list, name, more) {
  if (list.allMatching) await runBulk(name, { filter: list.filter }, more);
  else {
    const ids = eligibleIds(list, name);
    for (let from = 0; from < ids.length; from += 1000)
      await runBulk(name, { ids: ids.slice(from, from + 1000) }, more);
  }
  if (state.list?.key !== list.key) return;
  document.activeElement?.blur(); // the list may move now
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
