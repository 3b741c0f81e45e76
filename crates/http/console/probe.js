/** Checking a provider's credential. */

import { call } from "./api.js";
import { busy, h, put, say } from "./dom.js";
import { attempt } from "./problem.js";

/**
 * @param {string} name the provider
 * @param {HTMLElement} place where a problem is shown
 * @param {() => Promise<unknown>} done called after a check
 */
export function probeButton(name, place, done) {
  const probe = () => attempt(place, async () => {
    put(place);
    const { data } = await call("POST", `admin/providers/${encodeURIComponent(name)}/probe`);
    say(`${name}: ${data.detail}`, data.result === "accepted" ? "good" : "bad");
  }, `Probing ${name}`);
  const button = h("button", { type: "button", class: "small-button", onclick: async () => {
    await busy(button, probe, "Probing…");
    await done();
  } }, "Probe");
  button.setAttribute("aria-label", `Probe ${name}: check its credential without side effects`);
  return button;
}
