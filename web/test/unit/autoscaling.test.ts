import assert from "node:assert/strict";
import { test } from "node:test";
import type { InstantSeries, Labels } from "../../src/api.ts";
import { aimFrame, aimName, aimsOf, aimUnit, autoscalersOf, choose, exploreQueries, historyQuery, replicaFrame, verdict, type Autoscaler } from "../../src/autoscaling/hpa.ts";
import { formatValue } from "../../src/format.ts";
import type { Frame } from "../../src/frame.ts";

const family = (name: string, value: number, more: Labels = {}, id: Labels = { namespace: "shop", horizontalpodautoscaler: "cart" }): InstantSeries => ({
  metric: { __name__: `kube_horizontalpodautoscaler_${name}`, ...id, ...more },
  value: [0, String(value)],
});
const metric = (metric_name: string, metric_target_type: string, container = ""): Labels => ({ metric_name, metric_target_type, container });

const series = [
  family("info", 1, { scaletargetref_kind: "Deployment", scaletargetref_name: "cart" }),
  family("spec_min_replicas", 2),
  family("spec_max_replicas", 9),
  family("status_current_replicas", 4),
  family("status_desired_replicas", 6),
  family("spec_target_metric", 70, metric("cpu", "utilization")),
  family("spec_target_metric", 2 ** 30, metric("memory", "average", "app")),
  family("status_target_metric", 83, metric("cpu", "utilization")),
  family("status_target_metric", 0.4, metric("cpu", "average")),
];
const condition = (name: string, status: string): InstantSeries => family("status_condition", 1, { condition: name, status });

function cart(): Autoscaler {
  const [a, ...rest] = autoscalersOf(series, [condition("ScalingActive", "true"), condition("AbleToScale", "true")]);
  assert.ok(a);
  assert.equal(rest.length, 0);
  return a;
}

test("an autoscaler is put together from its series", () => {
  const a = cart();
  assert.deepEqual([a.namespace, a.name, a.scales, a.min, a.max, a.current, a.desired], ["shop", "cart", "Deployment/cart", 2, 9, 4, 6]);
  assert.deepEqual(a.conditions, { ScalingActive: "true", AbleToScale: "true" });
  // The status tells cpu's average too; nobody aims at it.
  assert.deepEqual(
    aimsOf(a).map((x) => [aimName(x), x.target, x.given, formatValue(x.target, aimUnit(x))]),
    [
      ["cpu", 70, 83, "70 %"],
      ["memory of app", 2 ** 30, null, "1 GiB"],
    ],
  );
  const twice = autoscalersOf([...series, ...series.map((s) => ({ ...s, metric: { ...s.metric, instance: "other" } }))], []);
  assert.equal(twice.length, 1, "two exporters show one object");
  const clusters = ["a", "b"].map((cluster) => family("info", 1, { cluster }));
  assert.equal(autoscalersOf(clusters, []).length, 2, "two clusters hold two objects");
  assert.deepEqual(autoscalersOf([], []), []);
});

test("how it goes, the worst first", () => {
  const f = (change: Partial<Autoscaler>, severity: string, text: string, advice: RegExp = /^/): void => {
    const v = verdict({ ...cart(), ...change });
    assert.deepEqual([v.severity, v.text], [severity, text]);
    assert.match(v.advice, advice);
  };
  f({}, "fine", "scaling up");
  f({ desired: 3 }, "fine", "scaling down");
  f({ desired: 4 }, "fine", "steady", /^$/);
  f({ conditions: { ScalingActive: "false" } }, "bad", "cannot get metrics", /no value of memory of app/);
  f({ conditions: { ScalingActive: "false" }, aims: [] }, "bad", "cannot get metrics", /its metrics/);
  f({ conditions: { ScalingActive: "false" }, current: 0 }, "off", "off");
  f({ conditions: { AbleToScale: "false", ScalingActive: "false" } }, "bad", "cannot scale", /Deployment\/cart/);
  f({ current: 9, desired: 9 }, "warn", "at its maximum", /the 9 replicas/);
  f({ current: 9, desired: 8, conditions: {} }, "fine", "scaling down");
  f({ conditions: { ScalingLimited: "unknown" } }, "warn", "unknown");
});

test("unhealthy ones first, by namespace and text", () => {
  const make = (namespace: string, name: string, change: Partial<Autoscaler>): Autoscaler => ({ ...cart(), namespace, name, key: `${namespace}/${name}`, scales: `Deployment/${name}`, ...change });
  const all = [make("a", "fine", {}), make("a", "off", { current: 0, conditions: { ScalingActive: "false" } }), make("b", "full", { current: 9, desired: 9 }), make("b", "blind", { conditions: { ScalingActive: "false" } })];
  assert.deepEqual(choose(all, "", "").map((a) => a.name), ["blind", "full", "fine", "off"]);
  assert.deepEqual(choose(all, "a", "").map((a) => a.name), ["fine", "off"]);
  assert.deepEqual(choose(all, "", " b/FULL").map((a) => a.name), ["full"]);
  assert.deepEqual(choose(all, "", "deployment/off").map((a) => a.name), ["off"]);
});

test("its history is asked for by its own labels", () => {
  const a = cart();
  assert.match(historyQuery(a), /,namespace="shop",horizontalpodautoscaler="cart"\}$/);
  const [clustered] = autoscalersOf([family("info", 1, { cluster: 'a"b' })], []);
  assert.ok(clustered);
  assert.match(historyQuery(clustered), /cluster="a\\"b"\}$/);
  assert.equal(exploreQueries(a).length, 2);
});

test("history makes a chart of replicas and one of each metric", () => {
  const line = (name: string, values: (number | null)[], more: Labels = {}): Frame["series"][number] => {
    const labels = { __name__: `kube_horizontalpodautoscaler_${name}`, ...more };
    return { key: JSON.stringify(labels), label: "", labels, values };
  };
  const history: Frame = {
    times: [1, 2, 3],
    series: [
      line("spec_max_replicas", [9, 9, 9]),
      line("status_current_replicas", [1, 2, null], { instance: "old" }),
      line("status_current_replicas", [null, null, 3], { instance: "new" }),
      line("status_target_metric", [5, 6, 7], metric("cpu", "utilization")),
      line("status_target_metric", [0.5, 0.6, 0.7], metric("cpu", "average")),
      line("spec_target_metric", [70, 70, 70], metric("cpu", "utilization")),
    ],
  };
  const shape = (f: Frame) => f.series.map((s) => [s.label, s.values]);
  assert.deepEqual(shape(replicaFrame(history)), [
    ["current", [1, 2, 3]],
    ["max", [9, 9, 9]],
  ]);
  const [cpu] = aimsOf(cart());
  assert.ok(cpu);
  assert.deepEqual(shape(aimFrame(history, cpu)), [
    ["given", [5, 6, 7]],
    ["target", [70, 70, 70]],
  ]);
  assert.deepEqual(aimFrame(history, { ...cpu, container: "other" }).series, []);
});
