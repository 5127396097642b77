// Range results as columns over one grid of times, which is what a chart draws.

import { sampleNumber, type Labels, type RangeData } from "./api.ts";
import { formatSeries } from "./format.ts";

export interface Series {
  /** Identity across refreshes. */
  key: string;
  label: string;
  labels: Labels;
  /** One per time of the frame; null where there is no finite value. */
  values: (number | null)[];
}

export interface Frame {
  /** Seconds, ascending, one step apart. */
  times: number[];
  series: Series[];
}

export interface Grid {
  start: number;
  end: number;
  step: number;
}

/** The grid of a window that ends now: aligned to the step, so that later windows share its points. */
export function gridOf(now: number, window: number, step: number): Grid {
  const end = Math.floor(now / step) * step;
  return { start: end - Math.floor(window / step) * step, end, step };
}

/** A step that gives about `points` points, never under `least` seconds. */
export function stepFor(window: number, points: number, least: number): number {
  const nice = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  const want = Math.max(window / points, least);
  return nice.find((s) => s >= want) ?? Math.ceil(want / 3600) * 3600;
}

/** {{label}} in a legend stands for the label's value; what remains empty is the whole series. */
export function legendText(template: string, labels: Labels): string {
  const text = template.replace(/\{\{\s*([\w.]+)\s*\}\}/g, (_, name: string) => labels[name] ?? "");
  // A pod's path with parts missing: no slashes for what is not there.
  const tidy = text.replace(/\/{2,}/g, "/").trim();
  return tidy === "" ? formatSeries(labels) : tidy;
}

/** Puts a range result on its grid. */
export function frameOf(data: RangeData, grid: Grid, legend: string): Frame {
  const n = Math.round((grid.end - grid.start) / grid.step) + 1;
  const times = Array.from({ length: n }, (_, i) => grid.start + i * grid.step);
  const series = data.result.map((r) => {
    const values: (number | null)[] = new Array<number | null>(n).fill(null);
    for (const [t, text] of r.values ?? []) {
      const i = Math.round((t - grid.start) / grid.step);
      const v = sampleNumber(text);
      if (i >= 0 && i < n && Number.isFinite(v)) values[i] = v;
    }
    return { key: legend + formatSeries(r.metric), label: legendText(legend, r.metric), labels: r.metric, values };
  });
  return { times, series: series.filter((s) => s.values.some((v) => v !== null)) };
}

/** Frames of several queries on the same grid, side by side; labels named in `order` first. */
export function join(frames: Frame[], order: string[] = []): Frame {
  const place = (s: Series): number => {
    const at = order.indexOf(s.label);
    return at < 0 ? order.length : at;
  };
  const series = frames.flatMap((f) => f.series).sort((a, b) => place(a) - place(b));
  return { times: frames[0]?.times ?? [], series };
}

/**
 * Carries a frame on with the newest part of it: the old points before the
 * fresh grid, then the fresh ones. Null when the fresh part cannot stand for
 * the whole, and all has to be asked again: another step, a gap, or a series
 * with a history that the old frame does not hold (with `exact`, also one that
 * has left, as from a top list).
 */
export function carryOn(old: Frame, fresh: Frame, window: number, exact: boolean): Frame | null {
  const [first, second] = fresh.times;
  const oldStep = (old.times[1] ?? 0) - (old.times[0] ?? 0);
  if (first === undefined || second === undefined || oldStep !== second - first) return null;
  const cut = old.times.indexOf(first);
  if (cut < 0) return null;
  const known = new Map(old.series.map((s) => [s.key, s]));
  if (fresh.series.some((s) => !known.has(s.key))) return null;
  if (exact && fresh.series.length !== old.series.length) return null;

  const times = [...old.times.slice(0, cut), ...fresh.times];
  const drop = Math.max(0, times.length - 1 - Math.floor(window / oldStep));
  const tails = new Map(fresh.series.map((s) => [s.key, s.values]));
  const blank = fresh.times.map(() => null);
  const series = old.series.map((s) => ({
    ...s,
    values: [...s.values.slice(0, cut), ...(tails.get(s.key) ?? blank)].slice(drop),
  }));
  return { times: times.slice(drop), series: series.filter((s) => s.values.some((v) => v !== null)) };
}

/** The newest value of a series that is not older than `points` steps, or null. */
export function latest(s: Series, points = 6): number | null {
  for (let i = s.values.length - 1; i >= Math.max(0, s.values.length - points); i--) {
    const v = s.values[i];
    if (v !== null && v !== undefined) return v;
  }
  return null;
}

/** The time of the first point of any series, or null. */
export function firstTime(f: Frame): number | null {
  const i = f.times.findIndex((_, at) => f.series.some((s) => s.values[at] !== null));
  return f.times[i] ?? null;
}

/** Running sums from the first series up, for a stacked chart; a hole counts as nothing where others have a value. */
export function stack(series: Series[]): (number | null)[][] {
  const out: (number | null)[][] = [];
  for (const s of series) {
    const below = out.at(-1);
    out.push(
      s.values.map((v, i) => {
        const under = below?.[i] ?? null;
        return v === null && under === null ? null : (v ?? 0) + (under ?? 0);
      }),
    );
  }
  return out;
}
