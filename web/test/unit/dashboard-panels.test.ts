import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client } from "../../src/api.ts";
import { Carrier } from "../../src/carry.ts";
import { differingLabels, PanelData, type Line, type Moment } from "../../src/dashboard/data.ts";
import { Field } from "../../src/dashboard/field.ts";
import { instantTable, type Column, type Table } from "../../src/dashboard/frames.ts";
import { sections } from "../../src/dashboard/layout.ts";
import { safeHref, withoutTags } from "../../src/dashboard/markdown.ts";
import { metricNames, Names } from "../../src/dashboard/metrics.ts";
import { readDashboard, type Panel } from "../../src/dashboard/model.ts";
import { Queue } from "../../src/dashboard/queue.ts";
import { stacks } from "../../src/dashboard/stacks.ts";
import { sortTable, transform } from "../../src/dashboard/transform.ts";

function table(refId: string, columns: Record<string, (number | string | null)[]>): Table {
  const typed = Object.entries(columns).map(([name, values]): Column => ({ name, values, refId, labels: {}, type: name === "Time" ? "time" : values.some((v) => typeof v === "number") ? "number" : "string" }));
  return { refId, columns: typed };
}
const shape = (tables: Table[]) => tables.map((t) => Object.fromEntries(t.columns.map((c) => [c.name, c.values])));
const run = (tables: Table[], ...steps: [string, object][]) => shape(transform(tables, steps.map(([id, options]) => ({ id, options: options as Record<string, unknown> }))).tables);

const a = table("A", { Time: [1, 1], pod: ["x", "y"], "Value #A": [1, 2] });
const b = table("B", { Time: [1, 1], pod: ["y", "z"], "Value #B": [20, 30] });

test("merging, joining, organizing", () => {
  assert.deepEqual(run([a, b], ["merge", {}]), [{ Time: [1, 1, 1], pod: ["x", "y", "z"], "Value #A": [1, 2, null], "Value #B": [null, 20, 30] }]);
  assert.deepEqual(run([a, b], ["joinByField", { byField: "pod", mode: "outer" }]), [{ pod: ["x", "y", "z"], "Time 1": [1, 1, null], "Value #A": [1, 2, null], "Time 2": [null, 1, 1], "Value #B": [null, 20, 30] }]);
  assert.deepEqual(run([a, b], ["joinByField", { byField: "pod", mode: "inner" }], ["filterFieldsByName", { include: { names: ["pod", "Value #B"] } }]), [{ pod: ["y"], "Value #B": [20] }]);
  const organized = run([a], ["organize", { excludeByName: { Time: true }, indexByName: { "Value #A": 0, pod: 1 }, renameByName: { "Value #A": "CPU" } }]);
  assert.deepEqual(Object.keys(organized[0] ?? {}), ["CPU", "pod"]);
});

test("other transformations", () => {
  assert.deepEqual(run([a], ["sortBy", { sort: [{ field: "Value #A", desc: true }] }], ["limit", { limitField: 1 }])[0]?.["pod"], ["y"]);
  assert.deepEqual(run([a], ["calculateField", { mode: "binary", alias: "double", binary: { left: "Value #A", operator: "*", right: "2" } }])[0]?.["double"], [2, 4]);
  assert.deepEqual(run([table("A", { x: [1, 2], y: [10, null] })], ["calculateField", { mode: "reduceRow", reduce: { reducer: "sum" } }])[0]?.["Total"], [11, 2]);
  assert.deepEqual(run([table("A", { k: ["p", "p", "q"], v: [1, 2, 5] })], ["groupBy", { fields: { k: { operation: "groupby" }, v: { operation: "aggregate", aggregations: ["sum", "max"] } } }]), [{ k: ["p", "q"], "v (sum)": [3, 5], "v (max)": [2, 5] }]);
  assert.deepEqual(run([table("A", { Time: [1, 2], cpu: [3, 4] })], ["reduce", { reducers: ["max", "lastNotNull"] }]), [{ Field: ["cpu"], Max: [4], "Last *": [4] }]);
  assert.deepEqual(run([a], ["filterByValue", { type: "include", match: "all", filters: [{ fieldName: "Value #A", config: { id: "greater", options: { value: 1 } } }] }])[0]?.["pod"], ["y"]);
  assert.deepEqual(run([a], ["renameByRegex", { regex: "Value #(.)", renamePattern: "$1" }])[0]?.["A"], [1, 2]);
  assert.deepEqual(transform([a], [{ id: "heatmap", options: {} }]).unknown, ["heatmap"]);
  assert.deepEqual(transform([a], [{ id: "toString", options: {} }]).unknown, ["toString"]);
});

