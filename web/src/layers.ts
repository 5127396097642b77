// What the overview shows, as data: layers, their panels, and their queries.
//
// Placeholders: $rate is a window for rate() that holds at least four scrapes;
// $host and $machine are label matchers that pick the chosen host by its exact
// instance (node metrics) or by the host part of it (other exporters on it);
// both are empty while there is just one host.

import { latest, type Series } from "./frame.ts";
import { formatValue, type Unit } from "./format.ts";
import { parseDuration } from "./range.ts";
import type { Target } from "./api.ts";

export interface PanelQuery {
  expr: string;
  /** Label text of a series, {{name}} standing for a label's value. */
  legend: string;
}

export interface Panel {
  id: string;
  title: string;
  unit: Unit;
  queries: PanelQuery[];
  stacked?: boolean;
  /** The scale's end where the quantity has one. */
  max?: number;
  /** A top list: who has left it is dropped from the chart. */
  top?: boolean;
  /** Labels of the series from the bottom of a stack up; others follow. */
  order?: string[];
  /** Series in descending order of their newest value. */
  worstFirst?: boolean;
  /** The one figure beside the title. */
  headline?: (series: Series[]) => string;
  /** Shown in place of an empty chart. */
  empty: string;
}

export interface Layer {
  id: "node" | "container" | "app" | "kube";
  title: string;
  /** Scrape jobs that feed this layer. */
  job: RegExp;
  /** What to do when no target of it is scraped. */
  absent: string;
  /** Why a healthy target may have no series yet. */
  idle: string;
  panels: Panel[];
}

/** How many members a top list has. */
export const topN = 8;

/**
 * The range of `expr` for those members that lead at its end. An `expr` takes
 * the text that pins its selectors to that end, so that the list is the same
 * at each step.
 */
function top(expr: (at: string) => string): string {
  return `${expr("")} and topk(${topN}, ${expr(" @ end()")})`;
}

const sum = (series: Series[], without: string[] = []): number =>
  series.filter((s) => !without.includes(s.label)).reduce((a, s) => a + (latest(s) ?? 0), 0);
const named = (series: Series[], label: string): number | null => {
  const s = series.find((x) => x.label === label);
  return s ? latest(s) : null;
};

const disks = `device!~"(loop|ram|zram|dm-|md|sr|fd).*"`;
const links = `device!~"(lo|veth|docker|br-|cni|flannel|cali|tunl|virbr|kube-|vxlan|ifb|dummy|lxc|cilium).*"`;
const disksRate = (m: string) => `sum(rate(${m}{${disks},$host}[$rate]))`;
const linksRate = (m: string) => `sum(rate(${m}{${links},$host}[$rate]))`;

const node: Layer = {
  id: "node",
  title: "Host",
  job: /node/i,
  absent: "No target: scrape strata-node (port 9100) under a job named node-exporter; strata up does so by itself.",
  idle: "its first scrape is not in yet.",
  panels: [
    {
      id: "cpu",
      title: "CPU used",
      unit: "ratio",
      stacked: true,
      queries: [
        {
          expr: `sum by (mode) (rate(node_cpu_seconds_total{mode!="idle",$host}[$rate])) / scalar(count(node_cpu_seconds_total{mode="idle",$host}))`,
          legend: "{{mode}}",
        },
      ],
      order: ["user", "system", "nice", "softirq", "irq", "steal", "iowait"],
      // A CPU that waits for a disk is not used.
      headline: (s) => formatValue(sum(s, ["iowait"]), "ratio"),
      empty: "No series of node_cpu_seconds_total yet; a rate needs two scrapes.",
    },
    {
      id: "memory",
      title: "Memory",
      unit: "bytes",
      stacked: true,
      queries: [
        { expr: `sum(node_memory_MemTotal_bytes{$host} - node_memory_MemAvailable_bytes{$host})`, legend: "used" },
        { expr: `sum(node_memory_MemAvailable_bytes{$host})`, legend: "available" },
      ],
      headline: (s) => `${formatValue(named(s, "used"), "bytes")} of ${formatValue(sum(s), "bytes")}`,
      empty: "No series of node_memory_MemAvailable_bytes.",
    },
    {
      id: "load",
      title: "Load",
      unit: "plain",
      queries: [
        { expr: `sum(node_load1{$host})`, legend: "1 min" },
        { expr: `sum(node_load5{$host})`, legend: "5 min" },
        { expr: `sum(node_load15{$host})`, legend: "15 min" },
      ],
      headline: (s) => formatValue(named(s, "1 min"), "plain"),
      empty: "No series of node_load1.",
    },
    {
      id: "disk",
      title: "Disk",
      unit: "bytes/s",
      queries: [
        { expr: disksRate("node_disk_read_bytes_total"), legend: "read" },
        { expr: disksRate("node_disk_written_bytes_total"), legend: "written" },
      ],
      headline: (s) => formatValue(sum(s), "bytes/s"),
      empty: "No disk in node_disk_read_bytes_total.",
    },
    {
      id: "network",
      title: "Network",
      unit: "bytes/s",
      queries: [
        { expr: linksRate("node_network_receive_bytes_total"), legend: "received" },
        { expr: linksRate("node_network_transmit_bytes_total"), legend: "sent" },
      ],
      headline: (s) => formatValue(sum(s), "bytes/s"),
      empty: "No link beside loopback in node_network_receive_bytes_total.",
    },
    {
      id: "filesystem",
      title: "Filesystems filled",
      unit: "ratio",
      max: 1,
      top: true,
      worstFirst: true,
      queries: [
        {
          expr: top((at) => {
            const of = (m: string) => `${m}{fstype!~"tmpfs|devtmpfs|ramfs|squashfs|iso9660|nsfs|efivarfs",$host}${at}`;
            return `max by (mountpoint) (1 - ${of("node_filesystem_avail_bytes")} / ${of("node_filesystem_size_bytes")})`;
          }),
          legend: "{{mountpoint}}",
        },
      ],
      headline: (s) => (s[0] ? `${formatValue(latest(s[0]), "ratio")} ${s[0].label}` : ""),
      empty: "No disk filesystem in node_filesystem_avail_bytes.",
    },
  ],
};

