/** Every change that an administrator made. */

import { get } from "./api.js";
import { code, empty, h, put, redraw, words } from "./dom.js";
import { older, reading } from "./reading.js";
import { laterDiff, wayOf } from "./revisions.js";
import { moment } from "./time.js";

export const title = () => "Audit";

export async function open({ root, signal }) {
  const list = h("ol", { class: "timeline" });
  const entry = (one) => h("li", { class: "event" }, headOf(one), one.note ? h("p", {}, one.note) : null,
    one.action === "config.revise" ? laterDiff(one.target, signal) : change(one.before, one.after));
  const more = older("Older entries", async (cursor) => {
    const newest = list.firstChild;
    const page = await get("admin/audit", { cursor }, signal);
    // Unless the list was begun anew meanwhile.
    if (list.firstChild !== newest) return following;
    list.append(...page.entries.map(entry));
    return page.next_cursor;
  });
  let following = null;
  const state = reading({ root, signal, read: async () => {
    const page = await get("admin/audit", {}, signal);
    if (!redraw(list, page.entries, (entries) => entries.map(entry))) return;
    following = page.next_cursor;
    if (page.entries.length) more.show(following);
    else put(list, h("li", {}, empty("No administrator has changed anything yet.", "Changes of the configuration, of keys, and of invites by hand are written down here.")));
  } });
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Audit"), h("p", { class: "muted" }, "Newest first; nothing here can be changed."), state.element),
    list, more.element);
  await state.first;
}

function headOf(one) {
  return h("div", { class: "event-head" }, h("strong", {}, words(one.action)), one.target ? targetOf(one) : null,
    h("span", { class: "muted" }, one.actor !== one.source ? `by ${one.actor}, ` : null, wayOf(one.source, one.after?.restored)), h("span", { class: "muted" }, moment(one.at)));
}

/** What was changed, as a way to it where the console has a page for it. */
function targetOf({ action, target }) {
  if (action === "config.revise") return `revision ${target}`;
  if (action === "config.check" || action === "config.refuse") return `while revision ${target} was live`;
  if (target.startsWith("inv_")) return h("a", { href: `#/invites/${encodeURIComponent(target)}` }, code(target));
  if (target.startsWith("act_")) return h("a", { href: `#/actions/${encodeURIComponent(target)}` }, code(target));
  return code(target);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Before and after: member by member where both have members, else as a whole. */
function change(before, after) {
  const [from, to] = [before ?? null, after ?? null];
  if (from === null && to === null) return null;
  if (!isObject(from ?? {}) || !isObject(to ?? {})) return comparison([["", from, to]], from, to);
  const members = [...new Set([...Object.keys(from ?? {}), ...Object.keys(to ?? {})])];
  const rows = members.map((name) => [name, from?.[name] ?? null, to?.[name] ?? null]);
  const changed = rows.filter(([, old, now]) => JSON.stringify(old) !== JSON.stringify(now));
  return changed.length ? comparison(changed, from, to) : h("p", { class: "muted" }, "Nothing differs.");
}

/** What was made has no before, what was removed no after. */
function comparison(rows, from, to) {
  const sides = [["Before", from, 1], ["After", to, 2]].filter(([, side]) => side !== null);
  return h("table", { class: "change" },
    h("caption", { class: "unseen" }, "What changed"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Member"), sides.map(([label]) => h("th", { scope: "col" }, label)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, words(row[0])), sides.map(([, , at]) => h("td", {}, shown(row[at])))))));
}

function shown(value) {
  if (value === null) return h("span", { class: "muted" }, "–");
  if (typeof value === "string" && value.includes("\n")) return h("pre", { tabindex: "0" }, value);
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.join(", ") || "none";
  return typeof value === "object" ? h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2)) : String(value);
}
