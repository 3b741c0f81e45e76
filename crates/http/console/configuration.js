/** Editing the live provider document: what the gate finds, what would change, and applying it. */

import { call, get, isAbort, Problem } from "./api.js";
import { badge, busy, field, h, prose, put, say } from "./dom.js";
import { ask, confirm } from "./dialog.js";
import { diffView } from "./diff.js";
import { Editor } from "./editor.js";
import { configurationNotices } from "./notices.js";
import { attempt, problemView } from "./problem.js";
import { changeOf, revisions } from "./revisions.js";
import { startingHint } from "./starting.js";
import { poll } from "./time.js";

const PATH = "admin/config";
/** How long the reader rests before the gate is asked, in milliseconds. */
const REST = 400;
/** How often it is looked whether something else went live, in milliseconds. */
const WATCH = 5000;

/**
 * What was typed and not applied when the key was lost, and the live document that it began from.
 * It waits for the next sign-in in this module alone: neither a reload nor another tab has it.
 * @type {{ text: string, note: string, live: { text: string, etag: string } } | null}
 */
let draft = null;

export const hasDraft = () => draft !== null;

export function dropDraft() {
  draft = null;
}

export const title = () => "Configuration";

export async function open(page) {
  const { root, signal } = page;
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Configuration")), h("p", { class: "muted" }, "Reading the live document…"));
  const desk = new Desk(page);
  await desk.load();
  signal.throwIfAborted();
  root.lastChild.remove();
  root.append(desk.element);
  desk.check();
  await poll(() => desk.watch(), WATCH, signal);
}

/** The document that is edited, the one that it began from, and what the gate says of it. */
class Desk {
  #live = { text: "", etag: "" };
  #checking = new AbortController();
  #timer = 0;
  /** Whether the last question failed in a way that passes, so that asking again may help. */
  #isCutOff = false;

