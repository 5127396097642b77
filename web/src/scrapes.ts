// The targets of all jobs, sorted and searched; no DOM here.

import type { Target } from "./api.ts";
import { pauseAfter } from "./poller.ts";
import { parseDuration } from "./range.ts";

export interface Job {
  name: string;
  targets: Target[];
  down: number;
  unknown: number;
}

const healthOrder = { down: 0, unknown: 1, up: 2 };

/** Targets by job, unhealthy jobs and targets first, the rest by name. */
export function jobsOf(targets: Target[]): Job[] {
  const byName = new Map<string, Target[]>();
  for (const t of targets) {
    const list = byName.get(t.scrapePool);
    if (list) list.push(t);
    else byName.set(t.scrapePool, [t]);
  }
  const jobs = [...byName].map(([name, list]) => ({
    name,
    targets: list.sort(
      (a, b) => healthOrder[a.health] - healthOrder[b.health] || byText(a.scrapeUrl, b.scrapeUrl),
    ),
    down: list.filter((t) => t.health === "down").length,
    unknown: list.filter((t) => t.health === "unknown").length,
  }));
  return jobs.sort(
    (a, b) => b.down - a.down || b.unknown - a.unknown || byText(a.name, b.name),
  );
}

/** Plain order: that of a language takes a second for ten thousand addresses. */
function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * How long until the targets are worth asking again, in milliseconds: nothing
 * changes faster than the shortest scrape interval.
 */
export function refreshAfter(targets: Target[], tookMs: number): number {
  const shortest = targets.reduce((least, t) => Math.min(least, parseDuration(t.scrapeInterval) ?? 60), 60);
  return pauseAfter(tookMs, Math.max(shortest * 1000, 5000));
}

/** Rows of one job before "show more": fewer when there are many jobs, so that the page stays one. */
export function rowsPerJob(jobs: number): number {
  return Math.min(50, Math.max(5, Math.floor(1000 / Math.max(1, jobs))));
}

/** Whether each word of the search is somewhere in the target's job, address, labels or error. */
export function matches(t: Target, search: string): boolean {
  const words = search.toLowerCase().split(/\s+/).filter((w) => w !== "");
  if (words.length === 0) return true;
  const labels = Object.entries(t.labels).map(([k, v]) => `${k}=${v}`);
  const text = [t.scrapePool, t.scrapeUrl, t.health, t.lastError, ...labels].join(" ").toLowerCase();
  return words.every((w) => text.includes(w));
}

/** The time of a scrape in seconds; null for a target that was never scraped. */
export function scrapeTime(t: Target): number | null {
  const ms = Date.parse(t.lastScrape);
  return Number.isNaN(ms) || ms <= 0 ? null : ms / 1000;
}
