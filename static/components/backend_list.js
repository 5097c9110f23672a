// The model servers: health, slots, models, drain and resume, load and unload.

import { h } from "../lib/dom.js";
import { duration, number, plural, rate } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { canonicalModel } from "../lib/model_names.js";
import {
  askToConfirm,
  handleDrain,
  handleLoad,
  handleUndrain,
  handleUnload,
} from "../state/actions.js";
import { button, iconButton, selectOptions } from "./controls.js";

const MOST_SHOWN = 24;
const MOST_CHOICES = 500;

export function backendList(all) {
  if (!all.length)
    return h("p", { class: "quiet" }, "No model server is configured: see config.example.yaml.");
  return h("ul", { class: "backends" }, all.map(backendItem));
}

function backendItem(one) {
  return h(
    "li",
    { key: one.name },
    h(
      "div",
      { class: "row" },
      h("h3", null, one.name),
      health(one),
      h(
        "span",
        { class: "quiet" },
        [one.type, one.version, one.remote && "remote"].filter(Boolean).join(" "),
      ),
      h("span", { class: "grow" }),
      drainButton(one),
    ),
    one.error && h("p", { class: "error" }, one.error),
    h(
      "div",
      { class: "row" },
      slots(one),
      h(
        "span",
        { class: "quiet" },
        [
          `${plural(one.calls, "call")}, ${number(one.failures)} failed`,
          one.tokens_per_s !== null && `${rate(one.tokens_per_s)} tokens/s`,
          one.without.length > 0 && `does not accept ${one.without.join(" and ")}`,
          one.wait_s !== null && `tasks waited ${duration(one.wait_s)} on average`,
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    ),
    h("div", { class: "row models" }, models(one)),
  );
}

function health({ healthy, drained, resting_s: rests }) {
  if (rests)
    return h(
      "span",
      { class: "status pending" },
      icon("pending"),
      h("span", null, `resting ${Math.ceil(rests)} s`),
    );
  if (drained)
    return h("span", { class: "status pending" }, icon("pause"), h("span", null, "drained"));
  if (!healthy)
    return h("span", { class: "status failed" }, icon("warn"), h("span", null, "unreachable"));
  return h("span", { class: "status completed" }, icon("completed"), h("span", null, "healthy"));
}

const DRAIN = "Running calls finish; it gets no new ones until you resume it.";

const drainButton = (one) =>
  one.drained
    ? button("Resume", () => handleUndrain(one), {
        key: "resume",
        variant: "primary",
        "aria-label": `Resume ${one.name}`,
      })
    : button(
        "Drain",
        () =>
          askToConfirm({ title: `Drain ${one.name}?`, body: DRAIN, confirm: "Drain" }, () =>
            handleDrain(one),
          ),
        { key: "drain", "aria-label": `Drain ${one.name}` },
      );

function slots({ running, parallel }) {
  const label = `${number(running)} of ${plural(parallel, "slot")} busy`;
  const boxes =
    parallel <= 32 &&
    Array.from({ length: parallel }, (_, index) =>
      h("span", { class: index < running ? "slot busy" : "slot" }),
    );
  return h(
    "span",
    { class: "slots" },
    h("span", { class: "slot-boxes", "aria-hidden": "true" }, boxes),
    label,
  );
}

function models(one) {
  const { models: names, loaded, pinned, type } = one;
  if (names === null) return h("span", { class: "quiet" }, "Its models are not known yet.");
  const known = new Set(names.map(canonicalModel));
  const absent = pinned.filter((name) => !known.has(canonicalModel(name)));
  const missing = absent.map((name) =>
    h("span", { key: `absent ${name}`, class: "tag" }, name, " · pinned, absent"),
  );
  if (!names.length) return [h("span", { key: "none", class: "quiet" }, "No models."), missing];
  const sorted = [...names].sort(
    (a, b) => loaded.includes(b) - loaded.includes(a) || a.localeCompare(b),
  );
  return [
    sorted
      .slice(0, MOST_SHOWN)
      .map((name) =>
        h(
          "span",
          { key: name, class: loaded.includes(name) ? "tag is-loaded" : "tag" },
          name,
          loaded.includes(name) && " · in memory",
          pinned.includes(name) && " · pinned",
          type === "ollama" &&
            loaded.includes(name) &&
            !pinned.includes(name) &&
            iconButton("close", `Unload ${name} from ${one.name}`, () => handleUnload(one, name)),
        ),
      ),
    names.length > MOST_SHOWN &&
      h("span", { key: "…", class: "quiet" }, `and ${number(names.length - MOST_SHOWN)} more`),
    missing,
    type === "ollama" && loadChoice(one, sorted),
  ];
}

function loadChoice(one, names) {
  const others = names.filter((name) => !one.loaded.includes(name)).slice(0, MOST_CHOICES);
  return (
    others.length > 0 &&
    h(
      "select",
      {
        key: "load",
        class: "load-choice",
        "aria-label": `Load a model on ${one.name}`,
        value: "",
        onchange: ({ target }) => {
          const model = target.value;
          target.value = "";
          if (model) handleLoad(one, model);
        },
      },
      selectOptions([["", "Load a model…"], ...others], ""),
    )
  );
}
