// The part of Markdown that models use: code blocks, headings, lists, bold text, inline code.

import { h } from "./dom.js";

/** Markdown as elements. Other syntax is shown as written. */
export function markdown(text) {
  const blocks = [];
  for (const [index, part] of text.split(/^```/m).entries()) {
    if (index % 2 === 1) blocks.push(codeBlock(part));
    else
      for (const paragraph of part.split(/\n{2,}/))
        if (paragraph.trim()) blocks.push(block(paragraph.replace(/^\n+|\n+$/g, "")));
  }
  return h("div", { class: "prose" }, blocks);
}

function codeBlock(part) {
  const [, language, code] = /^([^\n]*)\n?([\s\S]*)$/.exec(part);
  return h(
    "pre",
    { "aria-label": language.trim() || null, tabindex: 0 },
    h("code", null, code.replace(/\n$/, "")),
  );
}

function block(text) {
  const heading = /^(#{1,6})\s+(.+)$/.exec(text);
  if (heading) return h("p", { class: "prose-heading" }, inline(heading[2]));
  const lines = text.split("\n");
  const bullets = lines.every((line) => /^\s*[-*•]\s+/.test(line));
  if (bullets)
    return h(
      "ul",
      null,
      lines.map((line) => h("li", null, inline(line.replace(/^\s*[-*•]\s+/, "")))),
    );
  if (lines.length > 1 && lines.every((line) => /^\s*\d+[.)]\s+/.test(line))) {
    return h(
      "ol",
      { start: Number.parseInt(lines[0], 10) },
      lines.map((line) => h("li", null, inline(line.replace(/^\s*\d+[.)]\s+/, "")))),
    );
  }
  return h("p", null, inline(text));
}

function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`")) return h("code", null, part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**")) return h("strong", null, part.slice(2, -2));
    return part;
  });
}
