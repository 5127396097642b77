// Autoscalers as the kubestate exporter shows them, put together from its
// series; no DOM here.

import { sampleNumber, type InstantSeries, type Labels } from "../api.ts";
import type { Unit } from "../format.ts";
import { formatSeries } from "../format.ts";
import type { Frame, Series } from "../frame.ts";
import { quote } from "../layers.ts";

const prefix = "kube_horizontalpodautoscaler_";

/** More series than these belong to more autoscalers than anybody looks through. */
export const maxSeries = 30_000;

/** All that is shown of all autoscalers but their conditions. */
export const allQuery = `{__name__=~"${prefix}(info|spec_min_replicas|spec_max_replicas|spec_target_metric|status_current_replicas|status_desired_replicas|status_target_metric)"}`;
/** Of the conditions, those states that hold. */
export const conditionQuery = `${prefix}status_condition == 1`;

/** How a value is meant: a percentage of the request, an average over pods, or as it is. */
export type TargetType = "utilization" | "average" | "value";

export interface Aim {
  metric: string;
  type: TargetType;
  /** Of a container's resource; else "". */
  container: string;
  target: number | null;
  /** What was read last; null when nothing was. */
  given: number | null;
}

export interface Autoscaler {
  key: string;
  /** Labels that pick its series: namespace, horizontalpodautoscaler, and cluster where there is one. */
  id: Labels;
  namespace: string;
  name: string;
  /** Such as Deployment/cart; "" when not known. */
  scales: string;
  min: number | null;
  max: number | null;
  current: number | null;
  desired: number | null;
  aims: Aim[];
  /** Status by condition: true, false, unknown. */
  conditions: Record<string, string>;
}

/** Puts the series of all autoscalers together; those that two scrapes of one object doubled are one. */
export function autoscalersOf(series: InstantSeries[], conditions: InstantSeries[]): Autoscaler[] {
  const all = new Map<string, Autoscaler>();
  const of = (l: Labels): Autoscaler => {
    const id = idOf(l);
    const key = formatSeries(id);
    let a = all.get(key);
    if (!a) {
      a = { key, id, namespace: l["namespace"] ?? "", name: l["horizontalpodautoscaler"] ?? "", scales: "", min: null, max: null, current: null, desired: null, aims: [], conditions: {} };
      all.set(key, a);
    }
    return a;
  };
  for (const s of series) add(of(s.metric), s.metric, sampleNumber(s.value?.[1] ?? "NaN"));
  for (const s of conditions) of(s.metric).conditions[s.metric["condition"] ?? ""] = s.metric["status"] ?? "";
  return [...all.values()];
}

function idOf(l: Labels): Labels {
  const id: Labels = { namespace: l["namespace"] ?? "", horizontalpodautoscaler: l["horizontalpodautoscaler"] ?? "" };
  return l["cluster"] === undefined ? id : { ...id, cluster: l["cluster"] };
}

function add(a: Autoscaler, l: Labels, value: number): void {
  switch ((l["__name__"] ?? "").slice(prefix.length)) {
    case "info":
      a.scales = [l["scaletargetref_kind"], l["scaletargetref_name"]].filter(Boolean).join("/");
      break;
    case "spec_min_replicas":
      a.min = value;
      break;
    case "spec_max_replicas":
      a.max = value;
      break;
    case "status_current_replicas":
      a.current = value;
      break;
    case "status_desired_replicas":
      a.desired = value;
      break;
    case "spec_target_metric":
      aim(a, l).target = value;
      break;
    case "status_target_metric":
      aim(a, l).given = value;
      break;
  }
}

function aim(a: Autoscaler, l: Labels): Aim {
  const [metric, type, container] = [l["metric_name"] ?? "", l["metric_target_type"] as TargetType, l["container"] ?? ""];
  let found = a.aims.find((x) => x.metric === metric && x.type === type && x.container === container);
  if (!found) {
    found = { metric, type, container, target: null, given: null };
    a.aims.push(found);
  }
  return found;
}

/** What is aimed at. The status also tells cpu's average beside its utilization, which nothing aims at. */
export function aimsOf(a: Autoscaler): Aim[] {
  return a.aims.filter((x) => x.target !== null).sort((x, y) => (aimName(x) < aimName(y) ? -1 : 1));
}

export function aimName(x: Aim): string {
  return x.container === "" ? x.metric : `${x.metric} of ${x.container}`;
}

/** Percentages come as whole numbers; the resources' averages are cores and bytes; else nobody knows. */
export function aimUnit(x: Aim): Unit {
  if (x.type === "utilization") return "percent";
  if (x.metric === "cpu") return "cores";
  return /^memory$|^ephemeral-storage$|_bytes$/.test(x.metric) ? "bytes" : "plain";
}

