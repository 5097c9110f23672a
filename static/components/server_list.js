// The servers that share the queue: who leads, and how long each has been silent.

import { h } from "../lib/dom.js";
import { duration, number } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { reportTable } from "./report_table.js";

const role = ({ leads, silent, read_only: readOnly }) => {
  if (readOnly)
    return h("strong", { class: "status failed", title: readOnly }, "leader, read-only");
  if (silent) return h("span", { class: "status failed" }, icon("warn"), "silent");
  return leads ? h("strong", null, "leader") : "follower";
};

export const serverList = (servers) =>
  reportTable(
    "Servers",
    ["Server", "Role", "Seen", "Calls", "Version", "Settings"],
    servers.map((server) =>
      h(
        "tr",
        { key: server.id },
        h("th", { scope: "row", class: "one-line" }, server.url ?? "a program"),
        h("td", null, role(server)),
        h("td", null, `${duration(server.lag_s)} ago`),
        h("td", { class: "amount" }, `${number(server.calls)} of ${number(server.slots)}`),
        h("td", null, server.version),
        h("td", null, server.same_settings ? "same" : "different from the leader's"),
      ),
    ),
  );
