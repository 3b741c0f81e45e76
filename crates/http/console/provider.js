/** One provider: what it can do, how it is limited, how it fared, and what it lists itself. */

import { get, lacks } from "./api.js";
import { badge, busy, code, empty, facts, field, h, prose, put, redraw, table, words } from "./dom.js";
import { lastError } from "./overview.js";
import { probeButton } from "./probe.js";
import { attempt } from "./problem.js";
import { lastProbe, quota } from "./providers.js";
import { reading } from "./reading.js";
import { ago, stamp } from "./time.js";

/** How often it is read, in milliseconds. */
const EVERY = 5000;
/** How long its own list may take, in milliseconds: each page is a call to the provider. */
const PATIENCE = 120_000;

export const title = (name) => `Provider ${name}`;

export async function open({ root, argument: name, signal }) {
  const crumb = h("p", { class: "crumb" }, h("a", { href: "#/providers" }, "Providers"));
  const about = h("div", { class: "about" });
  const [notice, can, load, made, secrets, trouble] = Array.from({ length: 6 }, () => h("div", {}));
  const listed = h("section", {});
  const state = reading({ root, signal, every: EVERY, read: async () => {
    const one = await get(`providers/${encodeURIComponent(name)}`, {}, signal);
    redraw(about, [one.kind, one.state], () => headOf(one));
    redraw(notice, [one.state_reason, one.state_until, one.destinations], () => noticeOf(one));
    redraw(can, one.capabilities, () => capabilities(one));
    redraw(load, [one.limits, one.queued, one.in_flight, one.quota, one.replicas, one.holder, one.clock_difference_seconds], () => limits(one));
    redraw(made, [one.counters, one.last_error], () => calls(one));
    redraw(secrets, [one.counters.credentials, one.last_probe], () => credential(one, trouble, state.again));
    if (!listed.hasChildNodes()) put(listed, one.capabilities.list ? remote(one, signal) : unlisted(one));
  } });
  put(root, crumb, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, name), about, state.element),
    notice, h("div", { class: "columns" }, can, load, h("div", { class: "stacked" }, made, secrets)), listed);
  await state.first;
}

const headOf = (one) => [h("span", { class: "muted" }, one.kind), badge(one.state),
  h("a", { href: `#/invites?${new URLSearchParams({ provider: one.name })}` }, "its invites")];

function noticeOf({ state_reason: reason, state_until: until, destinations }) {
  if (!reason && !until) return null;
  const told = (why, at) => [why, at ? [why ? "; tried again " : "Tried again ", ago(at)] : null];
  return h("div", { class: "notice warn" }, h("p", {}, told(reason, until)),
    destinations.map((one) => h("p", {}, `${one.scope} is ${one.state}: `, told(one.reason, one.until))));
}

const list = (names) => names.map((name) => h("span", { class: "tag" }, name.replaceAll("|", " or ")));

function capabilities({ capabilities: can }) {
  const { create } = can;
  const yes = (flag) => (flag ? "yes" : "no");
  return h("section", { class: "card" }, h("h2", {}, "What it can do"), facts([
    ["Invites in one call", create.native_batch ? `up to ${create.max_batch.toLocaleString()}` : "one"],
    ["The same call twice", create.idempotent ? "invites once" : "invites twice"],
    ["Needs, beyond email", create.required_fields.length ? list(create.required_fields) : "nothing"],
    ["Takes", list(create.fields)],
    ["Read one", yes(can.get)], ["List", yes(can.list)], ["Withdraw", yes(can.revoke)],
    ["Status can be set to", can.update_status.length ? list(can.update_status) : "none"],
    ["Human approval", can.approval ? "may be wanted first" : "never"],
    ["In doubt", prose(can.reconcile)],
  ]));
}

function limits({ limits: may, queued, in_flight: inFlight, quota: live, replicas, holder, clock_difference_seconds: difference }) {
  return h("section", { class: "card" }, h("h2", {}, "Load and limits"), facts([
    ["Queued", `${queued.toLocaleString()} of ${may.max_backlog.toLocaleString()}`],
    ["Calls in flight", `${inFlight} of ${may.max_in_flight}`],
    ["Live invites", live.limit === null ? `${live.live.toLocaleString()}, no quota` : quota(live)],
    ["Requests per second", may.requests_per_second.toLocaleString()],
    ["Its clock", clock(difference)],
    ["Batch", `${may.max_batch.toLocaleString()}, lingers ${spaced(may.linger)}`],
    ["Timeout", spaced(may.timeout)],
    ["Retries", `after ${spaced(may.retry.first)}, at most ${spaced(may.retry.max)} apart, or when it says, within ${spaced(may.retry.max_retry_after)}`],
    ["Gives up", `after ${spaced(may.retry.give_up_after)}, or ${may.retry.max_attempts} calls that came to nothing`],
    ["Served by", replicas.map((one) => replica(one, one.id === holder))],
  ]));
}

