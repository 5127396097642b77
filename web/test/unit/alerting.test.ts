import assert from "node:assert/strict";
import { test } from "node:test";
import type { Alert, Rule, RuleGroup } from "../../src/api.ts";
import { arrangeRules, countsOf, ownLabels, severityRank, sortedAlerts, stateOf, timeOf, webLink } from "../../src/alerting/rules.ts";

function rule(name: string, more: Partial<Rule> = {}): Rule {
  return { type: "alerting", name, query: `q_${name} > 0`, state: "inactive", health: "ok", lastEvaluation: "2026-01-02T03:04:05Z", evaluationTime: 0.001, ...more };
}

function alert(state: Alert["state"], pod: string, activeAt: string): Alert {
  return { state, labels: { alertname: "A", severity: "critical", pod }, annotations: { summary: `pod ${pod} fails` }, activeAt, value: "1e+00" };
}

const group = (name: string, ...rules: Rule[]): RuleGroup => ({ name, file: `${name}.yaml`, interval: 30, lastEvaluation: "", evaluationTime: 0, rules });

test("what a rule is to the reader", () => {
  const f = (more: Partial<Rule>, want: string): void => assert.equal(stateOf(rule("r", more)), want, JSON.stringify(more));
  f({}, "inactive");
  f({ state: "pending" }, "pending");
  f({ state: "firing" }, "firing");
  f({ state: "firing", health: "err" }, "firing");
  f({ state: "pending", health: "err" }, "broken");
  f({ state: "unknown", health: "unknown" }, "new");
  f({ type: "recording" }, "recording");
  f({ type: "recording", health: "err" }, "broken");
});

test("what fires comes first, in groups as among them", () => {
  const groups = [
    group("calm", rule("a"), rule("rec", { type: "recording" })),
    group("mixed", rule("b"), rule("p", { state: "pending" }), rule("x", { health: "err", lastError: "many-to-many" })),
    group("loud", rule("w", { state: "firing", labels: { severity: "warning" } }), rule("c", { state: "firing", labels: { severity: "critical" } })),
  ];
  const names = (state: Parameters<typeof arrangeRules>[1], search: string): string[] =>
    arrangeRules(groups, state, search).map((g) => `${g.name}: ${g.rules.map((r) => r.name).join(" ")}`);
  assert.deepEqual(names(null, ""), ["loud: c w", "mixed: x p b", "calm: a rec"]);
  assert.deepEqual(names("firing", ""), ["loud: c w"]);
  assert.deepEqual(names("pending", ""), ["mixed: p"]);
  assert.deepEqual(names(null, "MANY-to"), ["mixed: x"]);
  assert.deepEqual(names(null, "severity=warning loud"), ["loud: w"]);
  assert.deepEqual(names(null, "nothing"), []);
  assert.deepEqual(countsOf(groups), { firing: 2, broken: 1, pending: 1, new: 0, inactive: 2, recording: 1 });
  assert.equal(groups[1]?.rules[0]?.name, "b", "what was given stays as it is");
});

test("alerts of a rule", () => {
  const r = rule("A", {
    labels: { severity: "critical" },
    alerts: [alert("pending", "p1", "2026-01-01T00:00:00Z"), alert("firing", "f2", "2026-01-03T00:00:00Z"), alert("firing", "f1", "2026-01-02T00:00:00Z")],
  });
  assert.deepEqual(sortedAlerts(r).map((a) => a.labels["pod"]), ["f1", "f2", "p1"]);
  assert.deepEqual(sortedAlerts(rule("none", { alerts: null })), []);
  assert.deepEqual(ownLabels(alert("firing", "x", ""), r), [["pod", "x"]]);
  assert.equal(arrangeRules([group("g", r)], null, "pod f2 fails").length, 1, "an alert's texts are searched too");
});

test("severities, times and links", () => {
  assert.ok(severityRank({ severity: "Critical" }) < severityRank({ severity: "warning" }));
  assert.ok(severityRank({ severity: "warning" }) < severityRank({}));
  assert.ok(severityRank({}) < severityRank({ severity: "info" }));
  assert.equal(timeOf("0001-01-01T00:00:00Z"), null);
  assert.equal(timeOf(undefined), null);
  assert.equal(timeOf("1970-01-01T00:00:09Z"), 9);
  assert.equal(webLink("https://a/b"), "https://a/b");
  for (const bad of [undefined, "", "javascript:alert(1)", "see the wiki", "//a/b"]) assert.equal(webLink(bad), null, bad);
});
