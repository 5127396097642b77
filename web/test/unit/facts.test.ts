import assert from "node:assert/strict";
import { test } from "node:test";
import type { TSDBStatus } from "../../src/api.ts";
import { buildFacts, firstLines, headFacts, moment, rankings, runtimeFacts } from "../../src/facts.ts";

test("what runs, without what is not known", () => {
  assert.deepEqual(buildFacts({ version: "1.2", revision: "abc", branch: "", buildUser: "", buildDate: "", goVersion: "go1" }), [
    ["Version", "1.2"],
    ["Revision", "abc"],
    ["Go", "go1"],
  ]);
  assert.deepEqual(buildFacts({ buildDate: "today", buildUser: "me" }), [["Built", "today by me"]]);
});

test("how it runs", () => {
  const now = Date.parse("2026-01-02T03:04:05Z") / 1000;
  const facts = new Map(
    runtimeFacts({ hostname: "h", startTime: "2026-01-02T03:00:05Z", lastConfigTime: "2026-01-02T03:04:00Z", reloadConfigSuccess: false, goroutineCount: 5, GOMEMLIMIT: 9223372036854775807, corruptionCount: 0 }, now),
  );
  assert.match(facts.get("Started") ?? "", /, 4 min ago$/);
  assert.match(facts.get("Configuration") ?? "", /^the last reload failed; in use is that of .*5 s ago$/);
  assert.deepEqual([facts.get("Goroutines"), facts.get("Memory limit of Go"), facts.has("Storage keeps")], ["5", "none", false]);
  assert.equal(facts.size, 5);
  assert.equal(new Map(runtimeFacts({ GOMEMLIMIT: 2 ** 31, corruptionCount: 2 }, now)).get("Memory limit of Go"), "2 GiB");
  assert.equal(moment("0001-01-01T00:00:00Z", now), "never");
  assert.equal(moment(undefined, now), "never");
});

const head: TSDBStatus = {
  headStats: { numSeries: 1234567, chunkCount: 10, minTime: 1000, maxTime: 2000 },
  seriesCountByMetricName: [{ name: "up", value: 3 }],
  labelValueCountByLabelName: [{ name: "job", value: 2 }, { name: "http.status", value: 1 }],
  memoryInBytesByLabelName: [{ name: "job", value: 2048 }],
  seriesCountByLabelValuePair: [{ name: `a=b="c`, value: 1 }, { name: "broken", value: 1 }],
};

test("what fills the store, and a query that shows it", () => {
  assert.equal(headFacts(head)[0]?.[1], "1,234,567");
  assert.equal(headFacts({ ...head, headStats: { ...head.headStats, minTime: 9223372036854775807, maxTime: -9223372036854775808 } }).at(-1)?.[1], "empty");
  const all = rankings(head);
  const expr = (i: number, row: number): string | null => {
    const href = all[i]?.rows[row]?.href;
    return href ? new URL(href, "http://h/").searchParams.get("expr") : null;
  };
  assert.equal(expr(0, 0), `count({__name__="up"})`);
  assert.equal(expr(1, 0), `topk(10, count by (__name__) ({job!=""}))`);
  assert.equal(expr(1, 1), null);
  assert.equal(all[2]?.rows[0]?.text, "2 KiB");
  assert.equal(expr(3, 0), `topk(10, count by (__name__) ({a="b=\\"c"}))`);
  assert.equal(expr(3, 1), null);
});

test("a long text is cut at a line", () => {
  assert.deepEqual(firstLines("a\nb\nc", 2), { text: "a\nb", rest: 1 });
  assert.deepEqual(firstLines("a\nb", 2), { text: "a\nb", rest: 0 });
});
