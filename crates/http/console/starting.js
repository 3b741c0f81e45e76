/** What to write into an empty document. */

import { get } from "./api.js";
import { code, h } from "./dom.js";

/** A hint with the kinds that this gateway knows, and a beginning of each. */
export async function startingHint(editor, signal) {
  const { kinds } = await get("provider-kinds", {}, signal);
  const begin = (kind) => {
    const text = `[providers.my-${kind}]\nkind = "${kind}"\n`;
    const { length } = editor.text;
    const gap = length && !editor.text.endsWith("\n") ? "\n" : "";
    editor.replace({ from: length, to: length }, gap + text);
  };
  return h("div", { class: "notice plain starting" },
    h("p", { class: "notice-title" }, "The document is empty: no invite can be sent"),
    h("p", {}, "A provider is a table ", code("[providers.NAME]"), " with its ", code("kind"),
      ". Begin with one; the findings then say what it still needs, line by line. Routes, ", code("[[routes]]"), ", come after."),
    h("ul", { class: "kinds" }, kinds.map(({ kind, config_schema: schema }) => h("li", {},
      h("button", { type: "button", onclick: () => begin(kind) }, `Begin with ${kind}`),
      h("span", { class: "muted" }, "needs ", needed(schema).map((name, place) => [place ? ", " : "", code(name)]))))));
}

function needed(schema) {
  return schema.required ?? [];
}