test("sorting puts what is absent last both ways", () => {
  const t = table("A", { n: ["b", "a", "c"], v: [2, null, 10] });
  assert.deepEqual(shape([sortTable(t, "v", false)])[0]?.["v"], [2, 10, null]);
  assert.deepEqual(shape([sortTable(t, "v", true)])[0]?.["v"], [10, 2, null]);
  assert.deepEqual(shape([sortTable(t, "none", true)])[0]?.["v"], [2, null, 10]);
});

test("an instant result as a table", () => {
  const data = { resultType: "vector" as const, result: [{ metric: { a: "1" }, value: [5, "2"] as [number, string] }, { metric: { b: "x" }, value: [5, "NaN"] as [number, string] }] };
  assert.deepEqual(shape([instantTable(data, "A", false)]), [{ Time: [5000, 5000], a: ["1", ""], b: ["", "x"], Value: [2, NaN] }]);
  assert.equal(instantTable(data, "C", true).columns.at(-1)?.name, "Value #C");
  assert.deepEqual(shape([instantTable({ resultType: "scalar", result: [5, "3"] }, "A", false)]), [{ Time: [5000], Value: [3] }]);
});

test("metric names in a query", () => {
  const f = (expr: string, ...want: string[]): void => assert.deepEqual(metricNames(expr).sort(), want.sort(), expr);
  f(`sum by (job, mode) (rate(node_cpu_seconds_total{mode!="idle"}[5m])) / on (instance) group_left (pod) machine:cpus`, "node_cpu_seconds_total", "machine:cpus");
  f(`{__name__="odd", a="b"} or vector(1)`, "odd");
  f(`histogram_quantile(0.99, sum by (le) (rate(x_bucket[1m] offset 5m))) > bool 1e3`, "x_bucket");
  f(`up{job="a{b}"} unless absent(y) # comment z`, "up", "y");
  f(`1 + 0x1F - Inf`);
});

test("names that the store lacks are asked for once", async () => {
  const asked: string[] = [];
  const client = { get: (path: string, params: Record<string, string[]>) => (asked.push(`${path} ${params["match[]"]?.[0]}`), Promise.resolve(["up"])) } as unknown as Client;
  const names = new Names(client, () => ["up", "down"]);
  assert.deepEqual(await Promise.all([names.missing(["up", "down"], 0, 1), names.missing(["up"], 0, 1)]), [["down"], []]);
  assert.deepEqual(asked, ['label/__name__/values {__name__=~"up|down"}']);
});

const line = (key: string, values: (number | null)[], custom: object): Line => ({ key, name: key, labels: {}, refId: "A", values, field: new Field({ custom }, 0) });

test("stacks by group, in percent, and below zero", () => {
  const f = (...lines: Line[]) => stacks(lines).map((s) => [s.values, s.below]);
  const normal = { stacking: { mode: "normal" } };
  assert.deepEqual(f(line("a", [1, null], normal), line("b", [2, 3], normal), line("c", [9, 9], {})), [[[1, null], null], [[3, 3], 0], [[9, 9], null]]);
  assert.deepEqual(f(line("a", [1], { stacking: { mode: "percent" } }), line("b", [3], { stacking: { mode: "percent" } })), [[[0.25], null], [[1], 0]]);
  assert.deepEqual(f(line("a", [1], { ...normal, transform: "negative-Y" }), line("b", [2], normal)), [[[-1], null], [[2], null]]);
});

