// A `strata server` with a story to tell: autoscalers in every state, as the
// kubestate exporter shows them, rules in every state, a target that is down,
// and a metric with 50,000 series.

import { writeFileSync } from "node:fs";
import { createServer, type Server as HTTPServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { begun, start, type Server } from "./server.ts";

export const manySeries = 50_000;

interface Autoscaler {
  namespace: string;
  name: string;
  min: number;
  max: number;
  current: number;
  desired: number;
  /** metric_name, metric_target_type, container, target, and the value given or null. */
  metrics: [string, string, string, number, number | null][];
  /** Status of the conditions AbleToScale, ScalingActive, ScalingLimited. */
  conditions: [boolean, boolean, boolean];
}

/** The autoscalers at the n-th scrape: the numbers move, as they do in a cluster. */
function autoscalers(n: number): Autoscaler[] {
  const load = 8 + 6 * Math.sin(n / 6);
  const pods = 3 + Math.round(load / 4);
  return [
    { namespace: "shop", name: "cart", min: 2, max: 12, current: pods, desired: Math.max(2, Math.round(pods * (load / 10))), metrics: [["http_requests_per_second", "average", "", 10, load], ["cpu", "utilization", "", 70, 40 + load * 2]], conditions: [true, true, false] },
    { namespace: "shop", name: "checkout", min: 1, max: 5, current: 5, desired: 5, metrics: [["memory", "average", "checkout", 256 * 2 ** 20, 410 * 2 ** 20]], conditions: [true, true, true] },
    { namespace: "batch", name: "worker", min: 1, max: 40, current: 3, desired: 3, metrics: [["queue_messages_ready", "value", "", 100, null]], conditions: [true, false, false] },
    { namespace: "batch", name: "night", min: 1, max: 4, current: 0, desired: 0, metrics: [["cpu", "utilization", "", 80, null]], conditions: [true, false, false] },
  ];
}

/** The text that the kubestate exporter gives for autoscalers. */
function exposition(list: Autoscaler[]): string {
  const out: string[] = [];
  const family = (name: string, lines: (a: Autoscaler, id: string) => string[]): void => {
    out.push(`# TYPE kube_horizontalpodautoscaler_${name} gauge`);
    for (const a of list) {
      const id = `namespace="${a.namespace}",horizontalpodautoscaler="${a.name}"`;
      for (const l of lines(a, id)) out.push(`kube_horizontalpodautoscaler_${name}${l}`);
    }
  };
  const target = (id: string, [name, type, container]: Autoscaler["metrics"][number]): string =>
    `{${id},metric_name="${name}",metric_target_type="${type}",container="${container}"}`;
  family("info", (a, id) => [`{${id},scaletargetref_kind="Deployment",scaletargetref_name="${a.name}",scaletargetref_api_version="apps/v1"} 1`]);
  family("spec_max_replicas", (a, id) => [`{${id}} ${a.max}`]);
  family("spec_min_replicas", (a, id) => [`{${id}} ${a.min}`]);
  family("spec_target_metric", (a, id) => a.metrics.map((m) => `${target(id, m)} ${m[3]}`));
  family("status_target_metric", (a, id) => a.metrics.filter((m) => m[4] !== null).map((m) => `${target(id, m)} ${m[4]}`));
  family("status_current_replicas", (a, id) => [`{${id}} ${a.current}`]);
  family("status_desired_replicas", (a, id) => [`{${id}} ${a.desired}`]);
  family("status_condition", (a, id) =>
    ["AbleToScale", "ScalingActive", "ScalingLimited"].flatMap((condition, i) =>
      ["true", "false", "unknown"].map((status) => `{${id},condition="${condition}",status="${status}"} ${status === String(a.conditions[i]) ? 1 : 0}`),
    ),
  );
  return `${out.join("\n")}\n`;
}

function many(): string {
  return Array.from({ length: manySeries }, (_, i) => `many_series{i="${i}"} ${i}\n`).join("");
}

/** Serves both as targets. */
async function targets(): Promise<HTTPServer> {
  let n = 0;
  const wide = many();
  const http = createServer((req, res) => {
    res.setHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    res.end(req.url === "/many" ? wide : exposition(autoscalers(n++)));
  });
  await new Promise<void>((done) => http.listen(0, "127.0.0.1", done));
  return http;
}

const config = (port: number): string => `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: ["127.0.0.1:1"]}]}]
scrape_configs:
- job_name: kube-state-metrics
  honor_labels: true
  static_configs: [{targets: ["127.0.0.1:${port}"]}]
- job_name: many
  scrape_interval: 10s
  metrics_path: /many
  static_configs: [{targets: ["127.0.0.1:${port}"]}]
- job_name: gone
  static_configs: [{targets: ["127.0.0.1:1"], labels: {team: "nobody"}}]
`;

const rules = `
groups:
- name: autoscaling
  rules:
  - record: namespace:replicas:sum
    expr: sum by (namespace) (kube_horizontalpodautoscaler_status_current_replicas)
  - alert: AutoscalerAtItsLimit
    expr: kube_horizontalpodautoscaler_status_current_replicas >= kube_horizontalpodautoscaler_spec_max_replicas
    labels: {severity: critical}
    annotations:
      summary: "{{ $labels.namespace }}/{{ $labels.horizontalpodautoscaler }} runs as many pods as it may"
      description: "It has {{ $value }} replicas and cannot add another one, whatever its metrics say."
      runbook_url: https://example.com/runbooks/autoscaler-at-its-limit
  - alert: AutoscalerBlind
    expr: kube_horizontalpodautoscaler_status_condition{condition="ScalingActive",status="false"} == 1
    for: 1h
    labels: {severity: warning}
    annotations: {summary: "{{ $labels.horizontalpodautoscaler }} reads no metrics"}
- name: targets
  interval: 2s
  rules:
  - alert: NothingScraped
    expr: absent(up)
    annotations: {summary: No target at all}
  - alert: BrokenRule # from its first evaluation on: what fired once would stay before what is broken
    expr: vector(1) + on () (label_replace(vector(1), "a", "b", "", "") or vector(1))
`;

/** What there is to tell. */
const told = [
  "kube_horizontalpodautoscaler_info",
  `count(many_series) == ${manySeries}`,
  'ALERTS{alertname="AutoscalerAtItsLimit",alertstate="firing"}',
  'ALERTS{alertname="AutoscalerBlind",alertstate="pending"}',
  // It fires when its rule is evaluated before the first scrape.
  'absent(ALERTS{alertname="NothingScraped"})',
];

/** Starts the server and what it scrapes. */
export async function story(): Promise<Server> {
  const http = await targets();
  const { port } = http.address() as AddressInfo;
  const stopTargets = (): void => {
    http.closeAllConnections();
    http.close();
  };
  try {
    const server = await start((dir) => {
      writeFileSync(join(dir, "prometheus.yml"), config(port));
      writeFileSync(join(dir, "rules.yml"), rules);
      return ["server", "--config.file=prometheus.yml", "--web.listen-address=127.0.0.1:0", `--storage.tsdb.path=${join(dir, "data")}`];
    });
    const stop = async (): Promise<void> => {
      await server.stop();
      stopTargets();
    };
    return await begun({ url: server.url, stop }, told);
  } catch (err) {
    stopTargets();
    throw err;
  }
}
