/** One invite: everything known of it, every call made for it, and what can be done with it. */

import { get, lacks, REFUSED } from "./api.js";
import { badge, code, empty, ERASED, facts, h, json, put, redraw, words, write } from "./dom.js";
import { actions } from "./invite-actions.js";
import { reasonView } from "./problem.js";
import { reading } from "./reading.js";
import { ago, moment, took } from "./time.js";

/** How often one that is under way is read, and one that has settled, in milliseconds. */
const SOON = 3000;
const LATER = 15_000;

const UNSETTLED = ["queued", "sending", "unknown", "awaiting_approval"];
const SOURCES = {
  gateway: "as the gateway recorded it", provider: "as the provider says", caller: "as set through the API",
  inferred: "inferred, by the clock or from absence",
};

export const title = (id) => `Invite ${id}`;

export async function open({ root, argument: id, signal }) {
  const path = `invites/${encodeURIComponent(id)}`;
  const heading = h("h1", { tabindex: "-1" }, id);
  const about = h("div", { class: "about" });
  const [reason, doable, body] = [h("div", {}), h("div", { class: "actions" }), h("div", {})];
  const timeline = h("section", { "aria-labelledby": "timeline" });
  const history = h("section", { "aria-labelledby": "history" });
  let capabilities;
  let isSettled = false;
  const read = async () => {
    const invite = await get(path, {}, signal);
    if (capabilities === undefined) capabilities = await capabilitiesOf(invite, signal);
    const { attempts } = await get(`${path}/attempts`, {}, signal);
    const { events } = await get("events", { invite_id: id, limit: 200 }, signal);
    isSettled = !UNSETTLED.includes(invite.status);
    write(heading, invite.email ?? ERASED);
    // Only what changed is drawn again: a reader may have opened or selected something.
    redraw(about, invite, headOf);
    redraw(reason, invite.error, (error) => (error ? reasonView(error, invite.status === "failed" ? "bad" : "warn") : null));
    redraw(doable, [invite, lacks("invites:write")], () => (invite.erased ? null : actions(invite, capabilities, state.again)));
    redraw(body, invite, details);
    redraw(timeline, [invite.status, attempts], () => [h("h2", { id: "timeline" }, "Calls"), callsOf(invite, attempts)]);
    redraw(history, events, () => [h("h2", { id: "history" }, "History"), historyOf(events)]);
  };
  const state = reading({ root, signal, read, every: () => (isSettled ? LATER : SOON) });
  // What the key was refused is not offered again.
  window.addEventListener(REFUSED, state.again, { signal });
  put(root, h("p", { class: "crumb" }, h("a", { href: "#/invites" }, "Invites")),
    h("div", { class: "head" }, heading, about, state.element), reason, doable, body, timeline, history);
  await state.first;
}

async function capabilitiesOf(invite, signal) {
  if (!invite.provider || lacks("providers:read")) return null;
  try {
    return (await get(`providers/${encodeURIComponent(invite.provider)}`, {}, signal)).capabilities;
  } catch (error) {
    // The provider may be gone, or the key may not read it: then the gateway says what can be done,
    // when it is asked to.
    if (error.status === 403 || error.status === 404) return null;
    throw error;
  }
}

const headOf = (invite) => [badge(invite.status),
  h("span", { class: "muted" }, SOURCES[invite.status_source] ?? invite.status_source,
    invite.checked_at ? [", asked ", ago(invite.checked_at)] : null)];

function details(invite) {
  const name = [invite.first_name, invite.last_name].filter(Boolean).join(" ");
  const labels = Object.entries(invite.labels);
  const provider = invite.provider && [h("a", { href: `#/providers/${encodeURIComponent(invite.provider)}` }, invite.provider), ` (${invite.provider_kind})`];
  return h("div", { class: "columns" },
    h("section", { class: "card" }, h("h2", {}, "Invite"), facts([
      ["Name", name], ["Phone", invite.phone], ["Message", invite.message],
      ["External id", invite.external_id && code(invite.external_id)],
      ["Labels", labels.length ? labels.map(([label, value]) => h("a", { class: "tag", href: `#/invites?${new URLSearchParams({ label: `${label}:${value}` })}` }, `${label}: ${value}`)) : null],
      ["Tenant", invite.tenant], ["Id", code(invite.id)],
      ["Batch", h("a", { href: `#/invites?batch_id=${encodeURIComponent(invite.batch_id)}` }, code(invite.batch_id))],
      ["Place in it", invite.index + 1],
      ["Created", moment(invite.created_at)], ["Updated", moment(invite.updated_at)], ["Sent", moment(invite.sent_at)],
      ["Next call", moment(invite.next_attempt_at)],
    ])),
    h("section", { class: "card" }, h("h2", {}, "At the provider"), invite.provider ? facts([
      ["Provider", provider],
      ["Its id", invite.provider_ref ? code(invite.provider_ref) : h("span", { class: "muted" }, "none yet")],
      ["Its status", invite.provider_status && code(invite.provider_status)],
      ["Lapses", moment(invite.expires_at)],
      ["Asked last", moment(invite.checked_at)],
      ["Sent twice", invite.duplicate_effect ? "a second effect was found at the provider" : null],
      ...Object.entries(invite.provider_data).map(([member, value]) =>
        [words(member), code(typeof value === "string" ? value : JSON.stringify(value))]),
    ]) : empty("It was never bound to a provider.")));
}

function callsOf(invite, attempts) {
  if (!attempts.length) {
    return UNSETTLED.includes(invite.status)
      ? empty("No call has been made for it yet.", invite.status === "queued" ? "It waits in its provider's queue." : null)
      : empty("No call was made for it.");
  }
  return h("ol", { class: "timeline" }, attempts.map((one) => h("li", { class: `event ${one.outcome ?? "running"}` },
    h("div", { class: "event-head" }, h("strong", {}, words(one.operation)), badge(one.outcome ?? "under way", one.outcome ? undefined : "info"),
      one.http_status ? h("span", {}, `status ${one.http_status}`) : null,
      h("span", { class: "muted" }, took(one.duration_ms)), h("span", { class: "muted" }, moment(one.started_at)),
      h("span", { class: "muted" }, `revision ${one.config_revision}`)),
    one.detail ? h("p", {}, one.detail) : null,
    one.request || one.reply ? h("details", {}, h("summary", {}, "What was exchanged"),
      h("div", { class: "columns" },
        h("div", {}, h("h3", {}, "Request"), one.request ? json(one.request) : h("p", { class: "muted" }, "no body")),
        h("div", {}, h("h3", {}, "Reply"), one.reply ? json(one.reply) : h("p", { class: "muted" }, "none")))) : null,
    one.traceparent ? h("p", { class: "small muted" }, "trace ", code(one.traceparent)) : null)));
}

function historyOf(events) {
  if (!events.length) return empty("No event of it is kept.", "Events are removed some time after they happened; the invite stays as it is.");
  return h("ol", { class: "rows" }, events.map(({ type, timestamp, data }) => h("li", {}, badge(type.replace(/^invite\./, "")),
    data.status_source ? h("span", { class: "muted" }, SOURCES[data.status_source] ?? data.status_source) : null,
    h("span", { class: "muted" }, moment(timestamp)))));
}