/** How a container exporter names containers: by pod, by name (Docker), or by cgroup alone. */
export type Naming = "pod" | "name" | "id";

const namings: Record<Naming, { by: string; match: string; legend: string }> = {
  pod: { by: "namespace, pod, container", match: `container!="",container!="POD"`, legend: "{{namespace}}/{{pod}}/{{container}}" },
  name: { by: "name", match: `container="",name!=""`, legend: "{{name}}" },
  id: { by: "id", match: `id!="/"`, legend: "{{id}}" },
};

/** One sample for each naming in use, the label `naming` saying which. */
export const namingQuery = (["pod", "name", "id"] as const)
  .map((n) => `label_replace(count(container_cpu_usage_seconds_total{${namings[n].match}}), "naming", "${n}", "", "")`)
  .join(" or ");

/** The container layer for the naming in use. */
export function containerLayer(naming: Naming): Layer {
  const { by, match, legend } = namings[naming];
  return {
    id: "container",
    title: "Containers",
    job: /kubelet|cadvisor|container/i,
    absent: "No target: scrape strata-container (port 9101) or a kubelet's /metrics/cadvisor.",
    idle: "no container runs, or its first scrape is not in yet.",
    panels: [
      {
        id: "container-cpu",
        title: "CPU by container",
        unit: "cores",
        top: true,
        worstFirst: true,
        queries: [
          { expr: top((at) => `sum by (${by}) (rate(container_cpu_usage_seconds_total{${match},$machine}[$rate]${at}))`), legend },
        ],
        headline: () => `top ${topN}, cores`,
        empty: "No series of container_cpu_usage_seconds_total; a rate needs two scrapes.",
      },
      {
        id: "container-memory",
        title: "Memory by container",
        unit: "bytes",
        top: true,
        worstFirst: true,
        queries: [{ expr: top((at) => `sum by (${by}) (container_memory_working_set_bytes{${match},$machine}${at})`), legend }],
        headline: () => `top ${topN}, working set`,
        empty: "No series of container_memory_working_set_bytes.",
      },
    ],
  };
}

const quantile = (q: number): string =>
  `histogram_quantile(${q}, sum by (le) (rate(http_request_duration_seconds_bucket[$rate])))`;

const app: Layer = {
  id: "app",
  title: "Applications",
  job: /(^|[^a-z])apps?([^a-z]|$)|sidecar/i,
  absent: "No target: put strata-app (port 9102) in front of an application and scrape it, or start strata up with --app.address.",
  idle: "no request has come through yet.",
  panels: [
    {
      id: "requests",
      title: "Requests by code",
      unit: "/s",
      stacked: true,
      queries: [{ expr: `sum by (code) (rate(http_requests_total[$rate]))`, legend: "{{code}}" }],
      headline: (s) => formatValue(sum(s), "/s"),
      empty: "No series of http_requests_total yet; a rate needs two scrapes.",
    },
    {
      id: "duration",
      title: "Request duration",
      unit: "seconds",
      queries: [
        { expr: quantile(0.5), legend: "p50" },
        { expr: quantile(0.9), legend: "p90" },
        { expr: quantile(0.99), legend: "p99" },
      ],
      headline: (s) => (named(s, "p99") === null ? "" : `p99 ${formatValue(named(s, "p99"), "seconds")}`),
      empty: "No request in this window, so no duration.",
    },
  ],
};

