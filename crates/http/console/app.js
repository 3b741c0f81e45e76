/** The frame: which page is open, signing in and out, and where the focus goes. */

import { dropKey, key, lacks, learn, REFUSED, SIGNED_OUT } from "./api.js";
import { h, put, say } from "./dom.js";
import { closeDialogs, confirm, isHeld } from "./dialog.js";
import { reading } from "./reading.js";
import { askForKey } from "./signin.js";
import * as action from "./action.js";
import * as audit from "./audit.js";
import * as configuration from "./configuration.js";
import * as invite from "./invite.js";
import * as invites from "./invites.js";
import * as keys from "./keys.js";
import * as overview from "./overview.js";
import * as provider from "./provider.js";
import * as providers from "./providers.js";
import * as webhook from "./webhook.js";
import * as webhooks from "./webhooks.js";

/**
 * What a page gets. It may set `unsaved`, which says whether leaving would lose something, and
 * `keyLost`, which is called before it is closed because the key has ended.
 * @typedef {{ root: HTMLElement, argument: string | null, query: URLSearchParams, signal: AbortSignal,
 *   unsaved: () => boolean, keyLost: () => void }} Page
 */

/** By the first part of the route: the page, and the page of one thing. */
const PAGES = {
  overview: [overview], invites: [invites, invite], actions: [null, action], providers: [providers, provider],
  webhooks: [webhooks, webhook], configuration: [configuration], keys: [keys], audit: [audit],
};

/** The tab under which a page is found that has none of its own. */
const TABS = { actions: "invites" };

const top = document.getElementById("top");
const main = document.getElementById("main");
let shown = null;
let leaving = new AbortController();
let page = null;
/** How far each entry of the tab's history was scrolled. */
const scrolled = new Map();

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
  if (shown) scrolled.set(shown.entry, window.scrollY);
  closeDialogs();
  leaving.abort();
  leaving = new AbortController();
  page = null;
}

function showSignIn(reason) {
  close();
  shown = null;
  top.hidden = true;
  document.title = "Sign in · Invite gateway";
  askForKey(main, reason, begin);
}

/** Opens the page with a key that is new here. */
function begin() {
  drawTabs();
  learn();
  open();
}

/** A tab is there as long as the key is not known to lack one of the scopes that its page needs. */
function drawTabs() {
  for (const link of document.querySelectorAll("#nav a[data-scope]")) link.hidden = link.dataset.scope.split(" ").some(lacks);
}

function open() {
  const { name, argument, query } = route();
  const [list, one] = PAGES[name] ?? [];
  const module = argument === null ? list : one;
  const samePage = shown?.name === name && shown?.argument === argument;
  close();
  const { entry } = history.state ?? {};
  shown = { name, argument, hash: location.hash, entry: entry ?? newEntry() };
  top.hidden = false;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${TABS[name] ?? name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!module) return showMissing();
  const title = module.title(argument);
  document.title = `${title} · Invite gateway`;
  const root = h("div", { class: "page" });
  page = { root, argument, query, signal: leaving.signal, unsaved: () => false, keyLost: () => {} };
  show(module, title).then(() => {
    // Where the reader was, once what was there is drawn again.
    if (entry && shown?.entry === entry && window.scrollY === 0) window.scrollTo(0, scrolled.get(entry) ?? 0);
  });
  main.replaceChildren(root);
  // A filter or another page of the same list leaves the focus where the reader put it, as far as
  // that still exists.
  if (!samePage || document.activeElement === document.body) {
    window.scrollTo(0, 0);
    (root.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
}

/** Opens the page; one that cannot begin is tried again until it can. */
async function show(module, title) {
  const { root, signal } = page;
  const opened = page;
  try {
    await module.open(opened);
  } catch (error) {
    if (signal.aborted) return;
    let failed = error;
    const state = reading({ root, signal, read: async () => {
      if (failed) {
        const reason = failed;
        failed = null;
        throw reason;
      }
      await module.open(opened);
    } });
    put(root, h("h1", { tabindex: "-1" }, title), state.element);
  }
}

/** A name for the history's entry that was just made, by which to know it again. */
function newEntry() {
  const entry = `${Date.now()}-${history.length}`;
  history.replaceState({ entry }, "");
  return entry;
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
  // What is under way or shown once is not left by Back either.
  if (isHeld()) return history.replaceState({ entry: shown.entry }, "", shown.hash);
  // The skip link, and other places within the page.
  if (location.hash !== "" && !location.hash.startsWith("#/")) return;
  if (page?.unsaved() && location.hash !== shown.hash) {
    const wanted = location.hash;
    history.replaceState({ entry: shown.entry }, "", shown.hash);
    if (!await confirm(LOSING)) return;
    page.unsaved = () => false;
    location.hash = wanted;
    return;
  }
  open();
}

async function signOut() {
  if ((page?.unsaved() || configuration.hasDraft()) && !await confirm(LOSING)) return;
  configuration.dropDraft();
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
  if (page?.unsaved() || configuration.hasDraft() || isHeld()) event.preventDefault();
});
window.addEventListener(REFUSED, drawTabs);
window.addEventListener(SIGNED_OUT, () => {
  if (!key()) return;
  page?.keyLost();
  dropKey();
  closeDialogs({ all: true });
  showSignIn("The gateway no longer takes the key: it was revoked or has expired. Sign in again to go on where you were."
    + (configuration.hasDraft() ? " What you changed in the configuration is kept in this tab until then." : ""));
});
history.scrollRestoration = "manual";
if (key()) learn();
follow();
