/** Webhooks: where events are sent to. */

import { call, get } from "./api.js";
import { badge, busy, empty, h, put, redraw, table } from "./dom.js";
import { ask, showSecret } from "./dialog.js";
import { providerNames } from "./provider-choice.js";
import { reading } from "./reading.js";
import { ago } from "./time.js";
import { fields, given } from "./webhook-form.js";

const FOLLOW = 15_000;

export const title = () => "Webhooks";

export async function open({ root, signal }) {
  const list = h("div", {});
  const state = reading({ root, signal, every: FOLLOW, read: async () => {
    const { webhooks } = await get("webhooks", {}, signal);
    create.hidden = false;
    redraw(list, webhooks, () => (webhooks.length ? table({ caption: "Webhooks, oldest first", columns: COLUMNS, rows: webhooks })
      : empty("There are no webhooks.", "Make one for each program that is to be told what becomes of invites.")));
  } });
  const create = h("button", { type: "button", class: "primary", hidden: true, onclick: async () => {
    const names = await busy(create, () => providerNames(signal));
    if (names && !signal.aborted) await make(names, state.again);
  } }, "Make a webhook…");
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Webhooks"), state.element, create), list);
  await state.first;
}

/** Host and path: what a query holds may be a secret. */
export function endpointOf({ url }) {
  const { host, pathname } = new URL(url);
  return host + pathname;
}

/** How it stands, in words and with the reason. */
export function stateOf({ enabled, disabled_because: reason, failing_since: since }) {
  if (!enabled) return [badge("disabled", since ? "bad" : "plain"), h("span", { class: "sub" }, reason)];
  if (since) return [badge("failing", "warn"), h("span", { class: "sub" }, "since ", ago(since))];
  return badge("enabled", "good");
}

/** What narrows the events that it gets; all if nothing does. */
export function tags(words, none = "all") {
  return words.length ? words.map((word) => h("span", { class: "tag" }, word)) : h("span", { class: "muted" }, none);
}

export const labelsOf = ({ labels }) => Object.entries(labels).map(([key, value]) => `${key}: ${value}`);

const COLUMNS = [
  { label: "Endpoint", class: "grow", cell: (one) => [
    h("a", { class: "row-link", href: `#/webhooks/${encodeURIComponent(one.id)}` }, h("span", { class: "clamp" }, endpointOf(one))),
    one.description ? h("span", { class: "sub" }, one.description) : null] },
  { label: "State", cell: stateOf },
  { label: "Types", class: "wide", cell: (one) => tags(one.types) },
  { label: "Providers", class: "wide", cell: (one) => tags(one.providers) },
  { label: "Labels", class: "wide", cell: (one) => tags(labelsOf(one), "any") },
  { label: "Payload", cell: (one) => one.payload },
  { label: "Tenant", class: "name", cell: (one) => one.tenant },
];

/** How a secret that was just made is shown. */
export function showSigningSecret(made) {
  return showSecret({
    title: "The webhook’s secret", label: "The secret", secret: made.secret,
    hint: ["Its endpoint verifies with it that requests come from this gateway. It is shown this once and never again: put it where the endpoint reads it before you close this. ",
      "If it is lost, rotate it."],
  });
}

async function make(names, again) {
  let made = null;
  await ask({
    title: "Make a webhook", submit: "Make", doing: "Making…", fields: fields(names),
    run: async (form) => {
      made = (await call("POST", "webhooks", { body: given(form) })).data;
    },
  });
  if (made) await Promise.all([again(), showSigningSecret(made)]);
}
