// Rules and their alerts, ordered and searched; no DOM here.

import type { Alert, Labels, Rule, RuleGroup } from "../api.ts";

/** What a rule is to the reader; a rule that fails is broken, whatever its last state was, unless it fires. */
export type RuleState = "firing" | "broken" | "pending" | "new" | "inactive" | "recording";

export const stateOrder: readonly RuleState[] = ["firing", "broken", "pending", "new", "inactive", "recording"];

export function stateOf(r: Rule): RuleState {
  if (r.state === "firing") return "firing";
  if (r.health === "err") return "broken";
  if (r.state === "pending") return "pending";
  if (r.type === "recording") return "recording";
  return r.health === "unknown" ? "new" : "inactive";
}

const rankOf = (r: Rule): number => stateOrder.indexOf(stateOf(r));
const severities = ["critical", "page", "error", "warning", "info", "none"];

/** Smaller is worse; what has no severity stands between warning and info. */
export function severityRank(labels: Labels): number {
  const at = severities.indexOf((labels["severity"] ?? "").toLowerCase());
  return at < 0 ? 3.5 : at;
}

export type Counts = Record<RuleState, number>;

export function countsOf(groups: RuleGroup[]): Counts {
  const counts: Counts = { firing: 0, broken: 0, pending: 0, new: 0, inactive: 0, recording: 0 };
  for (const g of groups) for (const r of g.rules) counts[stateOf(r)]++;
  return counts;
}

/** The groups that hold such rules, what is worst first, in groups as among them. */
export function arrangeRules(groups: RuleGroup[], state: RuleState | null, search: string): RuleGroup[] {
  const words = search.toLowerCase().split(/\s+/).filter((w) => w !== "");
  const chosen = groups
    .map((g) => ({
      ...g,
      rules: g.rules.filter((r) => (state === null || stateOf(r) === state) && matchesRule(g, r, words)).sort(worseRule),
    }))
    .filter((g) => g.rules.length > 0);
  // A stable sort: groups alike stay as they stand in their files.
  return chosen.sort((a, b) => rankOf(a.rules[0] as Rule) - rankOf(b.rules[0] as Rule));
}

function worseRule(a: Rule, b: Rule): number {
  return rankOf(a) - rankOf(b) || severityRank(a.labels ?? {}) - severityRank(b.labels ?? {});
}

function matchesRule(g: RuleGroup, r: Rule, words: string[]): boolean {
  if (words.length === 0) return true;
  const pairs = (l: Labels | undefined): string[] => Object.entries(l ?? {}).map(([k, v]) => `${k}=${v}`);
  const alerts = (r.alerts ?? []).flatMap((a) => [...pairs(a.labels), ...Object.values(a.annotations)]);
  const text = [g.name, g.file, r.name, r.query, r.lastError ?? "", ...pairs(r.labels), ...pairs(r.annotations), ...alerts].join(" ").toLowerCase();
  return words.every((w) => text.includes(w));
}

/** Alerts of a rule: those that fire before those that wait, each the longest active first. */
export function sortedAlerts(r: Rule): Alert[] {
  const since = (a: Alert): number => timeOf(a.activeAt) ?? Infinity;
  return [...(r.alerts ?? [])].sort((a, b) => Number(b.state === "firing") - Number(a.state === "firing") || since(a) - since(b));
}

/** The labels that tell alerts of one rule apart: neither its name nor what the rule adds to all. */
export function ownLabels(a: Alert, r: Rule): [string, string][] {
  return Object.entries(a.labels)
    .filter(([k, v]) => k !== "alertname" && r.labels?.[k] !== v)
    .sort(([x], [y]) => (x < y ? -1 : 1));
}

/** Seconds of an RFC 3339 time; null for none and for the year 1, which stands for never. */
export function timeOf(text: string | undefined): number | null {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) || ms <= 0 ? null : ms / 1000;
}

/** A link that leads out of the page, or null for what is none. */
export function webLink(text: string | undefined): string | null {
  return text !== undefined && /^https?:\/\/\S+$/.test(text) ? text : null;
}
