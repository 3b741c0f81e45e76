/** Choosing the providers that something is limited to. */

import { get } from "./api.js";
import { check, h } from "./dom.js";

/** From how many providers on they are searched. */
const MANY = 20;

/** None if they cannot be read: what is made without a choice is not limited further than its key. */
export function providerNames(signal) {
  return get("providers", {}, signal).then(({ providers }) => providers.map((one) => one.name), () => []);
}

/** A choice of providers; among many, those whose name has what is typed, and those that are chosen. */
export function providerChips(names, chosen = []) {
  const chips = names.map((name) => check(name, { name: "providers", value: name, checked: chosen.includes(name) }, "chip"));
  const find = h("input", { type: "search", autocomplete: "off", spellcheck: "false", "aria-label": "Find a provider", placeholder: "Find a provider", oninput: () => {
    const wanted = find.value.trim().toLowerCase();
    names.forEach((name, place) => {
      chips[place].hidden = !name.includes(wanted) && !chips[place].querySelector("input").checked;
    });
  } });
  return h("fieldset", { class: "chips" }, h("legend", {}, "Providers, all if none is chosen"),
    names.length > MANY ? find : null, h("div", { class: "chips scroll" }, chips));
}
