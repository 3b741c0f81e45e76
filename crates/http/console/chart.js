/** Invites per minute, from the counters that successive polls of this tab saw. */

import { h, svg, write } from "./dom.js";

/** How many points a chart keeps. */
const POINTS = 60;
/** Each point is the mean over this long, so that single batches do not draw a fence. */
const MEAN_OVER = 10_000;
/** Points further apart than so many polls leave a gap: nothing is known of the time between. */
const GAP = 3.5;
const WIDTH = 240;
const HEIGHT = 44;

/** What was counted of one provider, and when. */
export class Rate {
  /** @type {{ at: number, total: number, perMinute: number | null }[]} */
  points = [];

  /**
   * Takes a poll's counter; polls are `every` milliseconds apart. A counter that fell belongs to
   * another process: it starts anew.
   */
  add(at, total, every) {
    const last = this.points.at(-1);
    const goesOn = last && at - last.at <= GAP * every && total >= last.total;
    this.points.push({ at, total, perMinute: goesOn ? this.#mean(at, total) : null });
    if (this.points.length > POINTS) this.points.shift();
  }

  #mean(at, total) {
    let from = this.points.length - 1;
    while (this.points[from].perMinute !== null && from > 0 && at - this.points[from - 1].at <= MEAN_OVER) from -= 1;
    const { at: since, total: before } = this.points[from];
    return ((total - before) / (at - since)) * 60_000;
  }

  /** Null until two polls can be compared. */
  get now() {
    return this.points.at(-1)?.perMinute ?? null;
  }

  get peak() {
    return Math.max(0, ...this.points.map((point) => point.perMinute ?? 0));
  }

  /** Seconds from the first point to the last. */
  get span() {
    return this.points.length < 2 ? 0 : Math.round((this.points.at(-1).at - this.points[0].at) / 1000);
  }
}

/** A number of invites per minute for reading. */
export function perMinute(rate) {
  if (rate === null) return "–";
  return rate >= 10 || rate === 0 ? Math.round(rate).toLocaleString() : rate.toFixed(1);
}

/** A drawing that `draw` brings up to date. */
export function chart(name) {
  const line = svg("path", { class: "chart-line" });
  const area = svg("path", { class: "chart-area" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    svg("path", { class: "chart-base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }), area, line);
  const covers = h("span", {});
  const peak = h("span", {});
  const element = h("figure", { class: "chart" }, drawing, h("figcaption", {}, covers, peak));
  const draw = (rate) => {
    const end = rate.points.at(-1)?.at ?? 0;
    const start = Math.min(rate.points[0]?.at ?? 0, end - 2 * (POINTS - 1) * 1000);
    const top = Math.max(rate.peak, 6);
    const runs = [[]];
    for (const point of rate.points) {
      if (point.perMinute === null) runs.push([]);
      else {
        const x = ((point.at - start) / (end - start)) * WIDTH;
        runs.at(-1).push([x.toFixed(1), (HEIGHT - 1 - (point.perMinute / top) * (HEIGHT - 4)).toFixed(1)]);
      }
    }
    const drawn = runs.filter((run) => run.length > 1);
    const path = (run) => `M${run.map((pair) => pair.join(" ")).join("L")}`;
    line.setAttribute("d", drawn.map(path).join(""));
    area.setAttribute("d", drawn.map((run) => `${path(run)}V${HEIGHT}H${run[0][0]}Z`).join(""));
    drawing.setAttribute("aria-label",
      `Invites per minute at ${name}: ${perMinute(rate.now)} now, at most ${perMinute(rate.peak)} in the last ${rate.span} seconds`);
    write(covers, rate.span ? `last ${rate.span} s, as seen by this tab` : "begins with the next poll");
    write(peak, rate.peak ? `peak ${perMinute(rate.peak)}/min` : "");
  };
  return { element, draw };
}

/** A legend for all charts of a page that are read every so many milliseconds. */
export function explain(place, every) {
  const seconds = (time) => `${(time / 1000).toLocaleString(undefined, { maximumFractionDigits: 1 })} seconds`;
  write(place, `Charts: invites per minute that the provider took, counted by the process that answers and read by this tab every ${seconds(every)}; each point is the mean of up to ${seconds(Math.max(MEAN_OVER, every))} before it.`);
}
