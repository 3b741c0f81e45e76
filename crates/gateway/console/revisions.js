/** The history of the live document: who changed what, and going back. */

import { call, get } from "./api.js";
import { badge, empty, field, h, json, put, say } from "./dom.js";
import { ask } from "./dialog.js";
import { diffView } from "./diff.js";
import { attempt } from "./problem.js";
import { ago } from "./time.js";

const PATH = "admin/config/revisions";

/**
 * @param {{ signal: AbortSignal, isChanged: () => boolean, restored: () => Promise<void>,
 *   seen: (configuration: any) => void }} desk `seen` gets how the configuration stands
 */
export function revisions({ signal, isChanged, restored, seen }) {
  const trouble = h("div", {});
  const list = h("ol", { class: "revisions" });
  const more = h("div", { class: "pager" });
  const element = h("section", { "aria-labelledby": "revisions" }, h("h2", { id: "revisions" }, "Revisions"), trouble, list, more);

  const read = async (cursor) => {
    put(trouble);
    await attempt(trouble, async () => {
      const page = await get(PATH, { cursor, limit: 20 }, signal);
      seen(page);
      const items = page.revisions.map((one) => item(one, one.revision === page.live));
      if (cursor) list.append(...items);
      else put(list, items.length ? items : empty("No revision is kept yet."));
      put(more, page.next_cursor ? h("button", { type: "button", onclick: () => read(page.next_cursor) }, "Older revisions") : null);
    }, "Reading the revisions");
  };

  const item = (one, isLive) => {
    const place = h("div", {});
    const diff = h("details", {}, h("summary", {}, "What it changed"), diffView(one.diff, "It changed nothing."));
    const whole = h("details", { ontoggle: () => whole.open && !place.hasChildNodes() && attempt(place, async () => {
      put(place, json((await get(`${PATH}/${one.revision}`, {}, signal)).document));
    }) }, h("summary", {}, "The whole document"), place);
    return h("li", { class: isLive ? "live" : null },
      h("div", { class: "event-head" }, h("strong", {}, `Revision ${one.revision}`), isLive ? badge("live") : null,
        h("span", { class: "muted" }, ago(one.created_at)), h("span", { class: "muted" }, by(one)),
        one.note ? h("span", { class: "grow" }, one.note) : h("span", { class: "grow" }),
        isLive ? null : h("button", { type: "button", class: "small-button", onclick: () => restore(one) }, `Restore ${one.revision}`)),
      diff, whole);
  };

  const restore = (one) => attempt(trouble, async () => {
    const { document: toml } = await get(`${PATH}/${one.revision}`, {}, signal);
    // Before the review, so that nothing goes unseen between the two.
    const { headers } = await call("GET", "admin/config", { signal });
    const { data: review } = await call("POST", "admin/config/check", { toml, signal });
    const note = h("input", { name: "note", maxlength: "256", autocomplete: "off" });
    await ask({
      title: `Restore revision ${one.revision}?`,
      text: ["Its document passes the gate again and goes live as a new revision. Nothing is lost: the present one stays in the list.",
        isChanged() ? h("strong", {}, "The changes in the editor are dropped.") : null],
      fields: [diffView(review.diff, "It equals the live document: nothing changes."), field("Note", note)],
      submit: "Restore", danger: isChanged(),
      run: async (form) => {
        await call("POST", `${PATH}/${one.revision}/restore`, { query: { note: form.get("note").trim() }, headers: { "If-Match": headers.get("ETag") } });
        say(`Revision ${one.revision} is restored.`, "good");
        await restored();
      },
    });
  }, `Reading revision ${one.revision}`);

  return { element, load: () => read(undefined) };
}

const SOURCES = { file: "from the file", api: "through the API", restore: "as a restore" };

/** Whose it is, as far as that is known, and from where. */
function by({ actor, source }) {
  // A key's id is long, and its name is what people know; the record of changes shows both.
  const name = /^key_\w+ \((.*)\)$/.exec(actor ?? "")?.[1] ?? actor;
  return `${name && name !== source ? `by ${name}, ` : ""}${SOURCES[source] ?? source}`;
}

/** Who made a revision, and what it changed. */
export function changeOf(one) {
  return h("div", {}, h("p", { class: "event-head" }, h("strong", {}, `Revision ${one.revision}`),
    h("span", { class: "muted" }, ago(one.created_at), " ", by(one)), one.note), diffView(one.diff));
}
