/**
 * Building the page's elements. Text from the server goes in as text nodes only; nothing here
 * parses HTML.
 */

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

/**
 * An element with attributes and children. A property that begins with `on` is a listener; `true`
 * sets an attribute without a value; null, undefined and `false` leave it out.
 * @param {string} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Replaces what an element holds.
 * @param {Element} element
 * @param {...Child} children
 */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

const drawn = new WeakMap();

/**
 * Draws data into a place again and again. Data that is shown already touches nothing; the focus stays
 * on what it was on, and a button whose work is under way stays itself. It is known again by its
 * `aria-label`, since what it says changes meanwhile.
 * @param {Element} place
 * @param {any} data
 * @param {(data: any) => Child} draw
 * @returns {boolean} whether it was drawn
 */
export function redraw(place, data, draw) {
  const text = JSON.stringify(data);
  if (drawn.get(place) === text) return false;
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const underWay = [...place.querySelectorAll('[aria-busy="true"]')];
  put(place, draw(data));
  drawn.set(place, text);
  const same = (old) => [...place.querySelectorAll(old.tagName)].find((one) => signature(one) === signature(old));
  for (const button of underWay) same(button)?.replaceWith(button);
  if (focused) (same(focused) ?? document.querySelector("main h1"))?.focus({ preventScroll: true });
  return true;
}

const signature = (element) => element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.textContent;

/**
 * Does `work` while its button says that it is being done; another press meanwhile does nothing. The
 * button keeps the focus, which one that is disabled would lose.
 * @template T
 * @param {HTMLElement} button
 * @param {() => Promise<T>} work
 * @param {string} [doing] what the button says meanwhile, such as "Asking…"
 * @returns {Promise<T | undefined>} what `work` returned
 */
export async function busy(button, work, doing) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  const words = [...button.childNodes];
  button.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  if (doing) put(button, doing);
  try {
    return await work();
  } finally {
    if (doing) put(button, words);
    button.removeAttribute("aria-busy");
    button.removeAttribute("aria-disabled");
  }
}

/** Sets an element's text if it differs, so that a poll that brings nothing new touches nothing. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A list of terms and what they are; entries without a value are left out unless `all`. */
export function facts(entries, { all = false } = {}) {
  const shown = entries.filter(([, value]) => all || (value !== null && value !== undefined && value !== ""));
  return h("dl", { class: "facts" }, shown.map(([term, value]) =>
    h("div", {}, h("dt", {}, term), h("dd", {}, value ?? "–"))));
}

/**
 * A table that turns into cards on a narrow screen. The roles are stated because styles take them
 * away there. A column of class `end` holds buttons; its label is for those who cannot see them.
 * @param {{ caption: string, columns: { label: string, cell: (row: any) => Child, class?: string }[],
 *   rows: any[] }} what
 */
export function table({ caption, columns, rows }) {
  const head = columns.map(({ label, class: kind }) =>
    h("th", { scope: "col", role: "columnheader", class: kind }, kind === "end" ? h("span", { class: "unseen" }, label) : label));
  const body = rows.map((row) => h("tr", { role: "row" }, columns.map(({ label, cell, class: kind }) =>
    h("td", { role: "cell", "data-label": label, class: kind }, cell(row)))));
  return h("table", { role: "table", class: "cards" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, body));
}

const TONES = {
  ready: "good", accepted: "good", sent: "good", succeeded: "good", active: "good", ok: "good", live: "good",
  sending: "info", pending: "info", running: "info", completed: "good",
  slowed: "warn", paused: "warn", unknown: "warn", awaiting_approval: "warn", throttled: "warn", warning: "warn", not_checked: "warn",
  misconfigured: "bad", failed: "bad", rejected: "bad", error: "bad", refused: "bad", unusable: "bad",
};

/** A status in words, with a colour that only repeats them. */
export function badge(word, tone = TONES[word] ?? "plain") {
  return h("span", { class: `badge ${tone}` }, words(word));
}

/** `awaiting_approval` as a person writes it. */
export function words(word) {
  return String(word).replaceAll("_", " ");
}

/** What stands in the place of the address of an erased person. */
export const ERASED = "erased person";

/** A place without content: what it means and what to do. */
export function empty(title, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), more.map((part) => h("p", {}, part)));
}

/** Text in the machine's own spelling. */
export function code(text) {
  return h("code", {}, text);
}

/** A sentence of the gateway's, in which backquotes mark what is spelt as a machine spells it. */
export function prose(text) {
  return String(text ?? "").split("`").map((part, place, all) => (place % 2 && place < all.length - 1 ? code(part) : part));
}

/** Any JSON, laid out. */
export function json(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return h("pre", { class: "exchange", tabindex: "0" }, text);
}

/** A field with its label and, below, what it wants. */
export function field(label, input, hint) {
  input.id ||= `field-${field.next = (field.next ?? 0) + 1}`;
  const note = hint ? h("span", { class: "hint", id: `${input.id}-hint` }, hint) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, note);
}

/** A checkbox with its label. */
export function check(label, properties = {}, kind = "check") {
  return h("label", { class: kind }, h("input", { type: "checkbox", ...properties }), h("span", {}, label));
}

/** Says something that happened, to eyes and screen readers alike; after a dialog, which hides it. */
export function say(text, tone = "plain") {
  const dialog = document.querySelector("dialog[open]");
  if (dialog) return dialog.addEventListener("close", () => say(text, tone), { once: true });
  const toast = h("p", { class: `toast ${tone}` }, text);
  put(document.getElementById("status"), toast);
  setTimeout(() => toast.remove(), 7000);
}
