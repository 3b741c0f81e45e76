/** Checking a provider's credential. */

import { call } from "./api.js";
import { h, put, say } from "./dom.js";
import { attempt } from "./problem.js";

/**
 * @param {string} name the provider
 * @param {HTMLElement} place where a problem is shown
 * @param {(report: { ok: boolean, detail: string, at: string }) => void} done
 */
export function probeButton(name, place, done) {
  const button = h("button", { type: "button", class: "small-button", onclick: async () => {
    button.disabled = true;
    put(place);
    await attempt(place, async () => {
      const { data } = await call("POST", `admin/providers/${encodeURIComponent(name)}/probe`);
      done(data);
      say(`${name}: ${data.detail}`, data.ok ? "good" : "bad");
    }, `Probing ${name}`);
    button.disabled = false;
    button.focus();
  } }, "Probe");
  button.setAttribute("aria-label", `Probe ${name}: check its credential without side effects`);
  return button;
}
