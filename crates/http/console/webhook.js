/** One webhook: what it gets, every attempt to deliver to it, and what can be done with it. */

import { call, get } from "./api.js";
import { badge, busy, code, empty, facts, field, h, json, prose, put, redraw, say, write } from "./dom.js";
import { ask } from "./dialog.js";
import { attempt } from "./problem.js";
import { providerNames } from "./provider-choice.js";
import { reading } from "./reading.js";
import { moment, took, ZONE } from "./time.js";
import { fields, given } from "./webhook-form.js";
import { endpointOf, labelsOf, showSigningSecret, stateOf, tags } from "./webhooks.js";

const FOLLOW = 3000;

/** For how long the old secret can be said to sign, too. */
const OVERLAPS = [["0s", "not at all: it is in the wrong hands"], ["1h", "an hour"], ["24h", "a day"], ["7d", "a week"], ["30d", "30 days"]];

export const title = (id) => `Webhook ${id}`;

export async function open({ root, argument: id, query, signal }) {
  const path = `webhooks/${encodeURIComponent(id)}`;
  const heading = h("h1", { tabindex: "-1" }, id);
  const about = h("div", { class: "about" });
  const [doable, body] = [h("div", { class: "actions" }), h("div", {})];
  const tested = h("div", { role: "status" });
  const list = h("section", { "aria-labelledby": "attempts" });
  // The replies that are open stay so when another attempt is added.
  const opened = new Set();
  const state = reading({ root, signal, every: FOLLOW, read: async () => {
    const webhook = await get(path, {}, signal);
    const page = await get(`${path}/attempts`, query, signal);
    write(heading, webhook.description ?? endpointOf(webhook));
    redraw(about, [webhook.enabled, webhook.disabled_because, webhook.failing_since], () => stateOf(webhook));
    redraw(doable, webhook, () => actions({ webhook, path, tested, signal, again: state.again }));
    redraw(body, webhook, details);
    redraw(list, page, () => [h("h2", { id: "attempts" }, query.has("event_id") ? "Attempts of one event" : "Attempts"), attemptsOf(page, { id, path, query, opened, again: state.again })]);
  } });
  put(root, h("p", { class: "crumb" }, h("a", { href: "#/webhooks" }, "Webhooks")),
    h("div", { class: "head" }, heading, about, state.element), doable, tested, body, list);
  await state.first;
}

const details = (webhook) => h("section", { class: "card" }, h("h2", {}, "Webhook"), facts([
  ["Endpoint", code(endpointOf(webhook))], ["Types", tags(webhook.types)], ["Providers", tags(webhook.providers)],
  ["Labels", tags(labelsOf(webhook), "any")], ["Payload", webhook.payload], ["Tenant", webhook.tenant], ["Id", code(webhook.id)],
  ["Made", moment(webhook.created_at)], ["The old secret signs, too, until", moment(webhook.old_secret_until)],
]));

/** `again` reads and shows it anew, after a change. */
function actions({ webhook, path, tested, signal, again }) {
  const offer = (label, act, kind) => h("button", { type: "button", class: kind, onclick: act }, label);
  const test = h("button", { type: "button", "aria-label": "Send a test", onclick: () => busy(test, () => attempt(tested, async () => {
    put(tested);
    put(tested, outcomeOf((await call("POST", `${path}/test`)).data));
  }, "Not tested"), "Sending…") }, "Send a test");
  const change = h("button", { type: "button", onclick: async () => {
    const names = await busy(change, () => providerNames(signal));
    if (names && !signal.aborted) await changeIt(webhook, names, path, again);
  } }, "Change…");
  return [test, change, offer("Rotate the secret…", () => rotate(path, again)), offer("Send an event again…", () => resend("", path, again)),
    offer("Recover…", () => recover(path, again)),
    webhook.enabled ? offer("Disable…", () => enable(false, path, again)) : offer("Enable…", () => enable(true, path, again)),
    offer("Remove…", () => remove(webhook, path), "danger-quiet")];
}

function outcomeOf(one) {
  return h("div", { class: `notice ${one.delivered ? "plain" : "bad"}` },
    h("p", { class: "notice-title" }, one.delivered ? "The test was taken" : "The test was not taken"),
    one.failure ? h("p", {}, prose(one.failure)) : null,
    one.reply ? json(one.reply) : null,
    h("p", { class: "small" }, [one.http_status && `status ${one.http_status}`, took(one.duration_ms), one.event_id].filter(Boolean).join(" · ")));
}

function changeIt(webhook, names, path, again) {
  return ask({
    title: "Change this webhook", submit: "Change", doing: "Changing…", fields: fields(names, webhook),
    run: async (form) => {
      await call("PATCH", path, { body: given(form, webhook) });
      say("The webhook is changed.");
      await again();
    },
  });
}