test("a dashboard's rows, old and new", () => {
  const d = readDashboard({
    title: "T",
    refresh: false,
    panels: [
      { id: 3, type: "stat", gridPos: { x: 0, y: 9, w: 12, h: 4 } },
      { id: 2, type: "row", title: "Open", gridPos: { y: 5 } },
      { id: 1, type: "text", content: "old", gridPos: { x: 0, y: 0, w: 24, h: 5 } },
      { id: 4, type: "row", title: "Closed", collapsed: true, gridPos: { y: 20 }, panels: [{ id: 5, type: "table", gridPos: { y: 21 } }] },
      { id: 6, type: "graph", stack: true, fill: 2, yaxes: [{ format: "bytes" }], targets: [{ expr: "x", datasource: { type: "loki" } }], gridPos: { x: 12, y: 9 } },
    ],
  });
  assert.deepEqual(d.rows.map((r) => [r.title, r.collapsed, r.bare, r.panels.map((p) => p.id)]), [["", false, true, ["1"]], ["Open", false, false, ["3", "6"]], ["Closed", true, false, ["5"]]]);
  const graph = d.rows[1]?.panels[1];
  assert.deepEqual([graph?.type, graph?.defaults["unit"], graph?.targets[0]?.foreign], ["timeseries", "bytes", "loki"]);
  assert.equal(d.rows[0]?.panels[0]?.options["content"], "old");
  const old = readDashboard({ rows: [{ title: "R", showTitle: true, height: "250px", panels: [{ id: 1, span: 6, type: "singlestat", format: "percent" }, { id: 2, span: 6 }, { id: 3, span: 4 }] }] });
  assert.deepEqual(old.rows[0]?.panels.map((p) => [p.grid.x, p.grid.y, p.grid.w]), [[0, 0, 12], [12, 0, 12], [0, 7, 8]]);
  assert.equal(old.rows[0]?.panels[0]?.type, "stat");
  for (const junk of [null, 5, [], { panels: "x" }, { panels: [null, 5, { gridPos: { w: 99, x: -4 } }], templating: { list: [null] } }]) assert.ok(readDashboard(junk).title !== "");
});

test("repeats: side by side, one below the other, rows, and no more than fifty", () => {
  const board = (more: object, row: object = {}) => readDashboard({ panels: [{ type: "row", title: "$v", gridPos: { y: 0 }, ...row }, { id: 1, type: "stat", gridPos: { x: 0, y: 1, w: 24, h: 4 }, ...more }, { id: 2, type: "stat", gridPos: { x: 0, y: 5, w: 24, h: 4 } }] });
  const places = (d: ReturnType<typeof board>, values: string[]) => sections(d, () => values).flatMap((s) => s.panels.map((p) => [p.id, p.grid.x, p.grid.y, p.grid.w]));
  assert.deepEqual(places(board({ repeat: "v", maxPerRow: 2 }), ["a", "b", "c"]), [["1/a", 0, 0, 12], ["1/b", 12, 0, 12], ["1/c", 0, 4, 12], ["2", 0, 8, 24]]);
  assert.deepEqual(places(board({ repeat: "v", repeatDirection: "v" }), ["a", "b"]), [["1/a", 0, 0, 24], ["1/b", 0, 4, 24], ["2", 0, 8, 24]]);
  assert.deepEqual(places(board({ repeat: "v" }), []), [["1", 0, 0, 24], ["2", 0, 4, 24]]);
  const rows = sections(board({}, { repeat: "v" }), () => ["a", "b"]);
  assert.deepEqual(rows.map((s) => s.panels.map((p) => [p.id, p.scope])), [[["1/a", { v: "a" }], ["2/a", { v: "a" }]], [["1/b", { v: "b" }], ["2/b", { v: "b" }]]]);
  const many = sections(board({ repeat: "v" }), () => Array.from({ length: 5000 }, (_, i) => String(i)));
  assert.deepEqual([many[0]?.panels.length, many[0]?.left], [51, 4950]);
});

/** A client of a store with so many series of whatever is asked. */
function store(series: number, asked: string[] = []): Client {
  const metric = (i: number) => ({ __name__: "m", i: String(i), job: "j" });
  return {
    queryRange: (expr: string, p: { start: number; end: number; step: number; limit: number }) => {
      asked.push(`range ${expr}`);
      const n = Math.min(series, p.limit);
      return Promise.resolve({ data: { resultType: "matrix", result: Array.from({ length: n }, (_, i) => ({ metric: metric(i), values: [[p.end, String(i)]] })) }, warnings: ["results truncated due to limit"] });
    },
    query: (expr: string, p: { time: number; limit?: number }) => {
      asked.push(`instant ${expr}`);
      const count = expr.startsWith("count(");
      const n = Math.min(series, p.limit ?? series);
      return Promise.resolve({ data: { resultType: "vector", result: count ? [{ metric: {}, value: [p.time, String(series)] }] : Array.from({ length: n }, (_, i) => ({ metric: metric(i), value: [p.time, String(i)] })) }, warnings: [] });
    },
  } as unknown as Client;
}
const panel = (more: object): Panel => readDashboard({ panels: [{ id: 1, type: "timeseries", gridPos: { w: 12 }, targets: [{ refId: "A", expr: "m" }], ...more }] }).rows[0]?.panels[0] as Panel;
const moment = (client: Client): Moment => ({ client, from: 1000, to: 4600, scope: () => null, intervals: { byJob: new Map(), usual: 15 }, signal: new AbortController().signal });

