/** Editing the live provider document: what the gate finds, what would change, and applying it. */

import { call, get, isAbort } from "./api.js";
import { badge, field, h, prose, put, say } from "./dom.js";
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

  constructor(page) {
    this.signal = page.signal;
    page.unsaved = () => this.isChanged;
    this.notices = h("div", {});
    this.hint = h("div", {});
    this.trouble = h("div", {});
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
    this.probe = h("button", { type: "button", onclick: () => this.check({ probe: true }) }, "Probe changed providers");
    this.revert = h("button", { type: "button", onclick: () => this.#revert() }, "Discard changes");
    this.apply = h("button", { type: "submit", class: "primary" }, "Apply…");
    const bar = h("form", { class: "apply", onsubmit: (event) => {
      event.preventDefault();
      this.#confirmApply();
    } }, field("Note", this.note), h("div", { class: "actions" }, this.apply, this.probe, this.revert));
    return h("div", { class: "document" }, this.notices, this.hint,
      h("div", { class: "desk" },
        h("div", { class: "desk-editor" }, this.editor.element,
          h("p", { class: "small muted", id: "editor-help" }, "Checked as you type; nothing is live before you apply it. Secrets are references: ",
            h("code", {}, "{ env = \"NAME\" }"), " or ", h("code", {}, "{ file = \"PATH\" }"), ".")),
        h("aside", { class: "desk-side", "aria-label": "What the gate says" },
          h("h2", { class: "unseen" }, "What the gate says"), this.verdict, this.findings, this.trouble, bar)),
      h("section", { "aria-labelledby": "diff" }, h("h2", { id: "diff" }, "Change against the live document"), this.changed, this.diff),
      this.revisions.element);
  }

  /** Reads the live document into the editor. */
  async load() {
    this.#live = await this.#readLive();
    this.editor.text = this.#live.text;
    await Promise.all([this.revisions.load(), this.#drawHint()]);
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
      await this.#again();
      say(`Revision ${configuration.live} went live meanwhile and is shown.`);
    } else this.#seen(configuration);
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

  async #drawHint() {
    const isEmpty = !/^\s*[^#\s]/m.test(this.editor.text);
    if (isEmpty === this.hint.hasChildNodes()) return;
    put(this.hint, isEmpty ? await startingHint(this.editor, this.signal) : null);
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
    put(this.trouble);
    try {
      const query = probe ? { probe: "true" } : {};
      const { data } = await call("POST", `${PATH}/check`, { toml: this.editor.text, query, signal });
      this.#drawCheck(data, probe);
      return data;
    } catch (error) {
      if (isAbort(error)) return undefined;
      put(this.verdict, badge("not checked", "warn"));
      put(this.trouble, problemView(error, "The document could not be checked"));
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
      probed && passes ? "; the changed providers took their credentials" : "");
    put(this.findings, findings.length ? h("ol", { class: "findings" }, findings.map((one) => this.#finding(one))) : null);
    put(this.diff, diffView(diff, "None: the text is the live document."));
    put(this.changed, changed.length ? `Providers that change: ${changed.join(", ")}` : null);
    this.apply.disabled = !passes || !this.isChanged;
    this.probe.disabled = !this.isChanged;
    this.revert.disabled = !this.isChanged;
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
    if (sure) await this.#again();
  }

  /** Begins again from what is live now. */
  async #again() {
    put(this.trouble);
    await attempt(this.trouble, () => this.load(), "Reading the live document");
    await this.check();
  }

  async #confirmApply() {
    const text = this.editor.text;
    const review = await this.check();
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
      await call("PUT", PATH, { toml: text, query: { note: this.note.value.trim() }, headers: { "If-Match": this.#live.etag } });
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
    const mine = this.editor.text;
    const base = this.#base;
    const reload = await ask({
      title: "Somebody else was first",
      text: ["The live document has changed since you began, so nothing was applied. This is what changed:"],
      fields: [
        ...newest.filter((one) => one.revision > base).reverse().map(changeOf),
        h("p", {}, "Keep your text to go on from theirs: the editor keeps what you wrote, and the difference then shows what applying it would change in their document."),
      ],
      submit: "Load theirs, drop mine", danger: true, cancel: "Keep my text", run: async () => {},
    });
    this.#live = live;
    this.editor.text = reload ? live.text : mine;
    this.revisions.load();
    await this.check();
    this.editor.input.focus();
  }
}