async function rotate(path, again) {
  let made = null;
  const overlap = h("select", { name: "overlap" }, OVERLAPS.map(([value, meaning]) => h("option", { value, selected: value === "24h" }, meaning)));
  await ask({
    title: "Make a new secret?", text: "Requests are signed with the new one from now on, and for a while with the old one, too, so that the endpoint can change over.",
    fields: [field("The old one signs, too, for", overlap)], submit: "Rotate", doing: "Rotating…",
    run: async (form) => {
      made = (await call("POST", `${path}/rotate`, { body: { overlap: form.get("overlap") } })).data;
    },
  });
  if (made) await Promise.all([again(), showSigningSecret(made)]);
}

function resend(event, path, again) {
  return ask({
    title: "Send an event again?", text: "It is sent whatever its type and labels, and whether it was taken before or not.",
    fields: [field("Event", h("input", { name: "event_id", required: true, pattern: "evt_[0-7][0-9a-f]{15}", autocomplete: "off", spellcheck: "false", placeholder: "evt_…", value: event }),
      "Its id, as the feed and the list of attempts show it.")],
    submit: "Send", doing: "Sending…",
    run: async (form) => {
      await call("POST", `${path}/resend`, { body: { event_id: form.get("event_id").trim() } });
      say("The event is sent again.");
      await again();
    },
  });
}

function recover(path, again) {
  return ask({
    title: "Send again what it missed?", text: "All events since a moment that were given up, because the endpoint did not take them for too long.",
    fields: [field("Since", h("input", { name: "since", type: "datetime-local", required: true }), `Your time (${ZONE}).`)],
    submit: "Recover", doing: "Recovering…",
    run: async (form) => {
      const { events } = (await call("POST", `${path}/recover`, { query: { since: new Date(form.get("since")).toISOString() } })).data;
      say(events === 1 ? "1 event is sent again." : `${events} events are sent again.`);
      await again();
    },
  });
}

function enable(enabled, path, again) {
  return ask({
    title: enabled ? "Enable this webhook?" : "Disable this webhook?",
    text: enabled ? "It goes on where it was: what happened meanwhile is sent to it, as far as it is kept."
      : "Nothing is sent to it from now on. Enabled again it goes on where it was.",
    submit: enabled ? "Enable" : "Disable", doing: enabled ? "Enabling…" : "Disabling…",
    run: async () => {
      await call("PATCH", path, { body: { enabled } });
      say(enabled ? "The webhook is enabled." : "The webhook is disabled.");
      await again();
    },
  });
}

async function remove(webhook, path) {
  const isDone = await ask({
    title: "Remove this webhook?",
    text: [["Nothing is sent to ", code(endpointOf(webhook)), " any more, and the record of its attempts goes with it. This cannot be taken back."], "To stop it for a while, disable it."],
    submit: "Remove", doing: "Removing…", danger: true,
    run: async () => {
      await call("DELETE", path);
      say("The webhook is removed.");
    },
  });
  if (isDone) location.hash = "#/webhooks";
}

function replyOf({ event_id: event, number, reply }, opened) {
  const name = `${event} ${number}`;
  const details = h("details", { open: opened.has(name), ontoggle: () => (details.open ? opened.add(name) : opened.delete(name)) },
    h("summary", {}, "What it answered"), json(reply));
  return details;
}

function attemptsOf({ attempts, next_cursor: next }, { id, path, query, opened, again }) {
  const to = (other) => {
    const wanted = new URLSearchParams(other);
    return `#/webhooks/${encodeURIComponent(id)}${wanted.size ? `?${wanted}` : ""}`;
  };
  const event = query.get("event_id");
  const ofEvent = event ? { event_id: event } : {};
  const one = (made) => h("li", { class: `event ${made.delivered ? "succeeded" : "rejected"}` },
    h("div", { class: "event-head" }, h("strong", {}, `Attempt ${made.number}`), badge(made.delivered ? "taken" : "failed", made.delivered ? "good" : "bad"),
      h("a", { href: to({ event_id: made.event_id }) }, code(made.event_id)),
      made.http_status ? h("span", {}, `status ${made.http_status}`) : null,
      h("span", { class: "muted" }, took(made.duration_ms)), h("span", { class: "muted" }, moment(made.at)),
      h("button", { type: "button", class: "small-button", "aria-label": `Send again: ${made.event_id}, attempt ${made.number}`, onclick: () => resend(made.event_id, path, again) }, "Send again…")),
    made.failure ? h("p", {}, prose(made.failure)) : null,
    made.reply ? replyOf(made, opened) : null);
  return [
    attempts.length ? h("ol", { class: "timeline" }, attempts.map(one)) : empty("There are no attempts.", "Each event that is sent to it is listed here, the newest first; tests are not."),
    h("nav", { class: "pager", "aria-label": "Pages of attempts" },
      event ? h("a", { class: "button", href: to({}) }, "All events") : null,
      query.has("cursor") ? h("a", { class: "button", href: to(ofEvent) }, "Newest") : null,
      next ? h("a", { class: "button", href: to({ ...ofEvent, cursor: next }) }, "Older") : null)];
}