test("fifty thousand series: two hundred are drawn, and it is said", async () => {
  const asked: string[] = [];
  const data = await new PanelData(panel({})).load(moment(store(50_000, asked)));
  assert.equal(data.lines.length, 200);
  assert.deepEqual(data.notes, ["Showing 200 of 50,000 series. Aggregate or select in the query to see fewer."]);
  assert.deepEqual(asked, ["range m", "instant count(m\n)"]);
  const rows = await new PanelData(panel({ type: "table", targets: [{ expr: "m", format: "table", instant: true }] })).load(moment(store(50_000)));
  assert.equal(rows.tables[0]?.columns[0]?.values.length, 2000);
  assert.match(rows.notes[0] ?? "", /^Showing 2,000 of 50,000 series/);
  assert.deepEqual((await new PanelData(panel({})).load(moment(store(200)))).notes, []);
});

test("names of lines: legend, automatic, configured", async () => {
  const names = async (more: object, series = 2) => (await new PanelData(panel(more)).load(moment(store(series)))).lines.map((l) => l.name);
  assert.deepEqual(await names({ targets: [{ expr: "m", legendFormat: "{{job}}-{{i}}{{gone}}" }] }), ["j-0", "j-1"]);
  assert.deepEqual(await names({ targets: [{ expr: "m", legendFormat: "__auto" }] }), ["0", "1"]);
  assert.deepEqual(await names({ targets: [{ expr: "m" }] }, 1), ['m{i="0", job="j"}']);
  assert.deepEqual(await names({ fieldConfig: { defaults: { displayName: "series ${__field.labels.i}" } } }, 1), ["series 0"]);
  assert.deepEqual(differingLabels([{ a: "1", b: "x" }, { a: "1", b: "y", c: "z" }]), ["b", "c"]);
});

test("a window of rates, and the least step", async () => {
  const asked: string[] = [];
  await new PanelData(panel({ interval: "2m", targets: [{ expr: "rate(x[$__rate_interval]) [$__interval] $__range_s" }] })).load(moment(store(1, asked)));
  assert.deepEqual(asked, ["range rate(x[135s]) [2m] 3600"]);
});

test("a frame is carried on only where the window goes on", async () => {
  const starts: number[] = [];
  const client = { queryRange: (_: string, p: { start: number; end: number; step: number }) => (starts.push(p.start), Promise.resolve({ data: { resultType: "matrix", result: [{ metric: {}, values: [[p.start, "1"], [p.end, "1"]] }] }, warnings: [] })) } as unknown as Client;
  const carrier = new Carrier();
  const ask = (start: number, end: number) => carrier.fetch({ client, expr: "x", legend: "", grid: { start, end, step: 10 }, signal: new AbortController().signal, exact: false });
  await ask(0, 1000);
  await ask(10, 1010);
  await ask(500, 2000);
  await ask(0, 2000);
  await ask(0, 1000);
  assert.deepEqual(starts, [0, 880, 890, 0, 0]);
});

test("a few tasks at a time, in their order", async () => {
  const queue = new Queue(2);
  const { signal } = new AbortController();
  const log: string[] = [];
  const gates = new Map<string, () => void>();
  const task = (name: string) => queue.run(signal, () => new Promise<void>((done) => (log.push(name), gates.set(name, done))));
  const all = ["a", "b", "c"].map(task);
  await Promise.resolve();
  assert.deepEqual(log, ["a", "b"]);
  gates.get("a")?.();
  await all[0];
  await Promise.resolve();
  assert.deepEqual(log, ["a", "b", "c"]);
  const given = new AbortController();
  const left = queue.run(given.signal, () => Promise.reject(new Error("not run")));
  given.abort();
  gates.get("b")?.();
  gates.get("c")?.();
  await Promise.all([...all, left]);
});

test("text panels: addresses that may be followed, markup that is not run", () => {
  assert.equal(safeHref("javascript:alert(1)"), null);
  assert.equal(safeHref("data:text/html,x"), null);
  assert.equal(safeHref("https://example.org/"), "https://example.org/");
  assert.equal(withoutTags("<p>a<script>alert(1)</script><b>b</b></p>c &lt;"), "ab\n\nc <");
});
