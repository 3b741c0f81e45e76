/** The frame: which page is open, signing in and out, and where the focus goes. */

import { dropKey, key, SIGNED_OUT } from "./api.js";
import { h, put, say } from "./dom.js";
import { confirm } from "./dialog.js";
import { problemView } from "./problem.js";
import { askForKey } from "./signin.js";
import * as audit from "./audit.js";
import * as configuration from "./configuration.js";
import * as invite from "./invite.js";
import * as invites from "./invites.js";
import * as keys from "./keys.js";
import * as overview from "./overview.js";
import * as provider from "./provider.js";
import * as providers from "./providers.js";

/**
 * What a page gets. It may set `unsaved`, which says whether leaving would lose something.
 * @typedef {{ root: HTMLElement, argument: string | null, query: URLSearchParams, signal: AbortSignal,
 *   unsaved: () => boolean }} Page
 */

/** By the first part of the route: the page, and the page of one thing. */
const PAGES = {
  overview: [overview], invites: [invites, invite], providers: [providers, provider],
  configuration: [configuration], keys: [keys], audit: [audit],
};

const top = document.getElementById("top");
const main = document.getElementById("main");
let shown = null;
let leaving = new AbortController();
let page = null;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name: name || "overview", argument: rest.length ? decode(rest.join("/")) : null, query: new URLSearchParams(query) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function close() {
  leaving.abort();
  leaving = new AbortController();
  page = null;
}

function showSignIn(reason) {
  close();
  shown = null;
  top.hidden = true;
  document.title = "Sign in · Invite gateway";
  askForKey(main, reason, open);
}

function open() {
  const { name, argument, query } = route();
  const [list, one] = PAGES[name] ?? [];
  const module = argument === null ? list : one;
  const samePage = shown?.name === name && shown?.argument === argument;
  close();
  shown = { name, argument, hash: location.hash };
  top.hidden = false;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!module) return showMissing();
  const title = module.title(argument);
  document.title = `${title} · Invite gateway`;
  const root = h("div", { class: `page ${name}` });
  page = { root, argument, query, signal: leaving.signal, unsaved: () => false };
  Promise.resolve(module.open(page)).catch((error) => {
    if (error?.name === "AbortError") return;
    put(root, h("h1", { tabindex: "-1" }, title), problemView(error));
  });
  main.replaceChildren(root);
  // A filter or another page of the same list leaves the focus where the reader put it, as far as
  // that still exists.
  if (!samePage || document.activeElement === document.body) {
    window.scrollTo(0, 0);
    (root.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
}

function showMissing() {
  document.title = "No such page · Invite gateway";
  put(main, h("div", { class: "page" }, h("h1", { tabindex: "-1" }, "No such page"),
    h("p", {}, "The address names no page of the console. ", h("a", { href: "#/overview" }, "To the overview"))));
  main.querySelector("h1").focus();
}

const LOSING = {
  title: "Leave without applying?", text: "The document was changed here and is not live. Leaving drops these changes.",
  submit: "Drop the changes", danger: true, cancel: "Stay",
};

async function follow() {
  if (!key()) return showSignIn(null);
  // The skip link, and other places within the page.
  if (location.hash !== "" && !location.hash.startsWith("#/")) return;
  if (page?.unsaved() && location.hash !== shown.hash) {
    const wanted = location.hash;
    history.replaceState(null, "", shown.hash);
    if (!await confirm(LOSING)) return;
    page.unsaved = () => false;
    location.hash = wanted;
    return;
  }
  open();
}

async function signOut() {
  if (page?.unsaved() && !await confirm(LOSING)) return;
  dropKey();
  showSignIn(null);
  say("Signed out: this tab has forgotten the key.");
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("sign-out").addEventListener("click", signOut);
window.addEventListener("hashchange", follow);
window.addEventListener("beforeunload", (event) => {
  if (page?.unsaved()) event.preventDefault();
});
window.addEventListener(SIGNED_OUT, () => {
  if (!key()) return;
  dropKey();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  showSignIn("The gateway no longer takes the key: it was revoked or has expired. Sign in again to go on where you were.");
});
follow();
