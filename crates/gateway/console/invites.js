/** Searching invites. The filters and the page stand in the address, so that a search can be kept. */

import { get } from "./api.js";
import { badge, check, empty, field, h, put, table, words } from "./dom.js";
import { problemView } from "./problem.js";
import { ago } from "./time.js";

const STATUSES = ["queued", "sending", "unknown", "awaiting_approval", "pending", "sent", "accepted", "declined",
  "expired", "revoked", "failed"];
const TEXTS = ["email", "external_id", "provider", "label", "batch_id", "tenant"];
const TIMES = ["created_after", "created_before", "updated_after"];
const RARE = ["label", "batch_id", "tenant", ...TIMES];
const PAGE = 50;

export const title = () => "Invites";

export async function open({ root, query, signal }) {
  const results = h("section", { "aria-label": "Found invites", "aria-busy": "true" }, h("p", { class: "muted" }, "Searching…"));
  const form = filters(query);
  const count = h("p", { class: "muted", role: "status" });
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Invites"), count), form, results);
  offerProviders(form, query, signal);
  try {
    const asked = new URLSearchParams(query);
    asked.set("limit", PAGE);
    const page = await get("invites", asked, signal);
    put(results, found(page, query));
    put(count, counted(page, query));
  } catch (error) {
    if (signal.aborted) return;
    put(results, problemView(error));
  }
  results.setAttribute("aria-busy", "false");
}

function filters(query) {
  const text = (name, more = {}) => h("input", { name, value: query.get(name) ?? "", autocomplete: "off", spellcheck: "false", ...more });
  const time = (name) => h("input", { name, type: "datetime-local", value: local(query.get(name)) });
  const chosen = query.getAll("status");
  const isRare = RARE.some((name) => query.has(name));
  return h("form", { class: "filters", role: "search", onsubmit: search },
    h("div", { class: "filter-row" },
      field("Email", text("email", { type: "email", inputmode: "email" })),
      field("External id", text("external_id")),
      field("Provider", h("select", { name: "provider" }, h("option", { value: "" }, "any"),
        query.get("provider") ? h("option", { value: query.get("provider"), selected: true }, query.get("provider")) : null))),
    h("fieldset", { class: "chips" }, h("legend", {}, "Status"),
      STATUSES.map((status) => check(words(status), { name: "status", value: status, checked: chosen.includes(status) }, "chip"))),
    h("details", { open: isRare }, h("summary", {}, "More filters"),
      h("div", { class: "filter-row" },
        field("Label", text("label", { placeholder: "key:value", pattern: "[^:]+:.*" })), field("Batch", text("batch_id", { placeholder: "bat_…" })),
        field("Tenant", text("tenant")), field("Created after", time("created_after")),
        field("Created before", time("created_before")), field("Updated after", time("updated_after")))),
    h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Search"),
      query.size ? h("a", { class: "button", href: "#/invites" }, "Clear") : null));
}

/** The providers' names, once they are known; a key that may not read them can still search. */
async function offerProviders(form, query, signal) {
  try {
    const { providers } = await get("providers", {}, signal);
    const select = form.elements.provider;
    for (const { name } of providers) {
      if (name !== query.get("provider")) select.append(h("option", { value: name }, name));
    }
  } catch {
    // The list of invites says what is wrong.
  }
}

function search(event) {
  event.preventDefault();
  const given = new FormData(event.target);
  const query = new URLSearchParams();
  for (const name of TEXTS) {
    const value = given.get(name).trim();
    if (value) query.set(name, value);
  }
  for (const name of TIMES) if (given.get(name)) query.set(name, new Date(given.get(name)).toISOString());
  for (const status of given.getAll("status")) query.append("status", status);
  location.hash = query.size ? `#/invites?${query}` : "#/invites";
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
    h("a", { class: "row-link", href: `#/invites/${encodeURIComponent(one.id)}` }, one.email),
    [one.first_name, one.last_name].some(Boolean)
      ? h("span", { class: "sub" }, [one.first_name, one.last_name].filter(Boolean).join(" ")) : null] },
  { label: "Provider", cell: (one) => one.provider ?? h("span", { class: "muted" }, "none") },
  { label: "Status", cell: (one) => [badge(one.status), one.error ? h("span", { class: "sub" }, one.error.title) : null] },
  { label: "External id", cell: (one) => one.external_id ?? h("span", { class: "muted" }, "–") },
  { label: "Calls", class: "number", cell: (one) => one.attempt_count },
  { label: "Updated", cell: (one) => ago(one.updated_at) },
  { label: "Created", cell: (one) => ago(one.created_at) },
];

function found({ invites, next_cursor: next }, query) {
  if (!invites.length) {
    const isFiltered = [...query.keys()].some((name) => name !== "cursor");
    return isFiltered
      ? empty("No invite matches.", "Addresses match as a whole, whatever their case. Take a filter away to see more.")
      : empty("There are no invites yet.", ["Send the first with ", h("code", {}, "POST /v1/invites"), "; the ",
        h("a", { href: "../docs/" }, "API reference"), " shows how."]);
  }
  const to = (cursor) => {
    const other = new URLSearchParams(query);
    other.delete("cursor");
    if (cursor) other.set("cursor", cursor);
    return `#/invites${other.size ? `?${other}` : ""}`;
  };
  return [
    table({ caption: "Invites, newest first", columns: COLUMNS, rows: invites }),
    h("nav", { class: "pager", "aria-label": "Pages of invites" },
      query.has("cursor") ? h("a", { class: "button", href: to(null) }, "Newest") : null,
      next ? h("a", { class: "button", href: to(next) }, "Older") : null)];
}
