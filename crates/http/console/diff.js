/** A unified diff, line by line. The signs stay: colour alone says nothing. */

import { h } from "./dom.js";

/** @param {string | null | undefined} text */
export function diffView(text, none = "No difference.") {
  if (!text) return h("p", { class: "muted" }, none);
  const lines = text.replace(/\n$/, "").split("\n");
  return h("pre", { class: "diff", tabindex: "0", "aria-label": "Difference" },
    lines.map((line) => h("span", { class: `diff-line ${kind(line)}` }, line === "" ? " " : line, "\n")));
}

function kind(line) {
  if (line.startsWith("+++") || line.startsWith("---")) return "diff-file";
  if (line.startsWith("@@")) return "diff-at";
  if (line.startsWith("+")) return "diff-added";
  if (line.startsWith("-")) return "diff-removed";
  return "";
}
