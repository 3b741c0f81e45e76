/** One provider: what it can do, how it is limited, how it fared, and what it lists itself. */

import { get } from "./api.js";
import { badge, code, empty, facts, field, h, prose, put, table, words } from "./dom.js";
import { lastError } from "./overview.js";
import { probeButton } from "./probe.js";
import { attempt } from "./problem.js";
import { drawProbe, quota } from "./providers.js";
import { ago } from "./time.js";

export const title = (name) => `Provider ${name}`;

export async function open({ root, argument: name, signal }) {
  const crumb = h("p", { class: "crumb" }, h("a", { href: "#/providers" }, "Providers"));
  const body = h("div", {}, h("p", { class: "muted" }, "Asking the gateway…"));
  put(root, crumb, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, name)), body);
  const one = await get(`providers/${encodeURIComponent(name)}`, {}, signal);
  root.querySelector(".head").append(h("span", { class: "muted" }, one.kind), badge(one.state),
    h("a", { href: `#/invites?${new URLSearchParams({ provider: name })}` }, "its invites"));
  put(body,
    one.state_reason || one.state_until ? h("div", { class: "notice warn" }, h("p", {}, one.state_reason,
      one.state_until ? [one.state_reason ? "; tried again " : "Tried again ", ago(one.state_until)] : null)) : null,
    h("div", { class: "columns" }, capabilities(one), limits(one),
      h("div", { class: "stacked" }, calls(one), credential(one))),
    one.capabilities.list ? remote(one, signal)
      : h("section", {}, h("h2", {}, "What the provider lists"), h("p", { class: "muted" }, `A ${one.kind} provider offers no list.`)));
}

const list = (names) => names.map((name) => h("span", { class: "tag" }, name.replaceAll("|", " or ")));

function capabilities({ capabilities: can }) {
  const { create } = can;
  const yes = (flag) => (flag ? "yes" : "no");
  return h("section", { class: "card" }, h("h2", {}, "What it can do"), facts([
    ["Invites in one call", create.native_batch ? `up to ${create.max_batch.toLocaleString()}` : "one"],
    ["Same bytes twice", create.idempotent ? "one effect" : "two effects"],
    ["Needs, beyond email", create.required_fields.length ? list(create.required_fields) : "nothing"],
    ["Takes", list(create.fields)],
    ["Read one", yes(can.get)], ["List", yes(can.list)], ["Withdraw", yes(can.revoke)],
    ["Status can be set to", can.update_status.length ? list(can.update_status) : "none"],
    ["Human approval", can.approval ? "may be wanted first" : "never"],
    ["In doubt", prose(can.reconcile)],
  ]));
}

function limits({ limits: may, queued, in_flight: inFlight, quota: live, replicas }) {
  return h("section", { class: "card" }, h("h2", {}, "Load and limits"), facts([
    ["Queued", `${queued.toLocaleString()} of ${may.max_backlog.toLocaleString()}`],
    ["Calls in flight", `${inFlight} of ${may.max_in_flight}`],
    ["Live invites", live.limit === null ? `${live.live.toLocaleString()}, no quota` : quota(live)],
    ["Requests per second", may.requests_per_second.toLocaleString()],
    ["Batch", `${may.max_batch.toLocaleString()}, lingers ${may.linger}`],
    ["Timeout", may.timeout],
    ["Retries", `after ${may.retry.first}, at most ${may.retry.max} apart`],
    ["Gives up", `after ${may.retry.give_up_after}, or ${may.retry.max_attempts} calls that came to nothing`],
    ["Served by", replicas.map(replica)],
  ]));
}

function replica({ id, config_revision: revision, refusal, seen_at: at }) {
  return h("div", {}, code(id), ` revision ${revision}, heard of `, ago(at), refusal ? h("span", { class: "sub" }, prose(refusal)) : null);
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

function credential({ name, counters, last_probe: last }) {
  const place = h("div", {});
  const shown = h("p", {});
  drawProbe(shown, last);
  return h("section", { class: "card" }, h("h2", {}, "Credential"),
    counters.credentials.length ? table({ caption: "Calls by secret", rows: counters.credentials, columns: [
      { label: "Secret", class: "grow", cell: (one) => code(one.reference) },
      { label: "Used", class: "number", cell: (one) => one.used.toLocaleString() },
      { label: "Refused", class: "number", cell: (one) => one.refused.toLocaleString() },
    ] }) : h("p", { class: "muted" }, "No secret has been used yet."),
    h("h3", {}, "Last check"), shown, place,
    h("div", { class: "actions" }, probeButton(name, place, (report) => drawProbe(shown, report))));
}

const REMOTE = [
  { label: "To", class: "grow", cell: (one) => [one.email ?? h("span", { class: "muted" }, "no address"),
    h("span", { class: "sub" }, [one.first_name, one.last_name].filter(Boolean).join(" "))] },
  { label: "Status", cell: (one) => [badge(one.status), one.provider_status ? h("span", { class: "sub" }, words(one.provider_status.toLowerCase())) : null] },
  { label: "Its id", class: "wide", cell: (one) => (one.provider_ref ? code(one.provider_ref) : "–") },
  { label: "Created", cell: (one) => ago(one.created_at) ?? "–" },
  { label: "Lapses", cell: (one) => ago(one.expires_at) ?? "–" },
];

/** Each page is a call to the provider, so nothing is asked before somebody wants it. */
function remote({ name }, signal) {
  const trouble = h("div", {});
  const found = h("div", {});
  const email = h("input", { type: "email", name: "email", autocomplete: "off", spellcheck: "false" });
  const read = async (query) => {
    put(trouble);
    found.setAttribute("aria-busy", "true");
    await attempt(trouble, async () => {
      const page = await get(`providers/${encodeURIComponent(name)}/invites`, query, signal);
      const isFirst = !query.cursor;
      put(found, page.invites.length ? table({ caption: `Invites that ${name} lists`, columns: REMOTE, rows: page.invites })
        : empty(query.email ? "It lists nothing for this address." : "It lists nothing."),
      h("nav", { class: "pager", "aria-label": "Pages of the provider's list" },
        isFirst ? null : h("button", { type: "button", onclick: () => read({ email: query.email }) }, "First page"),
        page.next_cursor ? h("button", { type: "button", onclick: () => read({ ...query, cursor: page.next_cursor }) }, "Next page") : null));
    }, "Reading the list");
    found.setAttribute("aria-busy", "false");
  };
  const submit = (event) => {
    event.preventDefault();
    return read({ email: email.value.trim() });
  };
  return h("section", {}, h("h2", {}, "What the provider lists"),
    h("p", { class: "muted" }, "Whoever made it, also outside this gateway. Each page is one call to the provider."),
    h("form", { class: "filters inline", onsubmit: submit }, field("Email", email), h("button", { type: "submit" }, "Ask")),
    trouble, found);
}
