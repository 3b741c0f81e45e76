/** What a person says of a webhook: to make one, or to change it. */

import { check, field, h } from "./dom.js";
import { providerChips } from "./provider-choice.js";

const TYPES = ["invite.queued", "invite.sending", "invite.awaiting_approval", "invite.pending", "invite.sent", "invite.accepted",
  "invite.declined", "invite.expired", "invite.revoked", "invite.failed", "invite.unknown", "invite.updated", "invite.duplicate_effect", "batch.completed"];
const PAYLOADS = [["full", "the event as the feed shows it"], ["thin", "ids and statuses only, nothing of the person"]];
const NEW = { url: "", description: null, types: [], providers: [], labels: {}, payload: "full" };

/**
 * @param {string[]} names the providers that can be chosen
 * @param {any} webhook what the fields hold at first
 */
export function fields(names, webhook = NEW) {
  const chips = TYPES.map((type) => check(type, { name: "types", value: type, checked: webhook.types.includes(type) }, "chip"));
  const payloads = PAYLOADS.map(([payload, meaning]) => h("label", { class: "check" },
    h("input", { type: "radio", name: "payload", value: payload, checked: payload === webhook.payload }),
    h("span", {}, payload, h("span", { class: "hint" }, meaning))));
  // One that it has may be gone from the document.
  const all = [...new Set([...names, ...webhook.providers])];
  return [
    field("URL", h("input", { name: "url", type: "url", required: true, maxlength: "2000", autocomplete: "off", spellcheck: "false", value: webhook.url }),
      "Events are sent there with POST, by https. It answers with 2xx within 15 seconds."),
    // The API knows no way to take one away.
    field("Description", h("input", { name: "description", maxlength: "200", autocomplete: "off", value: webhook.description ?? "", required: Boolean(webhook.description) }),
      "What it is for."),
    h("fieldset", { class: "chips" }, h("legend", {}, "Types of events, all if none is chosen"), chips),
    all.length ? providerChips(all, webhook.providers) : null,
    field("Labels", labelLines(webhook.labels), "Events of invites with all of these labels only: one on each line, as key:value."),
    h("fieldset", { class: "stack" }, h("legend", {}, "Payload"), payloads),
  ];
}

function labelLines(labels) {
  const area = h("textarea", { name: "labels", rows: "2", autocomplete: "off", spellcheck: "false", placeholder: "key:value",
    value: Object.entries(labels).map(([key, value]) => `${key}:${value}`).join("\n"), oninput: () => {
      const wrong = linesOf(area.value).find((line) => !/^[^:]+:/.test(line));
      area.setCustomValidity(wrong === undefined ? "" : `“${wrong}” is no label: write it as key:value.`);
    } });
  return area;
}

const linesOf = (text) => text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);

/** What the form says, as the API takes it; of `webhook`, if it is given, only what differs. */
export function given(form, webhook) {
  const labels = linesOf(form.get("labels")).map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]);
  const said = {
    url: form.get("url").trim(), description: form.get("description").trim() || null, types: form.getAll("types"),
    providers: form.getAll("providers"), labels: Object.fromEntries(labels), payload: form.get("payload"),
  };
  const before = webhook ?? NEW;
  return Object.fromEntries(Object.entries(said).filter(([name, value]) => spelt(value) !== spelt(before[name])));
}

/** Equal for equal choices, in whatever order they were made. */
function spelt(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return JSON.stringify((Array.isArray(value) ? [...value] : Object.entries(value)).sort());
}
