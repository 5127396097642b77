// What the status page tells about the server, as names and texts; no DOM here.

import type { Stat, TSDBStatus } from "./api.ts";
import { clock, formatAge, formatDay, formatValue } from "./format.ts";
import { exploreLink } from "./explore/address.ts";
import { quote } from "./layers.ts";

export type Fact = [name: string, text: string];

/** A local time with how long ago that was; "never" for none. */
export function moment(text: string | undefined, now: number): string {
  const ms = Date.parse(text ?? "");
  if (Number.isNaN(ms) || ms <= 0) return "never";
  return `${formatDay(ms / 1000)} ${clock(ms / 1000, true)}, ${formatAge(now - ms / 1000)}`;
}

const str = (v: unknown): string => (typeof v === "string" || typeof v === "number" ? String(v) : "");

/** Of /status/buildinfo. */
export function buildFacts(b: Record<string, unknown>): Fact[] {
  return known([
    ["Version", str(b["version"])],
    ["Revision", str(b["revision"])],
    ["Branch", str(b["branch"])],
    ["Built", [str(b["buildDate"]), str(b["buildUser"])].filter((t) => t !== "").join(" by ")],
    ["Go", str(b["goVersion"])],
  ]);
}

/** Of /status/runtimeinfo. */
export function runtimeFacts(r: Record<string, unknown>, now: number): Fact[] {
  const limit = Number(r["GOMEMLIMIT"]);
  return known([
    ["Host", str(r["hostname"])],
    ["Started", moment(str(r["startTime"]), now)],
    ["Configuration", `${r["reloadConfigSuccess"] === false ? "the last reload failed; in use is that of" : "loaded"} ${moment(str(r["lastConfigTime"]), now)}`],
    ["Storage keeps", str(r["storageRetention"])],
    ["Directory", str(r["CWD"])],
    ["Goroutines", str(r["goroutineCount"])],
    ["CPUs used at most", str(r["GOMAXPROCS"])],
    // Go's way to say none is the greatest number.
    ["Memory limit of Go", limit > 0 && limit < 2 ** 62 ? formatValue(limit, "bytes") : "none"],
    ["Corrupt records of the write-ahead log", Number(r["corruptionCount"]) > 0 ? str(r["corruptionCount"]) : ""],
  ]);
}

/** Of the head in /status/tsdb. */
export function headFacts({ headStats: s }: TSDBStatus): Fact[] {
  const span = s.minTime <= 0 || s.minTime > s.maxTime ? "empty" : `${formatDay(s.minTime / 1000)} ${clock(s.minTime / 1000, true)} to ${clock(s.maxTime / 1000, true)}`;
  return known([
    ["Series", s.numSeries.toLocaleString("en")],
    ["Chunks", s.chunkCount.toLocaleString("en")],
    ["Label pairs", s.numLabelPairs === undefined ? "" : s.numLabelPairs.toLocaleString("en")],
    ["Samples of", span],
  ]);
}

function known(facts: Fact[]): Fact[] {
  return facts.filter(([, text]) => text !== "");
}

export interface Ranking {
  title: string;
  of: string;
  rows: { name: string; text: string; href: string | null }[];
}

/** The greatest users of the head, each by what makes it great. */
export function rankings(t: TSDBStatus): Ranking[] {
  const count = (s: Stat): string => s.value.toLocaleString("en");
  const bytes = (s: Stat): string => formatValue(s.value, "bytes");
  const make = (title: string, of: string, stats: Stat[] | null, text: (s: Stat) => string, expr: (s: Stat) => string | null): Ranking => ({
    title,
    of,
    rows: (stats ?? []).map((s) => {
      const e = expr(s);
      return { name: s.name, text: text(s), href: e === null ? null : exploreLink(e) };
    }),
  });
  return [
    make("Metrics by series", "Series", t.seriesCountByMetricName, count, (s) => `count(${selector("__name__", s.name)})`),
    make("Labels by values", "Values", t.labelValueCountByLabelName, count, (s) => topValues(s.name)),
    make("Labels by memory", "Memory", t.memoryInBytesByLabelName, bytes, (s) => topValues(s.name)),
    make("Label pairs by series", "Series", t.seriesCountByLabelValuePair, count, (s) => {
      const at = s.name.indexOf("=");
      return at < 0 ? null : `topk(10, count by (__name__) (${selector(s.name.slice(0, at), s.name.slice(at + 1))}))`;
    }),
  ];
}

function selector(label: string, value: string): string {
  return `{${label}=${quote(value)}}`;
}

/** Which metrics carry a label most. */
function topValues(label: string): string | null {
  return /^[a-zA-Z_]\w*$/.test(label) ? `topk(10, count by (__name__) ({${label}!=""}))` : null;
}

/** The first lines of a text, and how many are left out. */
export function firstLines(text: string, limit: number): { text: string; rest: number } {
  const lines = text.split("\n");
  return lines.length <= limit ? { text, rest: 0 } : { text: lines.slice(0, limit).join("\n"), rest: lines.length - limit };
}
