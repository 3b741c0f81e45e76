/**
 * How what a page shows stands: when it was read, or that it could not be. A failed read is tried
 * again by itself and by hand; what was read before stays, and is seen to be old.
 */

import { isAbort, Problem } from "./api.js";
import { busy, h, put, say } from "./dom.js";
import { attempt, problemView } from "./problem.js";
import { ago, poll } from "./time.js";

/** How soon a read that failed is tried again on pages that do not follow, in milliseconds. */
const RETRY = 3000;

/**
 * Reads now, again when asked to, and every so many milliseconds if `every` is given, until it says
 * null. While it fails `root` has the class `stale`.
 * @param {{ root: Element, read: () => Promise<unknown>, signal: AbortSignal,
 *   every?: number | (() => number | null), waiting?: string }} what
 * @returns {{ element: HTMLElement, again: () => Promise<void>, first: Promise<unknown> }} `element`
 *   says how it stands; `again` reads once more, as after a change; `first` ends with the first read
 */
export function reading({ root, read, signal, every, waiting = "Asking the gateway…" }) {
  const element = h("div", { class: "reading" }, h("p", {}, waiting));
  let at = null;
  let failure = null;
  let running = null;

  const turn = async () => {
    try {
      await read();
      if (signal.aborted) return;
      at = new Date().toISOString();
      if (failure?.code === "unreachable") say("The gateway answers again.", "good");
      failure = null;
      drawFresh();
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      if (!(error instanceof Problem)) console.error(error);
      const isNew = failure === null || `${failure.status} ${failure.code}` !== `${error.status} ${error.code}`;
      failure = error;
      // An alert that is drawn again is read out again.
      if (isNew) drawFailed();
    }
    root.classList.toggle("stale", failure !== null);
  };
  const once = () => (running ??= turn().finally(() => { running = null; }));
  /** A read that is under way may have begun before a change. */
  const again = async () => {
    await running;
    await once();
  };
  const button = (label, doing) => {
    const one = h("button", { type: "button", class: "small-button", onclick: () => busy(one, again, doing) }, label);
    return one;
  };
  const refresh = button("Refresh", "Reading…");
  const retry = button("Try again", "Trying…");

  const drawFresh = () => {
    if (refresh.isConnected) return element.querySelector("time").replaceWith(ago(at));
    replace(refresh, h("p", {}, "Read ", ago(at), refresh));
  };
  const drawFailed = () => replace(retry, problemView(failure, null,
    at ? h("p", {}, "What is shown here is old: it was read ", ago(at), ".") : null,
    isHopeless(failure) ? null : h("div", { class: "actions" }, retry, h("span", {}, "The console tries by itself, too."))));
  /** The button that is used goes with its message; the next one takes over its focus. */
  const replace = (next, content) => {
    const hadFocus = element.contains(document.activeElement);
    put(element, content);
    element.classList.toggle("failed", failure !== null);
    if (hadFocus && next.isConnected) next.focus({ preventScroll: true });
  };

  const often = () => (typeof every === "function" ? every() : every ?? null);
  const follows = () => at === null && failure === null || (failure ? !isHopeless(failure) : often() !== null);
  const pause = () => (failure ? RETRY : often() ?? RETRY);
  const first = poll(() => (follows() ? once() : undefined), pause, signal);
  return { element, again, first };
}

/** Whether the same read would be refused again, or failed by a fault of the console's own. */
function isHopeless(error) {
  return !(error instanceof Problem) || [400, 401, 403, 404, 422].includes(error.status);
}

/**
 * What is read when somebody opens it; opening it anew tries a read that failed again.
 * @param {string} summary what there is to open
 * @param {() => Promise<import("./dom.js").Child>} read
 */
export function onDemand(summary, read) {
  const place = h("div", {});
  let isAsked = false;
  const details = h("details", { ontoggle: async () => {
    if (!details.open || isAsked) return;
    isAsked = true;
    put(place, h("p", { class: "muted" }, "Reading…"));
    isAsked = await attempt(place, async () => put(place, await read()));
  } }, h("summary", {}, summary), place);
  return details;
}

/**
 * A button for the next part of a list. It stays where it is, and with it the focus, until there is
 * no more.
 * @param {string} label
 * @param {(cursor: string) => Promise<string | null | undefined>} read shows what follows the cursor
 *   and returns the next one
 * @returns {{ element: HTMLElement, show: (cursor: string | null) => void }} `show` says what follows
 *   the list as it is
 */
export function older(label, read) {
  let cursor = null;
  const go = () => attempt(trouble, async () => {
    put(trouble);
    show(await read(cursor));
  }, label);
  const button = h("button", { type: "button", onclick: () => busy(button, go, "Reading…") }, label);
  const end = h("span", { class: "muted", tabindex: "-1" }, "That is all.");
  const trouble = h("div", {});
  const place = h("div", { class: "pager" });
  const show = (next) => {
    const hadFocus = place.contains(document.activeElement);
    cursor = next ?? null;
    const now = cursor === null ? end : button;
    if (!now.isConnected) put(place, now);
    if (hadFocus) now.focus({ preventScroll: true });
  };
  return { element: h("div", {}, trouble, place), show };
}
