/** How every provider is doing, live. */

import { get } from "./api.js";
import { chart, explain, perMinute, Rate } from "./chart.js";
import { badge, empty, h, put, write } from "./dom.js";
import { configurationNotices } from "./notices.js";
import { problemView } from "./problem.js";
import { ago, poll } from "./time.js";

const EVERY = 2000;
/** What was seen, by provider; it outlives the page, not the tab. */
const rates = new Map();

export const title = () => "Overview";

export async function open({ root, signal }) {
  const summary = h("p", { class: "muted", id: "summary" }, "Asking the gateway…");
  const trouble = h("div", {});
  const notices = h("div", {});
  const lanes = h("div", { class: "lanes" });
  const legend = h("p", { class: "small muted" });
  const attention = h("section", { "aria-labelledby": "attention" });
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Overview"), summary),
    trouble, notices, lanes, legend, attention);
  const cards = new Map();
  let turns = 0;
  await poll(async () => {
    try {
      const { providers, configuration } = await get("providers", {}, signal);
      const at = Date.now();
      put(trouble);
      putIfChanged(notices, configurationNotices(configuration));
      drawSummary(summary, providers, configuration);
      drawLanes(lanes, cards, providers, at);
      if (providers.length) explain(legend);
      if (turns++ % 5 === 0) await drawAttention(attention, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 403) put(trouble, problemView(error));
      else put(trouble, h("p", { class: "notice quiet-notice" }, `The last poll failed (${error.message}). What is shown is older; asking again every 2 seconds.`));
    }
  }, EVERY, signal);
}

/** A poll that brings the same leaves the elements, and with them the focus, in place. */
function putIfChanged(place, content) {
  const holder = h("div", {}, content);
  if (holder.textContent !== place.textContent) put(place, ...holder.childNodes);
}

function drawSummary(summary, providers, configuration) {
  const sum = (member) => providers.reduce((total, one) => total + one[member], 0).toLocaleString();
  const revision = configuration?.live ?? providers[0]?.config_revision;
  write(summary, [
    `${providers.length} ${providers.length === 1 ? "provider" : "providers"}`,
    `${sum("queued")} queued`, `${sum("in_flight")} in flight`, revision && `revision ${revision}`,
  ].filter(Boolean).join(" · "));
}

function drawLanes(lanes, cards, providers, at) {
  for (const [name, card] of cards) {
    if (providers.some((one) => one.name === name)) continue;
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
    if (!cards.has(one.name)) {
      cards.set(one.name, lane(one));
      lanes.append(cards.get(one.name).element);
    }
    rates.get(one.name).add(at, one.counters.invites);
    cards.get(one.name).update(one, rates.get(one.name));
  }
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

/** Invites that wait for a person. */
async function drawAttention(place, signal) {
  let found;
  try {
    const query = new URLSearchParams([["status", "unknown"], ["status", "failed"], ["status", "awaiting_approval"], ["limit", "6"]]);
    found = await get("invites", query, signal);
  } catch (error) {
    // A key that may not read invites has an overview without them.
    if (error.status === 403) return put(place);
    throw error;
  }
  const rows = found.invites.map((one) => h("li", {},
    badge(one.status), h("a", { href: `#/invites/${encodeURIComponent(one.id)}` }, one.email),
    h("span", { class: "muted" }, one.provider ?? "no provider"), h("span", { class: "muted" }, ago(one.updated_at)),
    h("span", { class: "grow muted" }, one.error?.title ?? "")));
  putIfChanged(place, [
    h("h2", { id: "attention" }, "Waiting for somebody"),
    rows.length
      ? [h("ul", { class: "rows" }, rows), found.next_cursor
        ? h("p", {}, h("a", { href: "#/invites?status=unknown&status=failed&status=awaiting_approval" }, "All of them")) : null]
      : h("p", { class: "muted" }, "No invite failed, is in doubt or waits for an approval."),
  ]);
}
