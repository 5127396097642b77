// The windows that queries need: how often what they read is scraped.

import type { Target } from "../api.ts";
import { parseDuration } from "../range.ts";

/** Scrape intervals in seconds: of each job, and one that covers nearly all targets. */
export interface Intervals {
  byJob: ReadonlyMap<string, number>;
  usual: number;
}

/** What Grafana takes where nothing is known. */
export const unknownIntervals: Intervals = { byJob: new Map(), usual: 15 };

export function intervalsOf(targets: readonly Pick<Target, "labels" | "scrapeInterval">[]): Intervals {
  const all = targets.map((t) => ({ job: t.labels["job"] ?? "", secs: parseDuration(t.scrapeInterval) ?? 15 })).sort((a, b) => a.secs - b.secs);
  const byJob = new Map<string, number>();
  for (const t of all) byJob.set(t.job, t.secs); // ascending, so that the longest stays
  const usual = all[Math.min(all.length - 1, Math.ceil(all.length * 0.95) - 1)]?.secs;
  return usual === undefined ? unknownIntervals : { byJob, usual };
}

/** The interval for a query: that of the jobs it names, else the usual one. */
export function intervalFor(expr: string, known: Intervals): number {
  let longest = 0;
  for (const [, op, text] of expr.matchAll(/\bjob\s*(=~?)\s*"([^"]*)"/g)) {
    const names = op === "=" ? [text as string] : (text as string).replace(/^\(|\)$/g, "").split("|");
    for (const n of names) longest = Math.max(longest, known.byJob.get(n) ?? 0);
  }
  return longest > 0 ? longest : known.usual;
}

/** $__rate_interval: holds four scrapes, and one more than a step. */
export function rateInterval(step: number, scrape: number): number {
  return Math.max(4 * scrape, step + scrape);
}
