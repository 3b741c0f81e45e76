/** Asking for an API key. */

import { call, keepKey, Problem } from "./api.js";
import { busy, field, h, put } from "./dom.js";
import { problemView } from "./problem.js";

/**
 * Shows the form until a key is taken.
 * @param {HTMLElement} root
 * @param {string | null} reason why the reader is here again
 * @param {() => void} signedIn
 */
export function askForKey(root, reason, signedIn) {
  const input = h("input", {
    type: "password", name: "key", required: true, autocomplete: "off", spellcheck: "false", placeholder: "igk_…",
  });
  const trouble = h("div", {});
  const go = h("button", { type: "submit", class: "primary" }, "Sign in");
  const submit = (event) => {
    event.preventDefault();
    busy(go, () => enter(input.value.trim()), "Signing in…");
  };
  const enter = async (secret) => {
    put(trouble);
    try {
      await tryKey(secret);
      keepKey(secret);
      signedIn();
    } catch (error) {
      put(trouble, error.status === 401
        ? h("div", { class: "notice bad", role: "alert" }, h("p", {}, "The gateway does not know this key, or it was revoked or has expired."))
        : problemView(error));
      input.focus();
    }
  };
  put(root, h("section", { class: "sign-in" },
    h("img", { src: "icon.svg", alt: "", width: 40, height: 40 }),
    h("h1", { tabindex: "-1" }, "Invite gateway"),
    reason ? h("div", { class: "notice warn", role: "status" }, h("p", {}, reason)) : null,
    h("form", { onsubmit: submit }, field("API key", input), trouble, go),
    h("p", { class: "muted small" },
      "The key stays in this tab and is forgotten when the tab is closed or you sign out. ",
      "The scope ", h("code", {}, "admin"), " opens every page; ",
      h("code", {}, "invite-gateway keys create"), " makes a key. ",
      h("a", { href: "../docs/", target: "_blank", rel: "noopener" }, "API reference"))));
  input.focus();
}

/** A key that may not read providers is still a key. */
async function tryKey(secret) {
  // A header takes printable ASCII only; nothing else can be a key.
  if (!/^[\x21-\x7e]+$/.test(secret)) throw new Problem({ status: 401, title: "no key" });
  try {
    await call("GET", "providers", { secret });
  } catch (error) {
    if (error.status !== 403) throw error;
  }
}
