/**
 * A textarea with line numbers, and the gate's findings beside their lines. Behind the textarea lies
 * a copy of its text, which draws what a textarea cannot: the marked lines and the notes after them.
 * Only the lines in view are drawn, so that a long document is typed into as fast as a short one.
 */

import { badge, h, prose, put } from "./dom.js";

export class Editor {
  /** The gate's findings by the number of their line. @type {Map<number, any[]>} */
  #findings = new Map();
  #lines = [""];
  /** The text as it was given, as the textarea shows it, and how its lines end. */
  #given = "";
  #shown = "";
  #lineEnd = "\n";

  /** @param {() => void} changed called as the reader types */
  constructor(changed) {
    this.input = h("textarea", {
      id: "document", name: "document", spellcheck: "false", autocomplete: "off", autocapitalize: "off", wrap: "off",
      "aria-label": "Provider document, TOML", "aria-describedby": "editor-help verdict",
      oninput: () => {
        this.#read();
        changed();
      },
      onscroll: () => this.#draw(),
      onselectionchange: () => this.#tell(),
      onkeydown: (event) => this.#indent(event),
    });
    this.numbers = h("div", { class: "numbers" });
    this.lines = h("div", { class: "lines" });
    this.gutter = h("div", { class: "gutter", "aria-hidden": "true" }, this.numbers);
    this.element = h("div", { class: "editor" }, this.gutter,
      h("div", { class: "sheet" }, h("div", { class: "back", "aria-hidden": "true" }, this.lines), this.input));
    /** What the gate finds in the line of the cursor, in full. */
    this.here = h("div", { class: "here", role: "status" });
    new ResizeObserver(() => this.#draw()).observe(this.input);
    this.#read();
  }

  /** A textarea turns every line end into LF: they are put back here, and what is untouched is as it was given. */
  get text() {
    const { value } = this.input;
    if (value === this.#shown) return this.#given;
    return this.#lineEnd === "\n" ? value : value.replaceAll("\n", this.#lineEnd);
  }

  /** Another text, such as a document that was loaded: the findings of the old one go. */
  set text(text) {
    if (text === this.text) return;
    this.#given = text;
    this.input.value = text;
    this.#shown = this.input.value;
    const isCrlf = text.split("\r\n").length * 2 > text.split("\n").length;
    this.#lineEnd = isCrlf && text.includes("\r\n") ? "\r\n" : "\n";
    this.#findings = new Map();
    this.#read();
  }

  set findings(findings) {
    this.#findings = Map.groupBy(findings, ({ line }) => line);
    this.input.setAttribute("aria-invalid", String(findings.some((one) => one.severity === "error")));
    this.#draw();
    this.#tell();
  }

  /** Puts the cursor where a finding is, and that line into view. */
  goTo({ line, column }) {
    const at = this.#offset(line, column);
    this.input.focus();
    this.input.setSelectionRange(at, at);
    this.input.scrollTop = Math.max(0, (line - 1) * this.#height() - this.input.clientHeight / 2);
    this.input.scrollLeft = 0;
  }

  /**
   * What a finding's suggestion would replace: the key or the quoted value at its place; null if
   * nothing of the kind stands there.
   */
  target({ line, column }) {
    const at = this.#offset(line, column);
    const rest = this.input.value.slice(at).split("\n", 1)[0];
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
    const before = this.#lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    return before + [...(this.#lines[line - 1] ?? "")].slice(0, column - 1).join("").length;
  }

  /** Tab goes on to the next control, as everywhere; a new line keeps the indentation. */
  #indent(event) {
    if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const { value, selectionStart: at, selectionEnd: end } = this.input;
    const line = value.slice(value.lastIndexOf("\n", at - 1) + 1, at);
    const indentation = /^[ \t]*/.exec(line)[0];
    if (!indentation) return;
    event.preventDefault();
    this.replace({ from: at, to: end }, `\n${indentation}`);
  }

  #read() {
    this.#lines = this.input.value.split("\n");
    this.gutter.style.setProperty("--digits", String(this.#lines.length).length);
    this.#draw();
  }

  /** Of one line, in pixels. */
  #height() {
    return this.lines.firstElementChild?.getBoundingClientRect().height || 20;
  }

  /** Draws the lines in view, and one more at either end, where the textarea shows them. */
  #draw() {
    const { scrollTop, scrollLeft, clientWidth, clientHeight } = this.input;
    const height = this.#height();
    const first = Math.max(0, Math.floor(scrollTop / height) - 1);
    const inView = this.#lines.slice(first, first + Math.ceil(clientHeight / height) + 3);
    put(this.numbers, inView.map((_, index) => this.#number(first + index + 1)));
    put(this.lines, inView.map((line, index) => this.#line(line, this.#findings.get(first + index + 1))));
    const down = first * height - scrollTop;
    this.numbers.style.transform = `translateY(${down}px)`;
    this.lines.style.transform = `translate(${-scrollLeft}px, ${down}px)`;
    // As far as can be seen: there a note ends.
    this.lines.style.width = `${scrollLeft + clientWidth}px`;
  }

  #number(number) {
    const found = this.#findings.get(number);
    const mark = found && h("span", { class: "mark" }, grade(found) === "error" ? "✕" : "!");
    return h("div", { class: found ? `marked ${grade(found)}` : null }, mark, number);
  }

  #line(text, found) {
    const note = found && h("span", { class: "note" }, found.map((one, place) => [place ? " · " : null, prose(one.detail)]));
    return h("div", { class: found ? `line ${grade(found)}` : "line" }, h("span", {}, painted(text)), note);
  }

  /** Says in full what was found in the line where the cursor is. */
  #tell() {
    const { value, selectionStart: at } = this.input;
    const line = this.#findings.size && value.slice(0, at).split("\n").length;
    const told = h("div", {}, (this.#findings.get(line) ?? []).map((one) =>
      h("p", { class: "small" }, badge(one.severity), ` line ${line}: `, prose(one.detail))));
    if (told.textContent !== this.here.textContent) put(this.here, ...told.childNodes);
  }
}

const grade = (found) => (found.some((one) => one.severity === "error") ? "error" : "warning");

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
