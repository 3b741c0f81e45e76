/** API keys: who may do what. */

import { call, get } from "./api.js";
import { badge, busy, check, code, empty, field, h, put, redraw, say, table } from "./dom.js";
import { ask, showSecret } from "./dialog.js";
import { providerChips, providerNames } from "./provider-choice.js";
import { reading } from "./reading.js";
import { ago, stamp, ZONE } from "./time.js";

const SCOPES = [
  ["invites:write", "create and change invites"], ["invites:read", "read invites and batches"],
  ["invites:raw", "see what was exchanged with providers"], ["invites:codes", "see codes that let in whoever holds them"],
  ["invites:all-tenants", "see and change invites of every tenant"], ["providers:read", "read providers and metrics"],
  ["providers:act", "have providers asked whether their credentials are good"], ["config:write", "read and replace the provider document"],
  ["keys:write", "make keys that can do no more"], ["people:erase", "erase people"],
  ["webhooks:write", "have events sent to webhooks"], ["audit:read", "read who changed what"], ["admin", "all of these"],
];

export const title = () => "Keys";

export async function open({ root, signal }) {
  const list = h("div", {});
  const state = reading({ root, signal, read: async () => {
    const keys = await allKeys(signal);
    create.hidden = false;
    redraw(list, keys, () => (keys.length ? table({ caption: "API keys", columns: columns(keys, state.again), rows: keys })
      : empty("There are no keys.", "Create one for each program that calls the gateway.")));
  } });
  const create = h("button", {
    type: "button", class: "primary", hidden: true, onclick: async () => {
      const names = await busy(create, () => providerNames(signal));
      if (names && !signal.aborted) await createKey(names, state.again);
    },
  }, "Create a key…");
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Keys"), state.element, create), list);
  await state.first;
}

const LIMITS = [
  ["requests_per_second", "Requests per second", "requests/s"], ["invites_per_second", "Invites per second", "invites/s"],
  ["invites_per_day", "Invites per day", "invites/day"],
];

function limits(one) {
  const set = LIMITS.filter(([name]) => one[name] !== null);
  return set.length ? set.map(([name, , unit]) => h("span", { class: "tag" }, `${one[name].toLocaleString()} ${unit}`)) : h("span", { class: "muted" }, "none");
}

async function allKeys(signal) {
  const keys = [];
  for (let cursor; cursor !== null;) {
    const page = await get("admin/keys", cursor ? { cursor } : {}, signal);
    keys.push(...page.keys);
    cursor = page.next_cursor;
  }
  return keys;
}

const columns = (keys, again) => [
  { label: "Name", class: "grow", cell: (one) => [one.name, h("span", { class: "sub" }, code(one.id))] },
  { label: "State", cell: (one) => badge(one.state) },
  { label: "Scopes", cell: (one) => one.scopes.map((scope) => h("span", { class: "tag" }, scope)) },
  { label: "Tenant", class: "name", cell: (one) => one.tenant },
  { label: "Providers", class: "wide", cell: (one) => (one.providers ? one.providers.map((name) => h("span", { class: "tag" }, name)) : h("span", { class: "muted" }, "all")) },
  { label: "Limits", class: "wide", cell: (one) => limits(one) },
  { label: "Last use", class: "time", cell: (one) => stamp(one.last_used_at) ?? h("span", { class: "muted" }, "never") },
  { label: "Expires", class: "time", cell: (one) => stamp(one.expires_at) ?? h("span", { class: "muted" }, "never") },
  { label: "Action", class: "end", cell: (one) => (one.state === "revoked" ? null
    : h("button", { type: "button", class: "small-button danger-quiet", "aria-label": `Revoke ${one.name}`, onclick: () => revokeKey(one, keys, again) }, "Revoke…")) },
];

function revokeKey(one, keys, again) {
  const isAdmin = (key) => key.state === "active" && key.scopes.includes("admin");
  const isOwn = isAdmin(one) && keys.filter(isAdmin).length === 1;
  return ask({
    title: `Revoke the key “${one.name}”?`,
    text: ["Calls with it, and with keys that were made with it, are refused from now on. A revoked key cannot be used again.",
      one.last_used_at ? ["It was used ", ago(one.last_used_at), "."] : "It was never used.",
      isOwn ? h("strong", {}, "It is the key of this tab, and the last one with the scope admin: you are signed out, and only the command line makes another.")
        : isAdmin(one) ? "If it is the key of this tab, you are signed out." : null],
    submit: "Revoke", doing: "Revoking…", danger: true,
    run: async () => {
      await call("DELETE", `admin/keys/${encodeURIComponent(one.id)}`);
      say(`The key ${one.name} is revoked.`);
      await again();
    },
  });
}

async function createKey(names, again) {
  let made = null;
  await ask({
    title: "Create a key", submit: "Create", doing: "Creating…", fields: form(names),
    run: async (given) => {
      made = (await call("POST", "admin/keys", { body: request(given) })).data;
    },
  });
  if (!made) return;
  await Promise.all([again(), showSecret({
    title: `The key “${made.name}”`, label: "The key", secret: made.key,
    hint: "It is shown this once and kept only as a hash. Put it where its program reads it before you close this.",
  })]);
}

function form(names) {
  return [
    field("Name", h("input", { name: "name", required: true, maxlength: "100", autocomplete: "off" }), "Which program or person uses it."),
    h("fieldset", { class: "stack" }, h("legend", {}, "Scopes"), SCOPES.map(([scope, meaning]) =>
      check([code(scope), h("span", { class: "hint" }, meaning)], { name: "scopes", value: scope }))),
    field("Tenant", h("input", { name: "tenant", autocomplete: "off", placeholder: "default" }), "It sees only the invites of its tenant."),
    names.length ? providerChips(names) : null,
    h("div", { class: "filter-row" },
      LIMITS.map(([name, label]) => field(label, h("input", { name, type: "number", min: "0", step: "any", inputmode: "decimal" }), "Empty: no limit.")),
      field("Expires", h("input", { name: "expires_at", type: "datetime-local" }), `Your time (${ZONE}); empty: never.`)),
  ];
}

/** Members without a value are left out: the gateway's defaults hold. */
function request(given) {
  const body = { name: given.get("name").trim(), scopes: given.getAll("scopes") };
  if (given.get("tenant").trim()) body.tenant = given.get("tenant").trim();
  if (given.getAll("providers").length) body.providers = given.getAll("providers");
  for (const [name] of LIMITS) if (given.get(name)) body[name] = Number(given.get(name));
  if (given.get("expires_at")) body.expires_at = new Date(given.get("expires_at")).toISOString();
  return body;
}
