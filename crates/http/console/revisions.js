/** The history of the live document: who changed what, and going back. */

import { call, get } from "./api.js";
import { badge, busy, empty, field, h, json, put, say } from "./dom.js";
import { ask } from "./dialog.js";
import { diffView } from "./diff.js";
import { attempt } from "./problem.js";
import { older, onDemand } from "./reading.js";
import { moment } from "./time.js";

const PATH = "admin/config/revisions";

/**
 * @param {{ signal: AbortSignal, isChanged: () => boolean, restored: () => Promise<void>,
 *   seen: (configuration: any) => void }} desk `seen` gets how the configuration stands
 */
export function revisions({ signal, isChanged, restored, seen }) {
  const trouble = h("div", {});
  const list = h("ol", { class: "revisions" });
  const more = older("Older revisions", (cursor) => read(cursor));
  const element = h("section", { "aria-labelledby": "revisions" }, h("h2", { id: "revisions" }, "Revisions"), trouble, list, more.element);

  let isRead = false;
  let isEmpty = true;
  let next = null;
  /** Counts how often the list was begun: what was to follow an earlier beginning is dropped. */
  let turns = 0;
  const read = async (cursor) => {
    const turn = cursor ? turns : ++turns;
    put(trouble);
    await attempt(trouble, async () => {
      const page = await get(PATH, { cursor, limit: 20 }, signal);
      if (turn !== turns) return;
      seen(page);
      const items = page.revisions.map((one) => item(one, one.revision === page.live));
      if (cursor) list.append(...items);
      else {
        isEmpty = !items.length;
        put(list, isEmpty ? h("li", {}, empty("No revision is kept yet.")) : items);
      }
      ({ next_cursor: next } = page);
      isRead = true;
    }, "Reading the revisions");
    return next;
  };

  const load = async () => {
    isRead = false;
    await read(undefined);
    if (isRead && !isEmpty) more.show(next);
  };

  const item = (one, isLive) => {
    const diff = one.diff === null ? laterDiff(one.revision, signal, LONG)
      : h("details", {}, h("summary", {}, "What it changed"), diffView(one.diff, UNCHANGED));
    const whole = onDemand("The whole document", async () => json((await get(`${PATH}/${one.revision}`, {}, signal)).document));
    const back = isLive ? null : h("button", { type: "button", class: "small-button", onclick: () => restore(one, back) }, `Restore ${one.revision}`);
    return h("li", { class: isLive ? "live" : null },
      h("div", { class: "event-head" }, h("strong", {}, `Revision ${one.revision}`), isLive ? badge("live") : null,
        h("span", { class: "muted" }, moment(one.created_at)), h("span", { class: "muted" }, by(one)),
        one.note ? h("span", { class: "grow" }, one.note) : h("span", { class: "grow" }), back),
      diff, whole);
  };

  const restore = (one, button) => attempt(trouble, async () => {
    put(trouble);
    const what = await busy(button, () => review(one), "Reading…");
    if (!what) return;
    const note = h("input", { name: "note", maxlength: "256", autocomplete: "off" });
    await ask({
      title: `Restore revision ${one.revision}?`,
      text: ["Its document passes the gate again and goes live as a new revision. Nothing is lost: the present one stays in the list.",
        isChanged() ? h("strong", {}, "The changes in the editor are dropped.") : null],
      fields: [diffView(what.diff, "It equals the live document: nothing changes."), field("Note", note)],
      submit: "Restore", danger: isChanged(),
      run: async (form) => {
        await call("POST", `${PATH}/${one.revision}/restore`, { query: { note: form.get("note").trim() }, headers: { "If-Match": what.etag } });
        say(`Revision ${one.revision} is restored.`, "good");
        await restored();
      },
    });
  }, `Reading revision ${one.revision}`);

  /** What restoring it would change, and in which document. */
  const review = async (one) => {
    const { document: toml } = await get(`${PATH}/${one.revision}`, {}, signal);
    // Before the check, so that nothing goes unseen between the two.
    const { headers } = await call("GET", "admin/config", { signal });
    const { data } = await call("POST", "admin/config/check", { toml, signal });
    return { diff: data.diff, etag: headers.get("ETag") };
  };

  return { element, load, isRead: () => isRead };
}

const LONG = "What it changed (long, so it is read when you open it)";
const UNCHANGED = "It changed nothing.";

/** What a revision changed, read when somebody opens it: a list leaves out what takes long to find. */
export function laterDiff(revision, signal, summary = "What it changed") {
  return onDemand(summary, async () => diffView((await get(`${PATH}/${encodeURIComponent(revision)}`, {}, signal)).diff, UNCHANGED));
}

const SOURCES = { file: "from the file", api: "through the API", restore: "as a restore", cli: "in the database itself" };

/** By which way a change came, and of which revision a restore is, if that is known. */
export function wayOf(source, restored) {
  return `${SOURCES[source] ?? source}${restored ? ` of revision ${restored}` : ""}`;
}

/** Whose it is, as far as that is known, and from where. */
function by({ actor, source, restored }) {
  // A key's id is long, and its name is what people know; the record of changes shows both.
  const name = /^key_\w+ \((.*)\)$/.exec(actor ?? "")?.[1] ?? actor;
  return `${name && name !== source ? `by ${name}, ` : ""}${wayOf(source, restored)}`;
}

/** Who made a revision, and what it changed. */
export function changeOf(one, signal) {
  return h("div", {}, h("p", { class: "event-head" }, h("strong", {}, `Revision ${one.revision}`),
    h("span", { class: "muted" }, moment(one.created_at), " ", by(one)), one.note),
  one.diff === null ? laterDiff(one.revision, signal, LONG) : diffView(one.diff));
}
