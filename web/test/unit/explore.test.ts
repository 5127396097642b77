import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { Client } from "../../src/api.ts";
import { askedFrom, exploreLink, paramsOf } from "../../src/explore/address.ts";
import { Names } from "../../src/explore/names.ts";

test("an address gives what was asked, and is given again", () => {
  const f = (text: string, exprs: string[], range: string, end: number | null, refresh: number | null, again: string): void => {
    const asked = askedFrom(new URLSearchParams(text));
    assert.deepEqual([asked.exprs, asked.range.id, asked.end, asked.refresh], [exprs, range, end, refresh], text);
    const written = paramsOf(asked);
    assert.equal(decodeURIComponent(written.toString()), again, text);
    assert.deepEqual(paramsOf(askedFrom(written)).toString(), written.toString(), text);
  };
  f("", [""], "1h", null, null, "");
  f("expr=up", ["up"], "1h", null, null, "expr=up");
  f("expr=a&expr=b&range=15m&refresh=5s", ["a", "b"], "15m", null, 5, "expr=a&expr=b&range=15m&refresh=5s");
  f("expr=a&end=2026-01-02T03:04:05Z", ["a"], "1h", 1767323045, null, "expr=a&end=2026-01-02T03:04:05Z");
  f("expr=a&end=1767323045.4", ["a"], "1h", 1767323045.4, null, "expr=a&end=2026-01-02T03:04:05Z");
  f("expr=a&range=45m", ["a"], "45m", null, null, "expr=a&range=45m");
  f("expr=a&range=ever&end=then&refresh=often", ["a"], "1h", null, null, "expr=a");
  f("expr=a&range=99y&refresh=1ms", ["a"], "1h", null, null, "expr=a");
  // As Prometheus and Alertmanager write them.
  f("g0.expr=up%3D%3D0&g0.tab=1", ["up==0"], "1h", null, null, "expr=up==0");
  f("g0.expr=a&g1.expr=b&g0.range_input=6h&g0.end_input=2026-01-02%2003%3A04%3A05", ["a", "b"], "6h", 1767323045, null, "expr=a&expr=b&range=6h&end=2026-01-02T03:04:05Z");
});

test("no address makes a thousand panels", () => {
  const many = new URLSearchParams(Array.from({ length: 1000 }, (_, i) => ["expr", `m${i}`]));
  assert.equal(askedFrom(many).exprs.length, 20);
});

test("a link carries any text", () => {
  const link = new URL(exploreLink(`a{b="&+ #"}`, "c"), "http://h/");
  assert.deepEqual(link.searchParams.getAll("expr"), [`a{b="&+ #"}`, "c"]);
});

/** Names over a client that answers with what it was asked, or not at all. */
function namesOver(fails = false) {
  const asked: string[] = [];
  const client = {
    get: (path: string, params: object) => {
      asked.push(`${path} ${JSON.stringify(params)}`);
      return fails ? Promise.reject(new Error("gone")) : Promise.resolve([path]);
    },
  } as unknown as Client;
  return { asked, names: new Names(client, (type) => (type === 1 ? "=" : "!~")) };
}

test("completion asks bounded lists, and each once in a while", async () => {
  mock.timers.enable({ apis: ["Date"] });
  try {
    const { asked, names } = namesOver();
    assert.deepEqual(await names.metricNames(), ["label/__name__/values"]);
    await names.metricNames();
    assert.deepEqual(asked, ['label/__name__/values {"limit":20000}']);
    mock.timers.tick(121_000);
    await names.metricNames();
    assert.equal(asked.length, 2);
  } finally {
    mock.timers.reset();
  }
});

test("labels and values are those of the selector that is written", async () => {
  const { asked, names } = namesOver();
  const matcher = (type: number, name: string, value: string) => ({ type, name, value, matchesEmpty: () => type === 1 && value === "" });
  await names.labelNames("up");
  await names.labelValues("job", "up", [matcher(1, "job", "no"), matcher(2, "zone", 'a"b'), matcher(1, "env", "")]);
  await names.labelValues("a.b");
  await names.labelValues("job", undefined, [matcher(1, "http.status", "200")]);
  assert.deepEqual(asked, [
    'labels {"limit":2000,"match[]":"{__name__=\\"up\\"}"}',
    'label/job/values {"limit":2000,"match[]":"{__name__=\\"up\\",zone!~\\"a\\\\\\"b\\"}"}',
    'label/a.b/values {"limit":2000}',
    'label/job/values {"limit":2000,"match[]":"{\\"http.status\\"=\\"200\\"}"}',
  ]);
});

test("what failed is asked again, and gives nothing until then", async () => {
  const { asked, names } = namesOver(true);
  assert.deepEqual(await names.metricNames(), []);
  assert.deepEqual(await names.metricMetadata(), {});
  await names.metricNames();
  assert.equal(asked.length, 3);
});
