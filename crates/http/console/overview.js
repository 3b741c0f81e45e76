/** How every provider is doing, live. */

import { get, lacks } from "./api.js";
import { chart, explain, perMinute, Rate } from "./chart.js";
import { badge, empty, ERASED, h, put, redraw, write } from "./dom.js";
import { configurationNotices } from "./notices.js";
import { reading } from "./reading.js";
import { ago } from "./time.js";

/** How often it is read, in milliseconds, and what each provider adds to that. */
const EVERY = 2000;
const EACH = 10;
/** How many providers are drawn; those in trouble come first. */
const DRAWN = 24;
const RANKS = ["misconfigured", "paused", "slowed", "ready", "disabled"];
/** How many invites are named. */
const NAMED = 6;
/** How many failed invites are asked for at once, and how many are looked through for one to name. */
const PAGE = 50;
const SEARCHED = 200;
/** What was seen, by provider; it outlives the page, not the tab. */
const rates = new Map();

export const title = () => "Overview";

export async function open({ root, signal }) {
  const summary = h("p", { class: "muted", id: "summary" });
  const refused = h("p", { class: "muted" });
  const notices = h("div", {});
  const lanes = h("div", { class: "lanes" });
  const rest = h("p", { class: "small muted" });
  const legend = h("p", { class: "small muted" });
  const attention = h("section", { "aria-labelledby": "attention" });
  const cards = new Map();
  let count = 0;
  let turns = 0;
  const readProviders = async () => {
    const { providers, configuration } = await get("providers", {}, signal);
    const at = Date.now();
    count = providers.length;
    redraw(notices, configuration, configurationNotices);
    drawSummary(summary, providers, configuration);
    drawLanes(lanes, cards, providers, at, every());
    redraw(rest, Math.max(0, count - DRAWN), (more) => (more
      ? [`${more.toLocaleString()} more, no worse off, are under `, h("a", { href: "#/providers" }, "Providers"), "."] : null));
    if (count) explain(legend, every());
  };
  const every = () => Math.max(EVERY, count * EACH);
  const state = reading({ root, signal, every, read: async () => {
    await unlessRefused("providers:read", readProviders);
    if (turns++ % 5 === 0) await unlessRefused("invites:read", () => drawAttention(attention, signal));
    const unread = ["providers", "invites"].filter((what) => lacks(`${what}:read`));
    write(refused, unread.length ? `The key may not read ${unread.join(" or ")}.` : "");
  } });
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Overview"), summary, state.element),
    refused, notices, lanes, rest, legend, attention);
  await state.first;
}

/** Does `work` if the key may; a key that may not has an overview without it. */
async function unlessRefused(scope, work) {
  if (lacks(scope)) return;
  try {
    await work();
  } catch (error) {
    if (!lacks(scope)) throw error;
  }
}

function drawSummary(summary, providers, configuration) {
  const sum = (member) => providers.reduce((total, one) => total + one[member], 0).toLocaleString();
  const revision = configuration?.live ?? providers[0]?.config_revision;
  write(summary, [
    `${providers.length} ${providers.length === 1 ? "provider" : "providers"}`,
    `${sum("queued")} queued`, `${sum("in_flight")} in flight`,
    providers.some((one) => one.unreadable) && `${sum("unreadable")} unreadable`, revision && `revision ${revision}`,
  ].filter(Boolean).join(" · "));
}

function drawLanes(lanes, cards, providers, at, every) {
  const rank = ({ state }) => RANKS.indexOf(state);
  const shown = [...providers].sort((one, other) => rank(one) - rank(other)).slice(0, DRAWN);
  for (const [name, card] of cards) {
    if (shown.some((one) => one.name === name)) continue;
    card.element.remove();
    cards.delete(name);
  }
  if (!providers.length) {
    return put(lanes, empty("No provider is configured.",
      ["Describe the first one under ", h("a", { href: "#/configuration" }, "Configuration"), "."]));
  }
  if (!cards.size) put(lanes);
  for (const one of providers) {
    if (!rates.has(one.name)) rates.set(one.name, new Rate());
    rates.get(one.name).add(at, one.counters.invites, every);
  }
  const focused = document.activeElement;
  shown.forEach((one, place) => {
    if (!cards.has(one.name)) cards.set(one.name, lane(one));
    const { element, update } = cards.get(one.name);
    if (lanes.children[place] !== element) lanes.insertBefore(element, lanes.children[place] ?? null);
    update(one, rates.get(one.name));
  });
  // What is moved loses the focus.
  if (focused !== document.activeElement && lanes.contains(focused)) focused.focus({ preventScroll: true });
}

