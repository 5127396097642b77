import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../src/api.ts";
import { containerLayer, expand, hostPart, layersFor, layerState, namingQuery, quote, rateWindow, type Layer } from "../../src/layers.ts";
import { alertProblems, checks, problemsOf, targetProblems } from "../../src/problems.ts";
import { anyRange, parseDuration, rangeOf } from "../../src/range.ts";

function target(job: string, health: Target["health"], lastError = "", scrapeInterval = "15s"): Target {
  return {
    labels: { job, instance: "h:1" },
    scrapePool: job,
    scrapeUrl: `http://h:1/${job}`,
    lastError,
    lastScrape: "2026-01-02T03:04:05Z",
    lastScrapeDuration: 0.01,
    health,
    scrapeInterval,
    scrapeTimeout: "10s",
  };
}

function layer(id: Layer["id"]): Layer {
  const l = layersFor("pod").find((x) => x.id === id);
  assert.ok(l);
  return l;
}

test("one host needs no matcher", () => {
  assert.equal(expand("rate(m{a=\"b\",$host}[$rate])", { rate: 60, instance: null }), 'rate(m{a="b",}[60s])');
  assert.equal(expand("m{$machine}", { rate: 60, instance: null }), "m{}");
});

test("a chosen host is matched as it is, and its neighbours by their host part", () => {
  const vars = { rate: 20, instance: "10.0.0.1:9100" };
  assert.equal(expand("m{$host}", vars), 'm{instance="10.0.0.1:9100"}');
  assert.equal(expand("m{$machine}", vars), 'm{instance=~"10\\\\.0\\\\.0\\\\.1(:[0-9]+)?"}');
  assert.equal(expand("m{$host}", { rate: 20, instance: 'a$&"b' }), 'm{instance="a$&\\"b"}');
  assert.equal(hostPart("[::1]:9100"), "[::1]");
  assert.equal(hostPart("node-a"), "node-a");
  assert.equal(quote('x"y'), '"x\\"y"');
});

test("no placeholder is left in any query", () => {
  for (const naming of ["pod", "name", "id"] as const) {
    for (const l of layersFor(naming)) {
      for (const q of l.panels.flatMap((p) => p.queries)) {
        assert.doesNotMatch(expand(q.expr, { rate: 60, instance: "a:1" }), /\$(rate|host|machine)/);
      }
    }
  }
  assert.doesNotMatch(namingQuery, /\$/);
});

test("containers are named by what there is", () => {
  const by = (n: "pod" | "name" | "id") => containerLayer(n).panels[0]?.queries[0]?.expr ?? "";
  assert.match(by("pod"), /sum by \(namespace, pod, container\)/);
  assert.match(by("name"), /sum by \(name\)/);
  assert.match(by("id"), /sum by \(id\)/);
});

test("rate windows hold four scrapes of the layer", () => {
  const node = layer("node");
  assert.equal(rateWindow([], node), 60);
  assert.equal(rateWindow([target("node-exporter", "up", "", "1s")], node), 20);
  assert.equal(rateWindow([target("node-exporter", "up", "", "30s"), target("slow", "up", "", "5m")], node), 120);
  assert.equal(rateWindow([target("node-exporter", "up", "", "1h")], node), 600);
});

test("which jobs feed which layer", () => {
  const f = (job: string, want: string[]): void =>
    assert.deepEqual(layersFor("pod").filter((l) => l.job.test(job)).map((l) => l.id), want, job);
  f("node-exporter", ["node"]);
  f("strata-node", ["node"]);
  f("kubelet", ["container"]);
  f("cadvisor", ["container"]);
  f("strata-container", ["container"]);
  f("strata-app", ["app"]);
  f("apps", ["app"]);
  f("kube-state-metrics", ["kube"]);
  f("strata-kubestate", ["kube"]);
  f("apiserver", []);
  f("kube-proxy", []);
});

test("a layer says why it is empty", () => {
  const kube = layer("kube");
  const f = (targets: Target[], data: boolean, rank: string, reason: RegExp): void => {
    const s = layerState(kube, targets, data);
    assert.equal(s.rank, rank);
    assert.match(s.reason, reason);
  };
  f([], false, "absent", /^No target: /);
  f([], true, "live", /^$/);
  f([target("kube-state-metrics", "unknown")], false, "live", /not scraped yet/);
  f([target("kube-state-metrics", "up")], false, "live", /up, no series yet/);
  f([target("kube-state-metrics", "down", "refused")], false, "down", /kube-state-metrics is down: refused/);
  f([target("kube-state-metrics", "down", "x"), target("kube-state-metrics", "down")], true, "down", /and 1 more/);
});

test("problems name what is wrong and where to look", () => {
  const ready = checks.find((c) => c.expr.includes('condition="Ready"'));
  assert.ok(ready);
  const series = ["a", "b", "c", "d"].map((node) => ({ metric: { node }, value: [0, "0"] as [number, string] }));
  const lines = problemsOf(ready, series);
  assert.deepEqual(lines.map((l) => l.text), ["Node a is not ready", "Node b is not ready", "Node c is not ready", "… and more of these"]);
  assert.match(lines[0]?.href ?? "", /^\.\/explore\?expr=kube_node/);
  assert.deepEqual(targetProblems([target("a", "up"), target("b", "down"), target("b", "up")]).map((p) => p.text), [
    "Job b: 1 of 2 targets down",
  ]);
});

test("alerts that fire, the most severe first, each rule once", () => {
  const series = [
    ["Slow", "warning", "1"],
    ["Watchdog", "none", "1"],
    ["Note", "info", "1"],
    ["Unnamed", "", "1"],
    ["Down", "critical", "3"],
  ].map(([alertname, severity, n]) => ({ metric: { alertname, ...(severity ? { severity } : {}) } as Record<string, string>, value: [0, n] as [number, string] }));
  assert.deepEqual(alertProblems(series).map((p) => [p.severity, p.text]), [
    ["bad", "Alert Down fires 3 times (critical)"],
    ["warn", "Alert Slow fires (warning)"],
    ["bad", "Alert Unnamed fires"],
  ]);
  assert.equal(alertProblems(series)[0]?.href, "./alerts?search=Down&state=firing");
  const many = Array.from({ length: 30 }, (_, i) => ({ metric: { alertname: `A${i}`, severity: "critical" } }));
  const lines = alertProblems(many);
  assert.deepEqual([lines.length, lines.at(-1)?.text], [13, "… and 18 more alerts"]);
});

test("durations and ranges", () => {
  assert.equal(parseDuration("1m30s"), 90);
  assert.equal(parseDuration("500ms"), 0.5);
  for (const bad of ["", "5", "1x", "s", "1m 2s"]) assert.equal(parseDuration(bad), null, bad);
  assert.equal(rangeOf("6h").seconds, 21600);
  assert.equal(rangeOf("nonsense").id, "15m");
  assert.equal(rangeOf(null).id, "15m");
  assert.deepEqual(anyRange("45m"), { id: "45m", seconds: 2700, label: "45m" });
  assert.equal(anyRange("1d")?.label, "1 day");
  for (const bad of [null, "", "x", "10ms", "11y"]) assert.equal(anyRange(bad), null, String(bad));
});