const kube: Layer = {
  id: "kube",
  title: "Kubernetes",
  job: /kube-?state/i,
  absent: "No target: scrape strata-kubestate (port 9103), or start strata up with --kubeconfig.",
  idle: "its first scrape is not in yet.",
  panels: [
    {
      id: "pods",
      title: "Pods by phase",
      unit: "count",
      stacked: true,
      queries: [{ expr: `sum by (phase) (kube_pod_status_phase) > 0`, legend: "{{phase}}" }],
      order: ["Running", "Succeeded", "Pending", "Unknown", "Failed"],
      headline: (s) => formatValue(sum(s), "count"),
      empty: "No series of kube_pod_status_phase.",
    },
    {
      id: "deployments",
      title: "Replicas by deployment",
      unit: "count",
      top: true,
      worstFirst: true,
      queries: [
        {
          expr: top((at) => `sum by (namespace, deployment) (kube_deployment_status_replicas${at})`),
          legend: "{{namespace}}/{{deployment}}",
        },
      ],
      headline: () => `top ${topN}`,
      empty: "No series of kube_deployment_status_replicas.",
    },
    {
      id: "nodes",
      title: "Nodes by condition",
      unit: "count",
      queries: [{ expr: `sum by (condition) (kube_node_status_condition{status="true"}) > 0`, legend: "{{condition}}" }],
      headline: (s) => (named(s, "Ready") === null ? "" : `${formatValue(named(s, "Ready"), "count")} ready`),
      empty: "No series of kube_node_status_condition.",
    },
    {
      id: "hpa",
      title: "Replicas by autoscaler",
      unit: "count",
      top: true,
      worstFirst: true,
      queries: [
        {
          expr: top((at) => `sum by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas${at})`),
          legend: "{{namespace}}/{{horizontalpodautoscaler}}",
        },
      ],
      headline: () => `top ${topN}`,
      empty: "No HorizontalPodAutoscaler.",
    },
  ],
};

export function layersFor(naming: Naming): Layer[] {
  return [node, containerLayer(naming), app, kube];
}

export interface Vars {
  /** Seconds. */
  rate: number;
  /** The chosen instance of the node exporter; null for the only one. */
  instance: string | null;
}

/** A text as a PromQL string. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

/** The host part of host:port, [v6]:port or a bare name. */
export function hostPart(instance: string): string {
  return instance.replace(/:\d+$/, "");
}

/** Puts values in the place of a query's placeholders. */
export function expand(expr: string, vars: Vars): string {
  const host = vars.instance === null ? "" : `instance=${quote(vars.instance)}`;
  const escaped = vars.instance === null ? "" : hostPart(vars.instance).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const machine = vars.instance === null ? "" : `instance=~${quote(`${escaped}(:[0-9]+)?`)}`;
  return (
    expr
      .replaceAll("$rate", `${vars.rate}s`)
      // Functions, since a replacement text gives $& and the like a meaning.
      .replaceAll("$machine", () => machine)
      .replaceAll("$host", () => host)
  );
}

/** The window for rate() over a layer: four of its scrape intervals, 20 s to 10 min. */
export function rateWindow(targets: Target[], layer: Layer): number {
  const mine = targets.filter((t) => layer.job.test(t.labels["job"] ?? t.scrapePool));
  const intervals = mine.map((t) => parseDuration(t.scrapeInterval) ?? 15);
  const longest = intervals.length === 0 ? 15 : Math.max(...intervals);
  return Math.min(Math.max(Math.ceil(4 * longest), 20), 600);
}

export interface LayerState {
  rank: "down" | "live" | "absent";
  /** One line that says why there is nothing, or that a part is missing; "" when all is well. */
  reason: string;
}

/** Why a layer shows what it shows, from its targets and from whether any of its queries has series. */
export function layerState(layer: Layer, targets: Target[], hasData: boolean): LayerState {
  const mine = targets.filter((t) => layer.job.test(t.labels["job"] ?? t.scrapePool));
  const down = mine.filter((t) => t.health === "down");
  const first = down[0];
  if (first) {
    const more = down.length > 1 ? ` (and ${down.length - 1} more)` : "";
    return { rank: "down", reason: `Target ${first.scrapeUrl}${more} is down: ${first.lastError || "no reason given"}` };
  }
  if (hasData) return { rank: "live", reason: "" };
  if (mine.length === 0) return { rank: "absent", reason: layer.absent };
  const which = mine.length === 1 ? `Target ${mine[0]?.scrapeUrl}` : `${mine.length} targets`;
  const waits = mine.every((t) => t.health === "unknown");
  return { rank: "live", reason: waits ? `${which} not scraped yet.` : `${which} up, no series yet: ${layer.idle}` };
}
