// What Explore keeps in the address: queries, range, end and refresh.

import { anyRange, parseDuration, type Range } from "../range.ts";

export interface Asked {
  /** One a panel; at least one, which may be empty. */
  exprs: string[];
  range: Range;
  /** Seconds; null follows the clock. */
  end: number | null;
  /** Seconds between runs; null runs when asked. */
  refresh: number | null;
}

/** More panels than these in one address are a mistake of who wrote it. */
export const maxPanels = 20;
const defaultRange = "1h";

/** Reads our own parameters, and those of Prometheus and Alertmanager's links (g0.expr, g1.expr, ...). */
export function askedFrom(params: URLSearchParams): Asked {
  const theirs: string[] = [];
  for (let i = 0; i < maxPanels && params.has(`g${i}.expr`); i++) theirs.push(params.get(`g${i}.expr`) ?? "");
  const ours = params.getAll("expr").slice(0, maxPanels);
  const exprs = ours.length > 0 ? ours : theirs;
  const refresh = parseDuration(params.get("refresh") ?? "");
  return {
    exprs: exprs.length > 0 ? exprs : [""],
    range: anyRange(params.get("range") ?? params.get("g0.range_input")) ?? (anyRange(defaultRange) as Range),
    end: timeOf(params.get("end") ?? params.get("g0.end_input")),
    refresh: refresh === null || refresh < 1 ? null : refresh,
  };
}

/** The parameters that give the same again; what is as by default is left out. */
export function paramsOf(a: Asked): URLSearchParams {
  const params = new URLSearchParams();
  const written = a.exprs.filter((e) => e !== "");
  for (const e of written) params.append("expr", e);
  if (a.range.id !== defaultRange) params.set("range", a.range.id);
  if (a.end !== null) params.set("end", new Date(Math.round(a.end) * 1000).toISOString().replace(".000Z", "Z"));
  if (a.refresh !== null) params.set("refresh", `${a.refresh}s`);
  return params;
}

/** A link to queries in Explore. */
export function exploreLink(...exprs: string[]): string {
  return `./explore?${new URLSearchParams(exprs.map((e) => ["expr", e])).toString()}`;
}

/** Seconds of a time as RFC 3339, as Prometheus' page writes it (2026-01-02 03:04:05, UTC), or in seconds. */
function timeOf(text: string | null): number | null {
  if (text === null || text === "") return null;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const theirs = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d(:\d\d)?)$/.exec(text);
  const ms = Date.parse(theirs ? `${theirs[1]}T${theirs[2]}Z` : text);
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** A local time as a datetime-local field takes it. */
export function fieldTime(seconds: number): string {
  const d = new Date(seconds * 1000);
  return new Date(seconds * 1000 - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
