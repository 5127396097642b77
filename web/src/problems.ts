// What is wrong now: the list at the top of the overview.

import { severityRank } from "./alerting/rules.ts";
import { sampleNumber, type InstantSeries, type Labels, type Target } from "./api.ts";
import { exploreLink } from "./explore/address.ts";
import { formatValue } from "./format.ts";

export interface Problem {
  severity: "bad" | "warn";
  text: string;
  /** A page of this site that says more. */
  href: string;
}

export interface Check {
  severity: "bad" | "warn";
  expr: string;
  line: (labels: Labels, value: number) => string;
}

const object = (kind: string, l: Labels): string => [l["namespace"], l[kind]].filter(Boolean).join("/");

/** Queries that return a series for each thing that is wrong. */
export const checks: readonly Check[] = [
  {
    severity: "bad",
    expr: `kube_node_status_condition{condition="Ready",status="true"} == 0`,
    line: (l) => `Node ${l["node"] ?? ""} is not ready`,
  },
  {
    severity: "warn",
    expr: `kube_node_status_condition{condition=~".*Pressure|NetworkUnavailable",status="true"} == 1`,
    line: (l) => `Node ${l["node"] ?? ""} has ${l["condition"] ?? ""}`,
  },
  {
    severity: "warn",
    expr: `kube_pod_status_phase{phase=~"Failed|Unknown"} == 1`,
    line: (l) => `Pod ${object("pod", l)} is ${l["phase"] ?? ""}`,
  },
  {
    severity: "warn",
    expr: `kube_deployment_status_replicas_unavailable > 0`,
    line: (l, v) => `Deployment ${object("deployment", l)} has ${v} unavailable ${v === 1 ? "replica" : "replicas"}`,
  },
  {
    severity: "warn",
    expr: `1 - node_filesystem_avail_bytes{fstype!~"tmpfs|devtmpfs|ramfs|squashfs|iso9660"} / node_filesystem_size_bytes > 0.9`,
    line: (l, v) => `Filesystem ${l["mountpoint"] ?? ""} on ${l["instance"] ?? ""} is ${formatValue(v, "ratio")} full`,
  },
];

/** Firing alerts, counted by the server: one that fires for each of 5,000 pods is one line. */
export const alertsQuery = `count by (alertname, severity) (ALERTS{alertstate="firing"})`;
/** More rules than these that fire at once are read on their own page. */
const alertLines = 12;

/** The alerts that fire, the most severe first; information and watchdogs are no problem. */
export function alertProblems(series: InstantSeries[]): Problem[] {
  const rank = (s: InstantSeries): number => severityRank(s.metric);
  const information = severityRank({ severity: "info" });
  const all = series.filter((s) => rank(s) < information).sort((a, b) => rank(a) - rank(b));
  const lines = all.slice(0, alertLines).map((s): Problem => {
    const { alertname = "", severity = "" } = s.metric;
    const n = sampleNumber(s.value?.[1] ?? "1");
    return {
      severity: severity === "warning" ? "warn" : "bad",
      text: `Alert ${alertname} fires${n > 1 ? ` ${n} times` : ""}${severity === "" ? "" : ` (${severity})`}`,
      href: `./alerts?${new URLSearchParams({ search: alertname, state: "firing" }).toString()}`,
    };
  });
  const rest = all.length - lines.length;
  if (rest > 0) lines.push({ severity: "warn", text: `… and ${rest} more alerts`, href: "./alerts?state=firing" });
  return lines;
}

/** How many lines one check adds before it only counts. */
export const linesPerCheck = 3;

/** Turns a check's result, of which `series` may be the first part, into lines. */
export function problemsOf(check: Check, series: InstantSeries[]): Problem[] {
  const href = exploreLink(check.expr);
  const lines = series.slice(0, linesPerCheck).map((s) => ({
    severity: check.severity,
    text: check.line(s.metric, sampleNumber(s.value?.[1] ?? "NaN")),
    href,
  }));
  if (series.length > linesPerCheck) {
    lines.push({ severity: check.severity, text: "… and more of these", href });
  }
  return lines;
}

/** Targets that are down, by job. */
export function targetProblems(targets: Target[]): Problem[] {
  const byJob = new Map<string, Target[]>();
  for (const t of targets) {
    if (t.health === "down") byJob.set(t.scrapePool, [...(byJob.get(t.scrapePool) ?? []), t]);
  }
  return [...byJob].map(([job, down]) => {
    const all = targets.filter((t) => t.scrapePool === job).length;
    return {
      severity: "bad",
      text: `Job ${job}: ${down.length} of ${all} ${all === 1 ? "target" : "targets"} down`,
      href: `./targets?${new URLSearchParams({ search: job, unhealthy: "1" }).toString()}`,
    };
  });
}
