// The targets of all jobs, sorted and searched; no DOM here.

import type { Target } from "./api.ts";

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
      (a, b) => healthOrder[a.health] - healthOrder[b.health] || a.scrapeUrl.localeCompare(b.scrapeUrl),
    ),
    down: list.filter((t) => t.health === "down").length,
    unknown: list.filter((t) => t.health === "unknown").length,
  }));
  return jobs.sort(
    (a, b) => b.down - a.down || b.unknown - a.unknown || a.name.localeCompare(b.name),
  );
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
