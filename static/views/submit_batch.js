// Submits a file of tasks as a batch, after a check.

import { button } from "../components/controls.js";
import { h } from "../lib/dom.js";
import { fileSize, number, plural } from "../lib/format.js";
import * as api from "../server/api.js";
import { checkBatchFile } from "../state/batch_file.js";
import { href } from "../state/router.js";
import { merge, state } from "../state/store.js";

const EXAMPLE =
  '{"type": "chat", "model": "qwen3", "messages": [{"role": "user", "content": "Hello"}]}\n{"type": "embed", "model": "nomic-embed-text", "input": "a text", "priority": "low"}';

export function batchForm(form) {
  return h(
    "div",
    { class: "sheet form" },
    h(
      "p",
      null,
      "JSON Lines, one task per line, or a JSON array. Either all tasks are accepted or none.",
    ),
    dropArea(form),
    form.checked
      ? fileSummary(form)
      : form.error && h("p", { class: "form-error", role: "alert" }, form.error.message),
    !form.checked &&
      h("pre", { tabindex: 0, "aria-label": "An example" }, h("code", null, EXAMPLE)),
  );
}

function dropArea(form) {
  return h(
    "div",
    {
      class: `drop ${form.isDragOver ? "is-over" : ""}`,
      ondragover: (event) => {
        event.preventDefault();
        if (!form.isDragOver) merge("submit", { isDragOver: true });
      },
      ondragleave: () => merge("submit", { isDragOver: false }),
      ondrop: (event) => {
        event.preventDefault();
        const [file] = event.dataTransfer.files;
        if (file) readFile(file);
      },
    },
    h("p", null, form.isReading ? "Reading …" : "Drop a file here, or"),
    h(
      "label",
      { class: "button" },
      "Choose a file",
      h("input", {
        class: "hidden",
        type: "file",
        accept: ".json,.jsonl,.ndjson,.txt,application/json",
        onchange: onFileChosen,
      }),
    ),
  );
}

/** Clears the input, so that the same file can be chosen again after a fix. */
function onFileChosen({ target }) {
  if (target.files[0]) readFile(target.files[0]);
  target.value = "";
}

async function readFile(file) {
  merge("submit", {
    isDragOver: false,
    isReading: true,
    checked: null,
    submitted: null,
    error: null,
  });
  try {
    merge("submit", { isReading: false, checked: await checkBatchFile(file) });
  } catch (error) {
    // it was changed or removed meanwhile, or is too large
    merge("submit", {
      isReading: false,
      error: { message: `${file.name} cannot be read: ${error.message}` },
    });
  }
}

function fileSummary({ checked, error, isSending, submitted }) {
  const isGood = !checked.errors.length;
  return h(
    "div",
    { class: "file-summary", role: "status" },
    h(
      "h2",
      null,
      checked.file.name,
      " ",
      h("span", { class: "quiet" }, fileSize(checked.file.size)),
    ),
    h(
      "p",
      null,
      plural(checked.count, "task"),
      ": ",
      countsText(checked.types),
      ". Models: ",
      countsText(checked.models),
      ".",
    ),
    !isGood &&
      h(
        "ul",
        { class: "mistakes" },
        checked.errors.map(({ at, message }) =>
          h("li", { key: at }, h("strong", null, at), ` ${message}`),
        ),
        checked.moreErrors > 0 && h("li", null, `and ${number(checked.moreErrors)} more`),
      ),
    error && h("p", { class: "form-error", role: "alert" }, error.message),
    submitted
      ? h(
          "p",
          null,
          `Submitted ${plural(submitted.task_ids.length, "task")}. `,
          h("a", { href: href("batches", submitted.batch_id) }, "View batch"),
        )
      : h(
          "div",
          { class: "row" },
          button(
            isSending ? "Submitting …" : `Submit ${plural(checked.count, "task")}`,
            submitFile,
            { variant: "primary", disabled: !isGood || isSending },
          ),
          !isGood && h("span", { class: "quiet" }, "Fix the file and drop it again"),
        ),
  );
}

const countsText = (of) =>
  Object.entries(of)
    .slice(0, 8)
    .map(([name, count]) => `${number(count)} ${name}`)
    .join(", ") || "none";

async function submitFile() {
  const { checked } = state.submit;
  merge("submit", { isSending: true, error: null });
  try {
    merge("submit", {
      submitted: await api.submitBatchFile(checked.file, checked.isLines),
      isSending: false,
    });
  } catch (error) {
    merge("submit", { error, isSending: false });
  }
}
