import assert from "node:assert/strict";
import { test } from "node:test";
import { APIError } from "../../src/api.ts";
import { inQuery, inText, plain, references, type Scope, type Value } from "../../src/dashboard/interpolate.ts";
import { readDashboard, type VariableDef } from "../../src/dashboard/model.ts";
import { customOptions, filtered, inOrder, resolve, sorted, valueOf, type Lookup } from "../../src/dashboard/variables.ts";

const values: Record<string, Value> = {
  one: { values: ["a.b"], text: "a.b", raw: false, regex: false },
  many: { values: ["a.b", "c|d"], text: "a.b + c|d", raw: false, regex: true },
  single: { values: ["a.b"], text: "a.b", raw: false, regex: true },
  all: { values: [".*"], text: "All", raw: true, regex: true },
  quoted: { values: ['x"y\\z'], text: "q", raw: false, regex: false },
  from: plain("1700000000000"),
};
const scope: Scope = (name) => values[name] ?? null;

test("interpolation in queries", () => {
  const f = (text: string, want: string): void => assert.equal(inQuery(text, scope), want, text);
  f(`x{a="$one"}`, `x{a="a.b"}`);
  f(`x{a=~"$many"}`, `x{a=~"(a\\\\.b|c\\\\|d)"}`);
  f(`x{a=~"$single"}`, `x{a=~"a\\\\.b"}`);
  f(`x{a=~"$all"}`, `x{a=~".*"}`);
  f(`x{a="$quoted"}`, `x{a="x\\"y\\\\z"}`);
  f(`x{a=~"\${many:regex}"}`, `x{a=~"(a\\.b|c\\|d)"}`);
  f(`\${many:pipe} \${many:csv} [[many:raw]]`, `a.b|c|d a.b,c|d a.b,c|d`);
  f(`\${many:json} \${single:json} \${many:doublequote} \${many:glob}`, `["a.b","c|d"] "a.b" "a.b","c|d" {a.b,c|d}`);
  f(`\${many:text} \${many:percentencode}`, `a.b + c|d a.b%2Cc%7Cd`);
  f(`\${from:date:seconds} \${from:date:iso}`, `1700000000 2023-11-14T22:13:20.000Z`);
  f(`[[one]] $one_two \${unknown} $1`, `a.b $one_two \${unknown} $1`);
  f(`x{a=~"foo$"}`, `x{a=~"foo$"}`);
  assert.equal(inText("Hosts: $many, $all, $unknown", scope), "Hosts: a.b + c|d, All, $unknown");
  assert.deepEqual(references("$a [[b:csv]] ${c:raw} $a ${d.e}"), ["a", "b", "c", "d"]);
});

test("a value that was escaped selects just itself", () => {
  // What PromQL reads from the string is the regular expression.
  for (const v of ["a.b", "a\\b", "(x)", "[y]", "^$", "a|b", "c+*?", 'q"r', "{}"]) {
    const query = inQuery(`"$v"`, () => ({ values: [v], text: v, raw: false, regex: true }));
    const read = JSON.parse(query) as string;
    assert.ok(new RegExp(`^(?:${read})$`).test(v), `${v} ${query}`);
    assert.ok(!new RegExp(`^(?:${read})$`).test(`${v}x`), v);
  }
});

function def(name: string, more: Record<string, unknown>): VariableDef {
  return readDashboard({ templating: { list: [{ name, type: "query", ...more }] } }).variables[0] as VariableDef;
}

test("options: filter, order, custom values", () => {
  assert.deepEqual(filtered(["a-1", "b-2", "a-3"], "/^a-(\\d)/").map((o) => o.value), ["1", "3"]);
  assert.deepEqual(filtered(["n=x id=1", "n=y id=2"], '/n=(?<text>\\w+) id=(?<value>\\d)/'), [{ text: "x", value: "1" }, { text: "y", value: "2" }]);
  assert.deepEqual(filtered(["x", "x", "y"], "").length, 2);
  const by = (order: number, ...texts: string[]): string[] => sorted(texts.map((t) => ({ text: t, value: t })), order).map((o) => o.text);
  assert.deepEqual(by(0, "b", "a"), ["b", "a"]);
  assert.deepEqual(by(1, "b", "a"), ["a", "b"]);
  assert.deepEqual(by(2, "a", "b"), ["b", "a"]);
  assert.deepEqual(by(3, "n10", "n9"), ["n9", "n10"]);
  assert.deepEqual(by(4, "n9", "n10"), ["n10", "n9"]);
  assert.deepEqual(by(5, "B", "a"), ["a", "B"]);
  assert.deepEqual(by(7, "n10", "n9"), ["n9", "n10"]);
  assert.deepEqual(customOptions("a, One : 1, x\\,y").map((o) => `${o.text}=${o.value}`), ["a=a", "One=1", "x,y=x,y"]);
});