  constructor(page) {
    this.signal = page.signal;
    page.unsaved = () => this.isChanged;
    page.keyLost = () => {
      if (this.isChanged) draft = { text: this.editor.text, note: this.note.value, live: this.#live };
    };
    this.kept = h("div", {});
    this.notices = h("div", {});
    this.hint = h("div", {});
    this.trouble = h("div", {});
    this.unchecked = h("div", {});
    this.editor = new Editor(() => this.#typed());
    this.verdict = h("p", { id: "verdict", class: "verdict", role: "status" });
    this.findings = h("div", {});
    this.diff = h("div", {});
    this.changed = h("p", { class: "muted small" });
    this.note = h("input", { name: "note", maxlength: "256", autocomplete: "off", placeholder: "Why, for whoever reads the history" });
    this.revisions = revisions({
      signal: this.signal, isChanged: () => this.isChanged, restored: () => this.#again(),
      seen: (configuration) => this.#seen(configuration),
    });
    this.element = this.#layout();
    this.signal.addEventListener("abort", () => {
      clearTimeout(this.#timer);
      this.#checking.abort();
    });
  }

  get isChanged() {
    return this.editor.text !== this.#live.text;
  }

  #layout() {
    this.probe = h("button", { type: "button", onclick: () => busy(this.probe, () => this.check({ probe: true }), "Probing…") }, "Probe changed providers");
    this.revert = h("button", { type: "button", onclick: () => this.#revert() }, "Discard changes");
    this.apply = h("button", { type: "submit", class: "primary" }, "Apply…");
    const bar = h("form", { class: "apply", onsubmit: (event) => {
      event.preventDefault();
      this.#confirmApply();
    } }, field("Note", this.note), h("div", { class: "actions" }, this.apply, this.probe, this.revert));
    return h("div", { class: "document" }, this.kept, this.notices, this.hint,
      h("div", { class: "desk" },
        h("div", { class: "desk-editor" }, this.editor.element, this.editor.here,
          h("p", { class: "small muted", id: "editor-help" }, "Checked as you type; nothing is live before you apply it. Secrets are references: ",
            h("code", {}, "{ env = \"NAME\" }"), " or ", h("code", {}, "{ file = \"PATH\" }"), ": those that the live document uses for the same thing, and those that the gateway's settings release.")),
        h("aside", { class: "desk-side", "aria-label": "What the gate says" },
          h("h2", { class: "unseen" }, "What the gate says"), this.verdict, this.unchecked, this.trouble, bar, this.findings)),
      h("section", { "aria-labelledby": "diff" }, h("h2", { id: "diff" }, "Change against the live document"), this.changed, this.diff),
      this.revisions.element);
  }

  /** Reads the live document into the editor, unless somebody types before it is here. Returns whether it did. */
  async load() {
    const before = this.editor.text;
    const live = await this.#readLive();
    const isFree = this.editor.text === before;
    if (isFree) this.#take(live);
    await Promise.all([this.revisions.load(), this.#drawHint()]);
    return isFree;
  }

  /** Shows the live document, or, once after a lost key, what was typed before. */
  #take(live) {
    const back = draft?.text === live.text ? null : draft;
    draft = null;
    this.#live = back?.live ?? live;
    this.editor.text = back?.text ?? live.text;
    if (back) this.note.value = back.note;
    put(this.kept, back && h("div", { class: "notice warn" },
      h("p", { class: "notice-title" }, "Changes that were typed before the key ended are here again"),
      h("p", {}, "They are not live. Go on with them, or discard them to see the live document.")));
  }

  async #readLive() {
    const { data, headers } = await call("GET", PATH, { signal: this.signal });
    return { text: data, etag: headers.get("ETag") };
  }

  /** Looks whether something else went live; a reader who has changed nothing gets it at once. */
  async watch() {
    let configuration;
    try {
      configuration = await get(`${PATH}/revisions`, { limit: 1 }, this.signal);
    } catch {
      // The next call that the reader makes says what is wrong.
      return;
    }
    if (configuration.live !== this.#base && !this.isChanged && !document.querySelector("dialog")) {
      if (await this.#again()) say(`Revision ${configuration.live} went live meanwhile and is shown.`);
    } else this.#seen(configuration);
    if (!this.revisions.isRead()) await this.revisions.load();
    if (this.#isCutOff) await this.check();
  }

  #seen(configuration) {
    const news = configurationNotices(configuration);
    if (configuration.live !== this.#base) {
      news.unshift(h("div", { class: "notice warn" },
        h("p", { class: "notice-title" }, `Revision ${configuration.live} went live meanwhile`),
        h("p", {}, `Your text began from revision ${this.#base}. Applying it shows first what the others changed.`)));
    }
    const holder = h("div", {}, news);
    if (holder.textContent !== this.notices.textContent) put(this.notices, news);
  }

  /** The revision that the text began from: the live document's entity tag is its number in quotes. */
  get #base() {
    return Number(this.#live.etag.replaceAll('"', ""));
  }

  get #isEmpty() {
    return !/^\s*[^#\s]/m.test(this.editor.text);
  }

  async #drawHint() {
    if (this.#isEmpty === this.hint.hasChildNodes()) return;
    try {
      const hint = this.#isEmpty ? await startingHint(this.editor, this.signal) : null;
      put(this.hint, this.#isEmpty ? hint : null);
    } catch (error) {
      // The check, which is asked at the same time, says what is wrong; after it the hint is tried again.
      if (!(error instanceof Problem) && !isAbort(error)) throw error;
    }
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), REST);
    this.#drawHint();
  }

  /** Asks the gate about the text; a question that is overtaken is dropped. Returns what it said. */
  async check({ probe = false } = {}) {
    clearTimeout(this.#timer);
    this.#checking.abort();
    this.#checking = new AbortController();
    const { signal } = this.#checking;
    if (probe) put(this.verdict, "Probing the changed providers…");
    try {
      const query = probe ? { probe: "true" } : {};
      const { data } = await call("POST", `${PATH}/check`, { toml: this.editor.text, query, signal });
      this.#isCutOff = false;
      put(this.unchecked);
      this.#drawCheck(data, probe);
      this.#drawHint();
      return data;
    } catch (error) {
      if (isAbort(error)) return undefined;
      this.#isCutOff = !(error.status < 500) || error.status === 429;
      put(this.verdict, badge("not checked", "warn"), this.#isCutOff ? " It is checked again as soon as the gateway answers." : null);
      put(this.unchecked, problemView(error, "The document could not be checked"));
      return undefined;
    }
  }

  #drawCheck({ passes, findings, diff, changed = [] }, probed) {
    this.editor.findings = findings;
    const count = (severity) => findings.filter((one) => one.severity === severity).length;
    const several = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
    const counts = [count("error") && several(count("error"), "error"), count("warning") && several(count("warning"), "warning")].filter(Boolean).join(", ");
    const state = !this.isChanged ? "this is the live document" : passes ? "can be applied" : "cannot be applied";
    put(this.verdict, badge(passes ? "passes" : "refused", passes ? "good" : "bad"), " ", [counts, state].filter(Boolean).join("; "),
      probed && passes ? `; ${this.#credentials(findings)}` : "");
    put(this.findings, findings.length ? h("ol", { class: "findings" }, findings.map((one) => this.#finding(one))) : null);
    put(this.diff, diffView(diff, "None: the text is the live document."));
    put(this.changed, changed.length ? `Providers that change: ${changed.join(", ")}` : null);
    this.apply.disabled = !passes || !this.isChanged;
    this.probe.disabled = !this.isChanged;
    this.revert.disabled = !this.isChanged;
  }

  /** What a probe of the changed providers says in a line; the findings say which and why. */
  #credentials(findings) {
    const count = (code) => findings.filter((one) => one.code === code).length;
    const [refused, unusable, unchecked] = ["credential-refused", "probe-refused", "credential-not-checked"].map(count);
    const told = [refused && `${refused} refused`, unusable && `${unusable} cannot be used as configured`, unchecked && `${unchecked} could not be checked`].filter(Boolean).join(", ");
    return told ? `credentials of the changed providers: ${told}` : "the changed providers took their credentials";
  }

  #finding(one) {
    const target = one.suggestion && this.editor.target(one);
    return h("li", { class: one.severity },
      h("button", { type: "button", class: "finding", onclick: () => this.editor.goTo(one) },
        h("span", { class: "finding-at" }, badge(one.severity), ` line ${one.line}, column ${one.column}`), h("span", {}, prose(one.detail))),
      one.suggestion ? h("p", { class: "suggestion" }, "Did you mean ", h("code", {}, one.suggestion), "? ",
        target ? h("button", { type: "button", class: "small-button", onclick: () => this.editor.replace(target, one.suggestion) }, "Use it") : null) : null);
  }

  async #revert() {
    const sure = await confirm({ title: "Discard the changes?", text: "The editor shows the live document again.", submit: "Discard", danger: true });
    if (!sure) return;
    this.editor.text = this.#live.text;
    this.note.value = "";
    await this.#again();
  }

  /** Begins again from what is live now. Returns whether that is shown. */
  async #again() {
    let isShown = false;
    put(this.trouble);
    await attempt(this.trouble, async () => {
      isShown = await this.load();
    }, "Reading the live document");
    await this.check();
    return isShown;
  }

  async #confirmApply() {
    const text = this.editor.text;
    put(this.trouble);
    const review = await busy(this.apply, () => this.check(), "Checking…");
    // What is applied is what was shown: neither a text that was checked before, nor one typed since.
    if (!review?.passes || this.editor.text !== text) return;
    await ask({
      title: "Apply this document?",
      text: "It goes live at once, as a new revision. Calls under way finish with the document that they started with.",
      fields: [diffView(review.diff, "None: the text is the live document.")], submit: "Apply",
      run: () => this.#put(text),
    });
  }

  async #put(text) {
    try {
      const { headers } = await call("PUT", PATH, { toml: text, query: { note: this.note.value.trim() }, headers: { "If-Match": this.#live.etag } });
      this.#live = { text, etag: headers.get("ETag") };
    } catch (error) {
      if (error.status !== 412) throw error;
      // The question closes first; the next one is about what happened meanwhile.
      setTimeout(() => attempt(this.trouble, () => this.#meet(), "Reading what changed meanwhile"));
      return;
    }
    this.note.value = "";
    await this.#again();
    say("Applied: the document is live.", "good");
  }

  /** Somebody else was first: shows what they did, and asks what to do with this text. */
  async #meet() {
    const [live, { revisions: newest }] = await Promise.all([this.#readLive(), get(`${PATH}/revisions`, {}, this.signal)]);
    const base = this.#base;
    const reload = await ask({
      title: "Somebody else was first",
      text: ["The live document has changed since you began, so nothing was applied. This is what changed:"],
      fields: [
        ...newest.filter((one) => one.revision > base).reverse().map((one) => changeOf(one, this.signal)),
        h("p", {}, "Keep your text to go on from theirs: the editor keeps what you wrote, and the difference then shows what applying it would change in their document."),
      ],
      submit: "Load theirs, drop mine", danger: true, cancel: "Keep my text", run: async () => {},
    });
    this.#live = live;
    if (reload) this.editor.text = live.text;
    this.revisions.load();
    await this.check();
    this.editor.input.focus();
  }
}