function lane({ name, kind }) {
  const state = h("span", {});
  const why = h("p", { class: "why" });
  const drawing = chart(name);
  const numbers = Object.fromEntries(["rate", "queued", "in_flight", "live"].map((key) => [key, h("dd", {}, "–")]));
  const stat = (label, key) => h("div", {}, h("dt", {}, label), numbers[key]);
  const error = h("p", { class: "last-error" });
  const element = h("section", { class: "card lane", "aria-label": name },
    h("header", {}, h("h2", {}, h("a", { href: `#/providers/${encodeURIComponent(name)}` }, name)),
      h("span", { class: "muted" }, kind), state),
    why,
    h("dl", { class: "stats" }, stat("per minute", "rate"), stat("queued", "queued"),
      stat("in flight", "in_flight"), stat("live", "live")),
    drawing.element, error);
  let last = "";
  const update = (one, rate) => {
    drawing.draw(rate);
    write(numbers.rate, perMinute(rate.now));
    write(numbers.queued, one.queued.toLocaleString());
    write(numbers.in_flight, one.in_flight.toLocaleString());
    write(numbers.live, one.quota.live.toLocaleString() + (one.quota.limit ? ` of ${one.quota.limit.toLocaleString()}` : ""));
    const now = JSON.stringify([one.state, one.state_reason, one.state_until, one.last_error]);
    if (now === last) return;
    last = now;
    put(state, badge(one.state));
    put(why, one.state_reason, one.state_until ? [one.state_reason ? "; " : "", "tried again ", ago(one.state_until)] : null);
    why.hidden = !one.state_reason && !one.state_until;
    put(error, lastError(one.last_error));
  };
  return { element, update };
}

/** The last call that did not succeed, in a line. */
export function lastError(error) {
  if (!error) return h("span", { class: "muted" }, "No call has failed since the gateway started.");
  return [h("span", { class: "muted" }, "Last error ", ago(error.at), ` · ${error.operation} · `), error.message,
    error.http_status ? h("span", { class: "muted" }, ` (status ${error.http_status})`) : null];
}

/**
 * Invites that wait for a person: first those of which nobody knows whether they were sent, then those
 * that wait for a word of somebody's, then those that failed.
 */
async function drawAttention(place, signal) {
  const [waiting, failed] = await Promise.all([
    get("invites", new URLSearchParams([["status", "unknown"], ["status", "awaiting_approval"], ["limit", NAMED]]), signal),
    failedAtProviders(signal),
  ]);
  const first = [...waiting.invites].sort((one, other) => (other.status === "unknown") - (one.status === "unknown"));
  const all = [...first, ...failed.found];
  const isMore = all.length > NAMED || waiting.next_cursor !== null || !failed.isWhole;
  redraw(place, { named: all.slice(0, NAMED), isMore, searched: failed.isWhole ? null : failed.searched }, attentionView);
}

/**
 * The newest that failed at their provider: nothing can be done about those that were refused as
 * invalid, of which there may be many.
 * @returns {Promise<{ found: any[], searched: number, isWhole: boolean }>} none may be found among the
 *   first `searched` that failed, and `isWhole` if those are all
 */
async function failedAtProviders(signal, cursor = null, before = 0) {
  const { invites, next_cursor: next } = await get("invites", { status: "failed", limit: PAGE, cursor }, signal);
  const found = invites.filter((one) => one.provider);
  const searched = before + invites.length;
  if (found.length || next === null || searched >= SEARCHED) return { found, searched, isWhole: next === null };
  return failedAtProviders(signal, next, searched);
}

function attentionView({ named, isMore, searched }) {
  const none = searched === null ? "No invite is in doubt, waits for an approval or failed at its provider."
    : `No invite is in doubt or waits for an approval, and none of the newest ${searched} that failed had come to a provider.`;
  const rows = named.map((one) => h("li", {},
    badge(one.status), h("a", { href: `#/invites/${encodeURIComponent(one.id)}` }, one.email ?? ERASED),
    h("span", { class: "muted" }, one.provider), h("span", { class: "muted" }, ago(one.updated_at)),
    h("span", { class: "grow muted" }, one.error?.title ?? "")));
  return [
    h("h2", { id: "attention" }, "Waiting for somebody"),
    rows.length ? h("ul", { class: "rows" }, rows) : h("p", { class: "muted" }, none),
    isMore ? h("p", {}, h("a", { href: "#/invites?status=unknown&status=failed&status=awaiting_approval" }, "All of them")) : null,
  ];
}
