/** The configured providers. */

import { get } from "./api.js";
import { badge, empty, h, put, table } from "./dom.js";
import { probeButton } from "./probe.js";
import { ago } from "./time.js";

export const title = () => "Providers";

export async function open({ root, signal }) {
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Providers")), h("p", { class: "muted" }, "Asking the gateway…"));
  const { providers } = await get("providers", {}, signal);
  root.lastChild.replaceWith(providers.length ? list(providers)
    : empty("No provider is configured.", ["Describe the first one under ", h("a", { href: "#/configuration" }, "Configuration"), "."]));
}

function list(providers) {
  const place = h("div", {});
  const columns = [
    { label: "Name", class: "grow", cell: (one) => [h("a", { href: `#/providers/${encodeURIComponent(one.name)}` }, one.name), h("span", { class: "sub" }, one.kind)] },
    { label: "State", cell: (one) => [badge(one.state), one.state_reason ? h("span", { class: "sub" }, one.state_reason) : null] },
    { label: "Queued", class: "number", cell: (one) => one.queued.toLocaleString() },
    { label: "In flight", class: "number", cell: (one) => one.in_flight.toLocaleString() },
    { label: "Live", class: "number", cell: (one) => quota(one.quota) },
    { label: "Calls", class: "number", cell: (one) => Object.values(one.counters.outcomes).reduce((a, b) => a + b, 0).toLocaleString() },
    { label: "Credential", cell: (one) => {
      const last = h("span", { class: "sub" });
      drawProbe(last, one.last_probe);
      return [last, probeButton(one.name, place, (report) => drawProbe(last, report))];
    } },
  ];
  return h("div", {}, place, table({ caption: "Configured providers", columns, rows: providers }));
}

/** Live invites and how many there may be. */
export function quota({ live, limit }) {
  return limit === null ? live.toLocaleString() : `${live.toLocaleString()} of ${limit.toLocaleString()}`;
}

/** The last credential check, in a line. */
export function drawProbe(place, probe) {
  put(place, probe ? [badge(probe.ok ? "ok" : "refused"), " ", ago(probe.at), " · ", probe.detail] : "not checked yet");
}
