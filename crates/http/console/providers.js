/** The configured providers. */

import { get, lacks } from "./api.js";
import { badge, empty, h, put, redraw, table } from "./dom.js";
import { probeButton } from "./probe.js";
import { reading } from "./reading.js";
import { ago } from "./time.js";

/** How often they are read, in milliseconds. */
const EVERY = 5000;

export const title = () => "Providers";

export async function open({ root, signal }) {
  const trouble = h("div", {});
  const place = h("div", {});
  const state = reading({ root, signal, every: EVERY, read: async () => {
    const { providers } = await get("providers", {}, signal);
    redraw(place, providers, () => (providers.length
      ? table({ caption: "Configured providers", columns: columns(trouble, state.again), rows: providers })
      : empty("No provider is configured.", ["Describe the first one under ", h("a", { href: "#/configuration" }, "Configuration"), "."])));
  } });
  put(root, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Providers"), state.element), trouble, place);
  await state.first;
}

const columns = (trouble, again) => [
  { label: "Name", class: "grow", cell: (one) => [h("a", { href: `#/providers/${encodeURIComponent(one.name)}` }, one.name), h("span", { class: "sub" }, one.kind)] },
  { label: "State", cell: (one) => [badge(one.state), one.state_reason ? h("span", { class: "sub" }, one.state_reason) : null] },
  { label: "Queued", class: "number", cell: (one) => one.queued.toLocaleString() },
  { label: "In flight", class: "number", cell: (one) => one.in_flight.toLocaleString() },
  { label: "Live", class: "number", cell: (one) => quota(one.quota) },
  { label: "Calls", class: "number", cell: (one) => Object.values(one.counters.outcomes).reduce((a, b) => a + b, 0).toLocaleString() },
  { label: "Credential", class: "wide", cell: (one) => [h("span", { class: "sub" }, lastProbe(one.last_probe)),
    lacks("providers:act") ? null : probeButton(one.name, trouble, again)] },
];

/** Live invites and how many there may be. */
export function quota({ live, limit }) {
  return limit === null ? live.toLocaleString() : `${live.toLocaleString()} of ${limit.toLocaleString()}`;
}

/** The last credential check, in a line. */
export function lastProbe(probe) {
  return probe ? [badge(probe.result), " ", ago(probe.at), " · ", probe.detail] : "not checked yet";
}