export type Severity = "bad" | "warn" | "fine" | "off";

export interface Verdict {
  severity: Severity;
  /** In a few words. */
  text: string;
  /** What it means and what to do; "" when all is well. */
  advice: string;
}

/** How it goes, the worst that can be said of it. */
export function verdict(a: Autoscaler): Verdict {
  if (a.current === 0 && a.conditions["ScalingActive"] === "false") {
    return { severity: "off", text: "off", advice: "Its target is scaled to 0, which turns autoscaling off." };
  }
  if (a.conditions["AbleToScale"] === "false") {
    return { severity: "bad", text: "cannot scale", advice: `It cannot read or write the scale of ${a.scales || "its target"}: kubectl describe hpa says why.` };
  }
  if (a.conditions["ScalingActive"] === "false") {
    const missing = aimsOf(a).filter((x) => x.given === null).map(aimName);
    const what = missing.length === 0 ? "its metrics" : missing.join(", ");
    return { severity: "bad", text: "cannot get metrics", advice: `It reads no value of ${what}: kubectl describe hpa says which API failed.` };
  }
  if (a.max !== null && a.current !== null && a.current >= a.max && (a.conditions["ScalingLimited"] === "true" || (a.desired ?? 0) >= a.max)) {
    return { severity: "warn", text: "at its maximum", advice: `It runs the ${a.max} replicas that it may; more load is not answered by more pods.` };
  }
  if (Object.values(a.conditions).includes("unknown")) {
    return { severity: "warn", text: "unknown", advice: "A condition is unknown: the controller has not judged it yet." };
  }
  if (a.desired !== null && a.current !== null && a.desired !== a.current) {
    return { severity: "fine", text: a.desired > a.current ? "scaling up" : "scaling down", advice: "" };
  }
  return { severity: "fine", text: "steady", advice: "" };
}

const severityOrder: readonly Severity[] = ["bad", "warn", "fine", "off"];

/** Those of a namespace ("" for all) whose name or target holds the search, the worst first. */
export function choose(all: Autoscaler[], namespace: string, search: string): Autoscaler[] {
  const want = search.trim().toLowerCase();
  const rank = (a: Autoscaler): number => severityOrder.indexOf(verdict(a).severity);
  return all
    .filter((a) => (namespace === "" || a.namespace === namespace) && `${a.namespace}/${a.name} ${a.scales}`.toLowerCase().includes(want))
    .sort((a, b) => rank(a) - rank(b) || (a.key < b.key ? -1 : 1));
}

const matchersOf = (a: Autoscaler): string =>
  Object.entries(a.id)
    .map(([k, v]) => `${k}=${quote(v)}`)
    .join(",");

/** The history of one autoscaler in one query; scrapes by two exporters are one. */
export function historyQuery(a: Autoscaler): string {
  return `{__name__=~"${prefix}(spec_min_replicas|spec_max_replicas|spec_target_metric|status_current_replicas|status_desired_replicas|status_target_metric)",${matchersOf(a)}}`;
}

/** The same for Explore, where each query is a panel. */
export function exploreQueries(a: Autoscaler): string[] {
  const m = matchersOf(a);
  return [`{__name__=~"${prefix}(spec|status)_target_metric",${m}}`, `{__name__=~"${prefix}(spec|status)_(min|max|current|desired)_replicas",${m}}`];
}

/** The part of its history that one chart shows, its series named for people. */
export function replicaFrame(history: Frame): Frame {
  const names: [string, string][] = [
    ["status_current_replicas", "current"],
    ["status_desired_replicas", "desired"],
    ["spec_min_replicas", "min"],
    ["spec_max_replicas", "max"],
  ];
  return { times: history.times, series: names.flatMap(([family, label]) => pick(history, family, label, () => true)) };
}

export function aimFrame(history: Frame, x: Aim): Frame {
  const mine = (l: Labels): boolean => l["metric_name"] === x.metric && l["metric_target_type"] === x.type && (l["container"] ?? "") === x.container;
  return { times: history.times, series: [...pick(history, "status_target_metric", "given", mine), ...pick(history, "spec_target_metric", "target", mine)] };
}

function pick(history: Frame, family: string, label: string, mine: (l: Labels) => boolean): Series[] {
  const found = history.series.filter((s) => s.labels["__name__"] === prefix + family && mine(s.labels));
  const [first] = found;
  if (!first) return [];
  // An exporter that was replaced has left an older series of the same: they make one line.
  const values = first.values.map((_, i) => found.map((s) => s.values[i]).findLast((v) => v !== null && v !== undefined) ?? null);
  return [{ ...first, key: label, label, values }];
}
