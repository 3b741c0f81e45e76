/**
 * Questions before something is done. Escape, "Cancel" and leaving the page close them without a
 * trace; but none is closed while what it asked for is being done, nor one that shows what cannot be
 * shown again: those are held.
 */

import { busy, h, put } from "./dom.js";
import { attempt } from "./problem.js";

/**
 * Asks, does, and closes; while it fails it stays open and shows why.
 * @param {{ title: string, text?: any, fields?: any, submit: string, doing?: string, danger?: boolean,
 *   run: (form: FormData, event: SubmitEvent) => Promise<void>, cancel?: string }} what `doing` is
 *   what the button says meanwhile
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ title, text, fields = [], submit, doing = "Working…", danger = false, run, cancel = "Cancel" }) {
  return new Promise((resolve) => {
    let done = false;
    const trouble = h("div", {});
    const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
    const leave = h("button", { type: "button", onclick: () => dialog.close() }, cancel);
    const act = async (event) => {
      put(trouble);
      dialog.dataset.held = "running";
      leave.disabled = true;
      done = await attempt(trouble, () => run(new FormData(form), event));
      leave.disabled = false;
      delete dialog.dataset.held;
      if (done) dialog.close();
      else trouble.scrollIntoView({ block: "nearest" });
    };
    const form = h("form", {
      onsubmit: (event) => {
        event.preventDefault();
        busy(go, () => act(event), doing);
      },
    },
    h("h2", { id: "dialog-title" }, title),
    (Array.isArray(text) ? text : [text]).map((part) => part && h("p", {}, part)),
    fields, trouble, h("div", { class: "actions end" }, leave, go));
    const dialog = open(form, () => resolve(done));
  });
}

/** A yes or no without anything that could fail. */
export function confirm({ title, text, submit, danger, cancel }) {
  return ask({ title, text, submit, danger, cancel, run: async () => {} });
}

/** Shows what cannot be shown again; only its button closes it. */
export function show(title, content, close) {
  return new Promise((resolve) => {
    const leave = () => {
      delete dialog.dataset.held;
      dialog.close();
    };
    const dialog = open(h("div", {}, h("h2", { id: "dialog-title" }, title), content,
      h("div", { class: "actions end" }, h("button", { type: "button", class: "primary", onclick: leave }, close))), resolve);
    dialog.dataset.held = "shown once";
  });
}

/** Shows a secret that is shown once, with a way to copy it; the hint says what to do with it. */
export function showSecret({ title, label, secret, hint }) {
  const input = h("input", { class: "secret", readonly: true, value: secret, "aria-label": label, onfocus: () => input.select() });
  const copied = h("span", { role: "status", class: "muted" });
  const copy = h("button", { type: "button", onclick: async () => {
    input.select();
    try {
      await navigator.clipboard.writeText(secret);
      put(copied, "Copied.");
    } catch {
      put(copied, "This browser does not allow it; it is selected, copy it by hand.");
    }
  } }, "Copy");
  return show(title, h("div", {},
    h("div", { class: "notice warn" }, h("p", {}, hint)),
    h("div", { class: "secret-row" }, input, copy), copied), "I have stored it");
}

/** Whether a dialog is open that must not be left. */
export function isHeld() {
  return document.querySelector("dialog[data-held]") !== null;
}

/** Closes what may be left; `all` but what is shown once. */
export function closeDialogs({ all = false } = {}) {
  for (const dialog of document.querySelectorAll("dialog")) {
    if (all && dialog.dataset.held === "running") delete dialog.dataset.held;
    if (!dialog.dataset.held) dialog.close();
  }
}

function open(content, closed) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, content);
  const hold = (event) => {
    if (dialog.dataset.held) event.preventDefault();
  };
  dialog.addEventListener("keydown", (event) => event.key === "Escape" && hold(event));
  dialog.addEventListener("cancel", hold);
  dialog.addEventListener("close", () => {
    // A browser may close it at a second wish to, whatever the page says to the first.
    if (dialog.dataset.held) return dialog.showModal();
    dialog.remove();
    // The browser gives the focus back to what opened it, which what was done may have replaced.
    if (document.activeElement === document.body) document.querySelector("main h1")?.focus({ preventScroll: true });
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