/** How the provider's clock stands to the gateway's, by its last reply. */
function clock(seconds) {
  if (seconds === null) return "not known yet";
  const off = Math.abs(seconds).toLocaleString(undefined, { maximumFractionDigits: 1 });
  if (seconds === 0) return "as ours";
  const said = `${off} s ${seconds > 0 ? "ahead of" : "behind"} ours`;
  return Math.abs(seconds) > 30 ? h("strong", {}, said) : said;
}

/** `1day` as a person writes it. */
const spaced = (duration) => duration.replace(/(\d)([a-z])/gi, "$1 $2");

function replica({ id, config_revision: revision, refusal, seen_at: at }, makesCalls) {
  return h("div", {}, code(id), ` revision ${revision}, ${makesCalls ? "makes its calls, " : ""}heard of `, ago(at), refusal ? h("span", { class: "sub" }, prose(refusal)) : null);
}

function calls({ counters, last_error: error }) {
  const outcomes = Object.entries(counters.outcomes);
  return h("section", { class: "card" }, h("h2", {}, "Calls since the gateway started"),
    outcomes.length ? table({ caption: "Calls by outcome", rows: outcomes, columns: [
      { label: "Outcome", class: "grow", cell: ([outcome]) => badge(outcome) },
      { label: "Calls", class: "number", cell: ([, count]) => count.toLocaleString() },
    ] }) : h("p", { class: "muted" }, "None yet."),
    h("p", { class: "last-error" }, lastError(error)));
}

function credential({ name, counters, last_probe: last }, trouble, again) {
  return h("section", { class: "card" }, h("h2", {}, "Credential"),
    counters.credentials.length ? table({ caption: "Calls by secret", rows: counters.credentials, columns: [
      { label: "Secret", class: "grow", cell: (one) => code(one.reference) },
      { label: "Used", class: "number", cell: (one) => one.used.toLocaleString() },
      { label: "Refused", class: "number", cell: (one) => one.refused.toLocaleString() },
    ] }) : h("p", { class: "muted" }, "No secret has been used yet."),
    h("h3", {}, "Last check"), h("p", {}, lastProbe(last)), trouble,
    lacks("providers:act") ? null : h("div", { class: "actions" }, probeButton(name, trouble, again)));
}

const REMOTE = [
  { label: "To", class: "grow", cell: (one) => [one.email ?? h("span", { class: "muted" }, "no address"),
    h("span", { class: "sub" }, [one.first_name, one.last_name].filter(Boolean).join(" "))] },
  { label: "Status", cell: (one) => [badge(one.status), one.provider_status ? h("span", { class: "sub" }, words(one.provider_status.toLowerCase())) : null] },
  { label: "Its id", class: "wide", cell: (one) => (one.provider_ref ? code(one.provider_ref) : "–") },
  { label: "Created", class: "time", cell: (one) => stamp(one.created_at) ?? "–" },
  { label: "Lapses", class: "time", cell: (one) => stamp(one.expires_at) ?? "–" },
];

const unlisted = ({ kind }) => [h("h2", {}, "What the provider lists"), h("p", { class: "muted" }, `A ${kind} provider offers no list.`)];

/** Each page is a call to the provider, so nothing is asked before somebody wants it. */
function remote({ name }, signal) {
  const trouble = h("div", {});
  const found = h("div", {});
  const email = h("input", { type: "text", inputmode: "email", name: "email", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  let shown = {};
  const read = (query) => attempt(trouble, async () => {
    put(trouble);
    const page = await get(`providers/${encodeURIComponent(name)}/invites`, query, signal, PATIENCE);
    shown = { email: query.email, cursor: page.next_cursor };
    put(found, page.invites.length ? table({ caption: `Invites that ${name} lists`, columns: REMOTE, rows: page.invites })
      : empty(query.email ? "It lists nothing for this address." : "It lists nothing."));
    const focused = document.activeElement;
    first.hidden = !query.cursor;
    next.hidden = !page.next_cursor;
    // A button that goes takes the focus with it.
    if (focused?.hidden) ask.focus({ preventScroll: true });
  }, "Reading the list");
  const pages = (label, query) => {
    const one = h("button", { type: "button", hidden: true, onclick: () => busy(one, () => read(query()), "Asking…") }, label);
    return one;
  };
  const first = pages("First page", () => ({ email: shown.email }));
  const next = pages("Next page", () => shown);
  const ask = h("button", { type: "submit" }, "Ask");
  const submit = (event) => {
    event.preventDefault();
    return busy(ask, () => read({ email: email.value.trim() }), "Asking…");
  };
  return [h("h2", {}, "What the provider lists"),
    h("p", { class: "muted" }, "Whoever made it, also outside this gateway. Each page is one call to the provider."),
    h("form", { class: "filters inline", onsubmit: submit }, field("Email", email), ask),
    trouble, found, h("nav", { class: "pager", "aria-label": "Pages of the provider's list" }, first, next)];
}
