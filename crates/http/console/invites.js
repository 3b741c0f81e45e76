/** Searching invites. The filters and the page stand in the address, so that a search can be kept. */

import { actOnAll } from "./action-start.js";
import { get, lacks, REFUSED } from "./api.js";
import { badge, busy, check, empty, ERASED, field, h, put, redraw, table, words, write } from "./dom.js";
import { reading } from "./reading.js";
import { stamp, ZONE } from "./time.js";

const STATUSES = ["queued", "sending", "unknown", "awaiting_approval", "pending", "sent", "accepted", "declined",
  "expired", "revoked", "failed"];
const TEXTS = ["email", "external_id", "provider", "label", "batch_id", "tenant"];
const TIMES = ["created_after", "created_before", "updated_after"];
const RARE = ["label", "error_code", "batch_id", "tenant", ...TIMES];
const PAGE = 50;

export const title = () => "Invites";

export async function open({ root, query, signal }) {
  const results = h("section", { "aria-label": "Found invites" });
  const count = h("p", { class: "muted", role: "status" });
  const doable = h("div", { class: "actions" });
  let isAny = false;
  const offer = () => redraw(doable, [isAny, lacks("invites:write")], () => (isAny ? actOnAll(query) : null));
  const asked = new URLSearchParams(query);
  asked.set("limit", PAGE);
  const state = reading({ root, signal, waiting: "Searching…", read: async () => {
    const page = await get("invites", asked, signal);
    redraw(results, page, () => found(page, query));
    write(count, counted(page, query));
    isAny = page.invites.length > 0;
    offer();
  } });
  // What the key was refused is not offered again.
  window.addEventListener(REFUSED, offer, { signal });
  const form = filters(query, state.again);
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Invites"), count, state.element), form, doable, results);
  offerProviders(form, query, signal);
  await state.first;
}

/** A search for what is shown already is a wish to read it anew: `again`. */
function filters(query, again) {
  const text = (name, more = {}) => h("input", { name, value: query.get(name) ?? "", autocomplete: "off", spellcheck: "false", ...more });
  const time = (label, name) => field(label, h("input", { name, type: "datetime-local", value: local(query.get(name)) }), `Your time (${ZONE}).`);
  const go = h("button", { type: "submit", class: "primary" }, "Search");
  const submit = (event) => {
    event.preventDefault();
    const wanted = addressOf(new FormData(event.target));
    if (wanted === (location.hash || "#/invites")) return busy(go, again, "Searching…");
    location.hash = wanted;
  };
  const chosen = query.getAll("status");
  const isRare = RARE.some((name) => query.has(name));
  return h("form", { class: "filters", role: "search", onsubmit: submit },
    h("div", { class: "filter-row" },
      field("Email", text("email", { inputmode: "email", autocapitalize: "off" })),
      field("External id", text("external_id")),
      field("Provider", h("select", { name: "provider" }, h("option", { value: "" }, "any"),
        query.get("provider") ? h("option", { value: query.get("provider"), selected: true }, query.get("provider")) : null))),
    h("fieldset", { class: "chips" }, h("legend", {}, "Status"),
      STATUSES.map((status) => check(words(status), { name: "status", value: status, checked: chosen.includes(status) }, "chip"))),
    h("details", { open: isRare }, h("summary", {}, "More filters"),
      h("div", { class: "filter-row" },
        field("Label", text("label", { placeholder: "key:value", pattern: "[^:]+:.*" })), field("Error codes", text("error_code", { placeholder: "given-up", value: query.getAll("error_code").join(" ") })),
        field("Batch", text("batch_id", { placeholder: "bat_…" })), field("Tenant", text("tenant")), time("Created after", "created_after"),
        time("Created before", "created_before"), time("Updated after", "updated_after"))),
    h("div", { class: "actions" }, go,
      query.size ? h("a", { class: "button", href: "#/invites" }, "Clear") : null));
}

