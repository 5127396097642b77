import assert from "node:assert/strict";
import { test } from "node:test";
import { carryOn, firstTime, frameOf, gridOf, join, latest, legendText, stack, stepFor, type Frame } from "../../src/frame.ts";

/** A frame of one step a second; null where there is no value. */
function frame(start: number, series: Record<string, (number | null)[]>): Frame {
  const n = Object.values(series)[0]?.length ?? 0;
  return {
    times: Array.from({ length: n }, (_, i) => start + i),
    series: Object.entries(series).map(([key, values]) => ({ key, label: key, labels: {}, values })),
  };
}
const shape = (f: Frame | null) => f && { times: f.times, ...Object.fromEntries(f.series.map((s) => [s.key, s.values])) };

test("grids share their points from one moment to the next", () => {
  assert.deepEqual(gridOf(1003.7, 60, 5), { start: 940, end: 1000, step: 5 });
  assert.deepEqual(gridOf(1007.1, 60, 5), { start: 945, end: 1005, step: 5 });
});

test("steps are round and not too small", () => {
  assert.equal(stepFor(900, 180, 5), 5);
  assert.equal(stepFor(3600, 180, 5), 30);
  assert.equal(stepFor(900, 240, 1), 5);
  assert.equal(stepFor(86400 * 365, 10, 1) % 3600, 0);
});

test("a range result on its grid", () => {
  const f = frameOf(
    {
      resultType: "matrix",
      result: [
        { metric: { mode: "user" }, values: [[12, "1"], [13, "NaN"], [14, "+Inf"], [99, "5"]] },
        { metric: { mode: "dead" }, values: [[12, "NaN"]] },
        { metric: { mode: "histogram" }, histograms: [] },
      ],
    },
    { start: 11, end: 14, step: 1 },
    "{{mode}}",
  );
  assert.deepEqual(f.times, [11, 12, 13, 14]);
  assert.deepEqual(f.series.map((s) => [s.label, s.values]), [["user", [null, 1, null, null]]]);
});

test("legends", () => {
  assert.equal(legendText("{{namespace}}/{{pod}}/{{container}}", { namespace: "a", pod: "b", container: "c" }), "a/b/c");
  assert.equal(legendText("{{a}}/{{b}}/{{c}}", { a: "x", c: "z" }), "x/z");
  assert.equal(legendText("{{id}}", { id: "/system.slice" }), "/system.slice");
  assert.equal(legendText("{{none}}", { job: "a" }), '{job="a"}');
  assert.equal(legendText("", { __name__: "up" }), "up");
});

test("carrying a frame on", () => {
  const old = frame(10, { a: [1, 2, 3, 4] });
  const f = (fresh: Frame, exact: boolean) => shape(carryOn(old, fresh, 3, exact));
  assert.deepEqual(f(frame(12, { a: [30, 40, 50] }), false), { times: [11, 12, 13, 14], a: [2, 30, 40, 50] });
  assert.deepEqual(f(frame(13, { a: [4, 5] }), true), { times: [11, 12, 13, 14], a: [2, 3, 4, 5] });
  assert.equal(f(frame(13, { a: [4, 5], b: [1, 1] }), false), null, "a new series has a history");
  assert.equal(f(frame(20, { a: [1, 2] }), false), null, "a gap");
  assert.equal(f({ times: [12, 14], series: [] }, false), null, "another step");
  assert.equal(f({ times: [], series: [] }, false), null, "nothing");
});

test("a series that ended stays until it has left the window, but not in a top list", () => {
  const old = frame(10, { a: [1, 2, 3], b: [5, 6, null] });
  const fresh = frame(12, { a: [3, 4] });
  assert.deepEqual(shape(carryOn(old, fresh, 2, false)), { times: [11, 12, 13], a: [2, 3, 4], b: [6, null, null] });
  assert.deepEqual(shape(carryOn(old, fresh, 1, false)), { times: [12, 13], a: [3, 4] });
  assert.equal(carryOn(old, fresh, 2, true), null);
});

test("carrying on step by step is what asking for all would give", () => {
  const at = (t: number) => Math.sin(t) + t;
  const whole = (from: number, to: number) => frame(from, { a: Array.from({ length: to - from + 1 }, (_, i) => at(from + i)) });
  let f = whole(0, 20);
  for (let end = 21; end < 60; end++) {
    const next = carryOn(f, whole(end - 4, end), 20, true);
    assert.ok(next);
    f = next;
    assert.deepEqual(shape(f), shape(whole(end - 20, end)));
  }
});

test("newest and first points", () => {
  const [s] = frame(0, { a: [null, 1, 2, null, null] }).series;
  assert.ok(s);
  assert.equal(latest(s), 2);
  assert.equal(latest(s, 2), null);
  assert.equal(firstTime(frame(10, { a: [null, null, 1], b: [null, 4, null] })), 11);
  assert.equal(firstTime({ times: [1], series: [] }), null);
});

test("stacking counts a hole as nothing, and nothing at all as a hole", () => {
  assert.deepEqual(stack(frame(0, { a: [1, null, null], b: [2, 3, null] }).series), [
    [1, null, null],
    [3, 3, null],
  ]);
});

test("joining puts named labels first", () => {
  const f = join([frame(0, { z: [1], iowait: [1] }), frame(0, { user: [1] })], ["user", "iowait"]);
  assert.deepEqual(f.series.map((s) => s.label), ["user", "iowait", "z"]);
});
