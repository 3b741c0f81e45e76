/** API keys: who may do what. */

import { call, get } from "./api.js";
import { badge, check, code, empty, field, h, put, say, table } from "./dom.js";
import { ask, show } from "./dialog.js";
import { attempt } from "./problem.js";
import { ago } from "./time.js";

const SCOPES = [
  ["invites:write", "create and change invites"], ["invites:read", "read invites and batches"],
  ["invites:raw", "see what was exchanged with providers"], ["providers:read", "read providers and metrics"],
  ["admin", "everything, over all tenants"],
];

export const title = () => "Keys";

export async function open({ root, signal }) {
  const trouble = h("div", {});
  const list = h("div", {}, h("p", { class: "muted" }, "Asking the gateway…"));
  const create = h("button", { type: "button", class: "primary", onclick: () => createKey(load, signal) }, "Create a key…");
  const load = async () => {
    await attempt(trouble, async () => {
      const { keys } = await get("admin/keys", {}, signal);
      put(trouble);
      put(list, keys.length ? table({ caption: "API keys", columns: columns(load), rows: keys })
        : empty("There are no keys.", "Create one for each program that calls the gateway."));
    });
  };
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Keys"), create), trouble, list);
  await load();
}

const columns = (load) => [
  { label: "Name", class: "grow", cell: (one) => [one.name, h("span", { class: "sub" }, code(one.id))] },
  { label: "State", cell: (one) => badge(one.state) },
  { label: "Scopes", cell: (one) => one.scopes.map((scope) => h("span", { class: "tag" }, scope)) },
  { label: "Tenant", cell: (one) => one.tenant },
  { label: "Providers", cell: (one) => (one.providers ? one.providers.map((name) => h("span", { class: "tag" }, name)) : h("span", { class: "muted" }, "all")) },
  { label: "Per second", class: "number", cell: (one) => one.requests_per_second ?? h("span", { class: "muted" }, "no limit") },
  { label: "Last use", cell: (one) => ago(one.last_used_at) ?? h("span", { class: "muted" }, "never") },
  { label: "Expires", cell: (one) => ago(one.expires_at) ?? h("span", { class: "muted" }, "never") },
  { label: "Action", class: "end", cell: (one) => (one.state === "revoked" ? null
    : h("button", { type: "button", class: "small-button danger-quiet", "aria-label": `Revoke ${one.name}`, onclick: () => revokeKey(one, load) }, "Revoke…")) },
];

function revokeKey(one, load) {
  return ask({
    title: `Revoke the key “${one.name}”?`,
    text: ["Calls with it are refused from now on. A revoked key cannot be used again.",
      one.last_used_at ? ["It was used ", ago(one.last_used_at), "."] : "It was never used."],
    submit: "Revoke", danger: true,
    run: async () => {
      await call("DELETE", `admin/keys/${encodeURIComponent(one.id)}`);
      say(`The key ${one.name} is revoked.`);
      await load();
    },
  });
}

async function createKey(load, signal) {
  let made = null;
  const names = await get("providers", {}, signal).then(({ providers }) => providers.map((one) => one.name), () => []);
  await ask({
    title: "Create a key", submit: "Create", fields: form(names),
    run: async (given) => {
      made = (await call("POST", "admin/keys", { body: request(given) })).data;
    },
  });
  if (!made) return;
  await Promise.all([load(), showSecret(made)]);
}

function form(names) {
  return [
    field("Name", h("input", { name: "name", required: true, maxlength: "100", autocomplete: "off" }), "Which program or person uses it."),
    h("fieldset", { class: "stack" }, h("legend", {}, "Scopes"), SCOPES.map(([scope, meaning]) =>
      check([code(scope), h("span", { class: "hint" }, meaning)], { name: "scopes", value: scope }))),
    field("Tenant", h("input", { name: "tenant", autocomplete: "off", placeholder: "default" }), "It sees only the invites of its tenant."),
    names.length ? h("fieldset", { class: "chips" }, h("legend", {}, "Providers, all if none is chosen"),
      names.map((name) => check(name, { name: "providers", value: name }, "chip"))) : null,
    h("div", { class: "filter-row" },
      field("Requests per second", h("input", { name: "requests_per_second", type: "number", min: "0", step: "any", inputmode: "decimal" }), "Empty: no limit."),
      field("Expires", h("input", { name: "expires_at", type: "datetime-local" }), "Your time; empty: never.")),
  ];
}

/** Members without a value are left out: the gateway's defaults hold. */
function request(given) {
  const body = { name: given.get("name").trim(), scopes: given.getAll("scopes") };
  if (given.get("tenant").trim()) body.tenant = given.get("tenant").trim();
  if (given.getAll("providers").length) body.providers = given.getAll("providers");
  if (given.get("requests_per_second")) body.requests_per_second = Number(given.get("requests_per_second"));
  if (given.get("expires_at")) body.expires_at = new Date(given.get("expires_at")).toISOString();
  return body;
}

function showSecret({ name, key }) {
  const secret = h("input", { class: "secret", readonly: true, value: key, "aria-label": "The key", onfocus: () => secret.select() });
  const copied = h("span", { role: "status", class: "muted" });
  const copy = h("button", { type: "button", onclick: async () => {
    secret.select();
    try {
      await navigator.clipboard.writeText(key);
      put(copied, "Copied.");
    } catch {
      put(copied, "This browser does not allow it; the key is selected, copy it by hand.");
    }
  } }, "Copy");
  return show(`The key “${name}”`, h("div", {},
    h("div", { class: "notice warn" }, h("p", {}, "It is shown this once and kept only as a hash. Put it where its program reads it before you close this.")),
    h("div", { class: "secret-row" }, secret, copy), copied), { close: "I have stored it" });
}
