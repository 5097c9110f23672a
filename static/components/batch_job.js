// What a batch whose tasks are the lines of a file has besides them: status, files, faults.

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { fileAddress, needsKeyForFiles, saveFile } from "../server/api.js";
import { showToast } from "../state/store.js";
import { timeLabel } from "./controls.js";

const MAX_LINES = 8; // line numbers named of each kind of fault

/** The status in words. */
export const jobStatus = ({ status }) => status.replace("_", " ");

export const jobFacts = (job) => [
  ["Status", jobStatus(job)],
  ["Endpoint", h("code", null, job.endpoint)],
  ["Time limit", timeLabel(job.expires_at, true)],
  job.fallback_models && ["Fallbacks", job.fallback_models.join(", ") || "none"],
  job.answered > 0 && ["Tokens", `${number(job.usage.input)} in, ${number(job.usage.output)} out`],
];

/** Links to the files that the batch has written. */
export const jobDownloads = (job) => [
  job.output_file_id && fileLink(job.output_file_id, "Download replies", "primary"),
  job.error_file_id && fileLink(job.error_file_id, "Download errors", ""),
];

const fileLink = (id, label, variant) =>
  h(
    "a",
    {
      key: label,
      class: `button ${variant}`.trim(),
      href: fileAddress(id),
      download: "",
      onclick: (event) => {
        if (!needsKeyForFiles()) return;
        event.preventDefault();
        saveFile(id).catch((error) => showToast(error.message, "error"));
      },
    },
    icon("down"),
    label,
  );

/** What is wrong in the file, by kind: each with its first sentence and its lines. */
export function jobFaults(faults) {
  const kinds = groupByCode(faults);
  return h(
    "ul",
    { class: "latest" },
    [...kinds].map(([code, some]) =>
      h(
        "li",
        { key: code },
        h("p", null, some[0].message),
        h("p", { class: "quiet" }, `${code}: ${placesOf(some)}`),
      ),
    ),
  );
}

function groupByCode(faults) {
  const kinds = new Map();
  for (const fault of faults) kinds.set(fault.code, [...(kinds.get(fault.code) ?? []), fault]);
  return kinds;
}

function placesOf(faults) {
  const lines = faults.map((fault) => fault.line).filter(Boolean);
  if (!lines.length) return "the whole file";
  const more = lines.length - MAX_LINES;
  const named = lines.slice(0, MAX_LINES).map(number).join(", ");
  return `${lines.length === 1 ? "line" : "lines"} ${named}${more > 0 ? ` and ${number(more)} more` : ""}`;
}
