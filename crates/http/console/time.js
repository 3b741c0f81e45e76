/** Times: in the reader's zone, with UTC in the title; the relative ones grow older by themselves. */

import { h, write } from "./dom.js";

const LONG = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23", timeZoneName: "short",
});
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** "3 min ago". */
export function relative(at, now = Date.now()) {
  const seconds = Math.round((at - now) / 1000);
  if (Math.abs(seconds) < 3) return "now";
  const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size);
  return RELATIVE.format(Math.trunc(seconds / size), unit).replace(".", "").replace("sec", "s");
}

/** A moment told by its distance; null where there is none. */
export function ago(text) {
  if (!text) return null;
  const at = Date.parse(text);
  const title = `${LONG.format(at)}\n${new Date(at).toISOString()} (UTC)`;
  return h("time", { datetime: text, title, "data-relative": at }, relative(at));
}

/** A moment told by its distance, and below by the clock. */
export function stamp(text) {
  return text ? [ago(text), h("span", { class: "sub" }, LONG.format(Date.parse(text)))] : null;
}

/** The reader's time zone, for fields that take a time. */
export const ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A moment by the clock, followed by its distance. */
export function moment(text) {
  if (!text) return null;
  const at = Date.parse(text);
  const utc = `${new Date(at).toISOString()} (UTC)`;
  return h("span", {}, h("time", { datetime: text, title: utc }, LONG.format(at)), " ",
    h("span", { class: "muted" }, "(", ago(text), ")"));
}

/** Milliseconds as a person says them. */
export function took(ms) {
  if (ms === null || ms === undefined) return "under way";
  return ms < 10000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    write(element, relative(Number(element.dataset.relative)));
  }
}, 5000);

/**
 * Calls `work` now and again `every` milliseconds after it ended, while the page is open and the
 * tab is to be seen.
 * @param {(signal: AbortSignal) => Promise<unknown>} work
 * @param {number | (() => number)} every
 * @param {AbortSignal} signal
 */
export function poll(work, every, signal) {
  let timer = 0;
  let running = false;
  const turn = async () => {
    clearTimeout(timer);
    if (running || document.hidden || signal.aborted) return;
    running = true;
    try {
      await work(signal);
    } finally {
      running = false;
      if (!signal.aborted) timer = setTimeout(turn, typeof every === "function" ? every() : every);
    }
  };
  document.addEventListener("visibilitychange", turn, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return turn();
}
