/**
 * A textarea with line numbers, and the gate's findings beside their lines. Behind the textarea lies
 * a copy of its text, which draws what a textarea cannot: the marked lines and the notes after them.
 */

import { h, put } from "./dom.js";

export class Editor {
  /** @type {any[]} */
  #findings = [];

  /** @param {(text: string) => void} changed called as the reader types */
  constructor(changed) {
    this.input = h("textarea", {
      id: "document", name: "document", spellcheck: "false", autocomplete: "off", autocapitalize: "off", wrap: "off",
      "aria-label": "Provider document, TOML", "aria-describedby": "editor-help verdict",
      oninput: () => {
        this.#draw();
        changed(this.text);
      },
      onscroll: () => this.#follow(),
      onkeydown: (event) => this.#indent(event),
    });
    this.gutter = h("div", { class: "gutter", "aria-hidden": "true" });
    this.back = h("div", { class: "back", "aria-hidden": "true" });
    this.element = h("div", { class: "editor" }, this.gutter, h("div", { class: "sheet" }, this.back, this.input));
    this.#draw();
  }

  get text() {
    return this.input.value;
  }

  /** Another text, such as a document that was loaded: the findings of the old one go. */
  set text(text) {
    this.input.value = text;
    this.#findings = [];
    this.#draw();
  }

  set findings(findings) {
    this.#findings = findings;
    this.input.setAttribute("aria-invalid", String(findings.some((one) => one.severity === "error")));
    this.#draw();
  }

  /** Puts the cursor where a finding is, and that line into view. */
  goTo({ line, column }) {
    const at = this.#offset(line, column);
    this.input.focus();
    this.input.setSelectionRange(at, at);
    const height = this.back.firstElementChild?.offsetHeight ?? 20;
    this.input.scrollTop = Math.max(0, (line - 1) * height - this.input.clientHeight / 2);
    this.input.scrollLeft = 0;
  }

  /**
   * What a finding's suggestion would replace: the key or the quoted value at its place; null if
   * nothing of the kind stands there.
   */
  target({ line, column }) {
    const at = this.#offset(line, column);
    const rest = this.text.slice(at).split("\n", 1)[0];
    const quoted = /^(["'])(.*?)\1/.exec(rest);
    if (quoted) return { from: at + 1, to: at + 1 + quoted[2].length };
    const bare = /^[A-Za-z0-9_-]+/.exec(rest);
    return bare && { from: at, to: at + bare[0].length };
  }

  /** Types over part of the text, so that the browser's undo takes it back. */
  replace({ from, to }, text) {
    this.input.focus();
    this.input.setSelectionRange(from, to);
    if (!document.execCommand("insertText", false, text)) {
      this.input.setRangeText(text, from, to, "end");
      this.input.dispatchEvent(new Event("input"));
    }
  }

  /** The gate counts characters, JavaScript counts UTF-16 units. */
  #offset(line, column) {
    const lines = this.text.split("\n");
    const before = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    return before + [...(lines[line - 1] ?? "")].slice(0, column - 1).join("").length;
  }

  /** Tab goes on to the next control, as everywhere; a new line keeps the indentation. */
  #indent(event) {
    if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const { selectionStart: at, selectionEnd: end } = this.input;
    const line = this.text.slice(this.text.lastIndexOf("\n", at - 1) + 1, at);
    const indentation = /^[ \t]*/.exec(line)[0];
    if (!indentation) return;
    event.preventDefault();
    this.replace({ from: at, to: end }, `\n${indentation}`);
  }

  #draw() {
    const byLine = new Map();
    for (const finding of this.#findings) byLine.set(finding.line, [...(byLine.get(finding.line) ?? []), finding]);
    const lines = this.text.split("\n");
    const grade = (found) => (found.some((one) => one.severity === "error") ? "error" : "warning");
    put(this.gutter, lines.map((_, index) => {
      const found = byLine.get(index + 1);
      return h("div", { class: found ? `marked ${grade(found)}` : null }, found ? h("span", { class: "mark" }, grade(found) === "error" ? "✕" : "!") : null, index + 1);
    }), h("div", { class: "tail" }));
    put(this.back, lines.map((line, index) => {
      const found = byLine.get(index + 1);
      return h("div", { class: found ? `line ${grade(found)}` : "line" }, painted(line),
        found ? h("span", { class: "note" }, found.map((one) => one.detail).join(" · ")) : null, "\n");
    }), h("div", { class: "tail" }));
    this.#follow();
  }

  #follow() {
    this.gutter.scrollTop = this.back.scrollTop = this.input.scrollTop;
    this.back.scrollLeft = this.input.scrollLeft;
  }
}

const PARTS = /(#.*$)|("""|'''|"(?:[^"\\]|\\.)*"|'[^']*')|(^\s*\[\[?[^\]]*\]\]?)|(^\s*[A-Za-z0-9_.\-"]+)(?=\s*=)|[^#"'[]+|./g;

/** One line of TOML with its comments, strings, headers and keys told apart. */
function painted(line) {
  const parts = [];
  for (const [text, comment, string, header, name] of line.matchAll(PARTS)) {
    const kind = comment ? "comment" : string ? "string" : header ? "header" : name ? "name" : null;
    parts.push(kind ? h("span", { class: `toml-${kind}` }, text) : text);
  }
  return parts;
}