/** The providers' names, once they are known; a key that may not read them can still search. */
async function offerProviders(form, query, signal) {
  if (lacks("providers:read")) return;
  try {
    const { providers } = await get("providers", {}, signal);
    const select = form.elements.provider;
    for (const { name } of providers) {
      if (name !== query.get("provider")) select.append(h("option", { value: name }, name));
    }
  } catch {
    // The name in the address is enough, and the list of invites says what is wrong.
  }
}

/** The address of a search. */
function addressOf(given) {
  const query = new URLSearchParams();
  for (const name of TEXTS) {
    const value = given.get(name).trim();
    if (value) query.set(name, value);
  }
  for (const word of given.get("error_code").split(/[\s,]+/).filter(Boolean)) query.append("error_code", word);
  for (const name of TIMES) if (given.get(name)) query.set(name, new Date(given.get(name)).toISOString());
  for (const status of given.getAll("status")) query.append("status", status);
  return query.size ? `#/invites?${query}` : "#/invites";
}

/** A time in UTC as the reader's clock shows it, for an input. */
function local(text) {
  const at = Date.parse(text ?? "");
  if (Number.isNaN(at)) return "";
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The whole is not counted: that would read every invite. */
function counted({ invites, next_cursor: next }, query) {
  if (query.has("cursor")) return next ? `${invites.length} more, newest first` : `the last ${invites.length}`;
  return next ? `the newest ${invites.length}` : `${invites.length} in all`;
}

const COLUMNS = [
  { label: "To", class: "grow", cell: (one) => [
    h("a", { class: "row-link", href: `#/invites/${encodeURIComponent(one.id)}` }, one.email ?? ERASED),
    [one.first_name, one.last_name].some(Boolean)
      ? h("span", { class: "sub" }, [one.first_name, one.last_name].filter(Boolean).join(" ")) : null] },
  { label: "Provider", class: "name", cell: (one) => one.provider ?? h("span", { class: "muted" }, "none") },
  { label: "Status", cell: (one) => [badge(one.status), one.error ? h("span", { class: "sub" }, one.error.title) : null] },
  { label: "External id", class: "wide", cell: (one) => (one.external_id ? h("span", { class: "clamp", title: one.external_id }, one.external_id)
    : h("span", { class: "muted" }, "–")) },
  { label: "Calls", class: "number", cell: (one) => one.attempt_count },
  { label: "Updated", class: "time", cell: (one) => stamp(one.updated_at) },
  { label: "Created", class: "time", cell: (one) => stamp(one.created_at) },
];

/** Those that are set aside because their rows cannot be read. */
function lost(unreadable) {
  const one = ({ id, column, status }) => h("li", {}, h("code", {}, id), ` (${status ?? "status not known"}): its column `,
    h("code", {}, column), " cannot be read");
  return h("div", { class: "notice warn" }, h("p", {}, "Set aside, because the database cannot tell what they are:"),
    h("ul", {}, unreadable.map(one)));
}

function found({ invites, unreadable = [], next_cursor: next }, query) {
  if (!invites.length && !unreadable.length) {
    const isFiltered = [...query.keys()].some((name) => name !== "cursor");
    return isFiltered
      ? empty("No invite matches.", "Addresses match as a whole, whatever their case. Take a filter away to see more.")
      : empty("There are no invites yet.", ["Send the first with ", h("code", {}, "POST /v1/invites"), "; the ",
        h("a", { href: "../docs/", target: "_blank", rel: "noopener" }, "API reference"), " shows how."]);
  }
  const to = (cursor) => {
    const other = new URLSearchParams(query);
    other.delete("cursor");
    if (cursor) other.set("cursor", cursor);
    return `#/invites${other.size ? `?${other}` : ""}`;
  };
  return [
    unreadable.length ? lost(unreadable) : null,
    table({ caption: "Invites, newest first", columns: COLUMNS, rows: invites }),
    h("nav", { class: "pager", "aria-label": "Pages of invites" },
      query.has("cursor") ? h("a", { class: "button", href: to(null) }, "Newest") : null,
      next ? h("a", { class: "button", href: to(next) }, "Older") : null)];
}