test("variables come after those they name, circles last", () => {
  const names = inOrder([def("c", { query: "label_values(x{b=\"$b\"}, c)" }), def("b", { query: "label_values(x{a=\"${a}\"}, b)" }), def("a", { query: "label_values(a)" }), def("p", { query: "$q" }), def("q", { query: "$p" })]);
  assert.deepEqual(names.map((g) => g.map((d) => d.name)), [["a"], ["b"], ["c"], ["p", "q"]]);
});

/** Answers as told, and notes what was asked. */
function lookup(answers: Record<string, string[]>): Lookup & { asked: string[] } {
  const asked: string[] = [];
  const find = (key: string): Promise<string[]> => {
    asked.push(key);
    return key.includes("broken") ? Promise.reject(new APIError("api", "bad matcher")) : Promise.resolve(answers[key] ?? []);
  };
  return {
    asked,
    labelValues: (label, match) => find(`values ${label} ${match}`),
    labelNames: (match) => find(`names ${match}`),
    series: (match) => find(`series ${match}`),
    result: (expr) => find(`result ${expr}`),
  };
}

test("each function of query variables, in order, with the address over the file", async () => {
  const defs = [
    def("cluster", { query: { query: "label_values(up, cluster)", refId: "x" }, includeAll: true, multi: true, allValue: ".*" }),
    def("ns", { query: 'label_values(kube_pod_info{cluster=~"$cluster"}, namespace)', sort: 1 }),
    def("pod", { query: 'query_result(topk(2, x{namespace="$ns"}))', regex: '/pod="([^"]+)"/', multi: true }),
    def("m", { query: "metrics(node_.*)" }),
    def("n", { query: "label_names()" }),
    def("bad", { query: "label_values(broken{, x)" }),
    def("c", { type: "custom", query: "1m,5m", current: { value: "5m" } }),
    def("ad", { type: "adhoc" }),
  ];
  const look = lookup({
    'values namespace kube_pod_info{cluster=~".*"}': ["z", "a"],
    'result topk(2, x{namespace="z"})': ['x{pod="p1"} 1 2', 'x{pod="p2"} 1 2'],
    'values __name__ {__name__=~".*(?:node_.*).*"}': ["node_load1"],
    "names ": ["job"],
  });
  const found = await resolve(defs, new URLSearchParams("var-ns=z&var-pod=p2&var-pod=gone"), () => null, 3600, look);
  assert.deepEqual(found.map((v) => v.chosen), [["$__all"], ["z"], ["p2", "gone"], ["node_load1"], ["job"], [], ["5m"], []]);
  assert.deepEqual(found[1]?.options.map((o) => o.value), ["a", "z"]);
  assert.deepEqual(found[2]?.options.map((o) => o.value), ["p1", "p2"]);
  assert.equal(found[5]?.error, "bad matcher");
  assert.match(found[7]?.error ?? "", /adhoc/);
});

test("what the address says of All, and what stands for it", async () => {
  const d = def("a", { query: "label_values(x, a)", includeAll: true, multi: true });
  const look = lookup({ "values a x": ["p.q", "r"] });
  const [v] = await resolve([d], new URLSearchParams("var-a=All"), () => null, 60, look);
  assert.ok(v);
  assert.equal(inQuery('"$a"', () => valueOf(v, 60)), '"(p\\\\.q|r)"');
  assert.equal(valueOf(v, 60).text, "All");
  const [gone] = await resolve([def("a", { query: "label_values(x, a)", current: { value: ["old", "r"] }, multi: true })], new URLSearchParams(), () => null, 60, look);
  assert.deepEqual(gone?.chosen, ["r"]);
  const auto = await resolve([def("i", { type: "interval", query: "1m,5m", auto: true, auto_count: 30, auto_min: "10s" })], new URLSearchParams(), () => null, 3600, look);
  assert.deepEqual(auto[0] && valueOf(auto[0], 3600).values, ["2m"]);
});

test("a server that is gone is not a variable's fault", async () => {
  const look = { ...lookup({}), labelValues: () => Promise.reject(new APIError("unreachable", "lost")) };
  await assert.rejects(resolve([def("a", { query: "label_values(x, a)" })], new URLSearchParams(), () => null, 60, look), { failure: "unreachable" });
});
