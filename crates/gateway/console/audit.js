/** Every change that an administrator made. */

import { get } from "./api.js";
import { code, empty, h, put, words } from "./dom.js";
import { attempt } from "./problem.js";
import { moment } from "./time.js";

export const title = () => "Audit";

export async function open({ root, signal }) {
  const trouble = h("div", {});
  const list = h("ol", { class: "timeline" });
  const more = h("div", { class: "pager" });
  const read = (cursor) => attempt(trouble, async () => {
    const page = await get("admin/audit", { cursor }, signal);
    put(trouble);
    list.append(...page.entries.map(entry));
    if (!list.hasChildNodes()) put(more, empty("No administrator has changed anything yet.", "Changes of the configuration, of keys, and of invites by hand are written down here."));
    else put(more, page.next_cursor ? h("button", { type: "button", onclick: () => read(page.next_cursor) }, "Older entries") : h("span", { class: "muted" }, "That is all."));
  });
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Audit"), h("p", { class: "muted" }, "Newest first; nothing here can be changed.")),
    trouble, list, more);
  await read(undefined);
}

const SOURCES = { api: "through the API", restore: "as a restore", file: "from the file", cli: "in the database itself" };

function entry(one) {
  return h("li", { class: "event" },
    h("div", { class: "event-head" }, h("strong", {}, words(one.action)), one.target ? code(one.target) : null,
      h("span", { class: "muted" }, one.actor !== one.source ? `by ${one.actor}, ` : null, SOURCES[one.source] ?? one.source), h("span", { class: "muted" }, moment(one.at))),
    one.note ? h("p", {}, one.note) : null, change(one.before, one.after));
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
