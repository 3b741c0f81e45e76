/** Questions before something is done. Escape and "Cancel" close them without a trace. */

import { h, put } from "./dom.js";
import { attempt } from "./problem.js";

/**
 * Asks, does, and closes; while it fails it stays open and shows why.
 * @param {{ title: string, text?: any, fields?: Node[], submit: string, danger?: boolean,
 *   run: (form: FormData, event: SubmitEvent) => Promise<void>, cancel?: string }} what
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ title, text, fields = [], submit, danger = false, run, cancel = "Cancel" }) {
  return new Promise((resolve) => {
    let done = false;
    const trouble = h("div", {});
    const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
    const form = h("form", {
      novalidate: false,
      onsubmit: async (event) => {
        event.preventDefault();
        go.disabled = true;
        put(trouble);
        done = await attempt(trouble, () => run(new FormData(form), event));
        go.disabled = false;
        if (done) dialog.close();
        else {
          trouble.scrollIntoView({ block: "nearest" });
          go.focus({ preventScroll: true });
        }
      },
    },
    h("h2", { id: "dialog-title" }, title),
    (Array.isArray(text) ? text : [text]).map((part) => part && h("p", {}, part)),
    fields, trouble,
    h("div", { class: "actions end" },
      h("button", { type: "button", onclick: () => dialog.close() }, cancel), go));
    const dialog = open(form, "dialog-title", () => resolve(done));
  });
}

/** A yes or no without anything that could fail. */
export function confirm({ title, text, submit, danger, cancel }) {
  return ask({ title, text, submit, danger, cancel, run: async () => {} });
}

/** Shows content with a button to close it. */
export function show(title, content, { close = "Close" } = {}) {
  return new Promise((resolve) => {
    const dialog = open(h("div", {}, h("h2", { id: "dialog-title" }, title), content,
      h("div", { class: "actions end" },
        h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, close))),
    "dialog-title", resolve);
  });
}

function open(content, label, closed) {
  const dialog = h("dialog", { "aria-labelledby": label }, content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    // The browser gives the focus back to what opened it, which what was done may have replaced.
    if (document.activeElement === document.body) document.querySelector("main h1")?.focus({ preventScroll: true });
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
