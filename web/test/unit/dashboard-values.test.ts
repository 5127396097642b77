import assert from "node:assert/strict";
import { test } from "node:test";
import { colourOf, continuousColour, paletteColour } from "../../src/dashboard/colours.ts";
import { configOf, Field, pattern } from "../../src/dashboard/field.ts";
import { reduce, reducerLabel } from "../../src/dashboard/reduce.ts";
import { intervalFor, intervalsOf, rateInterval } from "../../src/dashboard/scrapeinterval.ts";
import { durationText, resolveSpan, seconds, spanText, timeOf, youngStart } from "../../src/dashboard/time.ts";
import { formatter, stepsOf } from "../../src/dashboard/units.ts";

test("units", () => {
  const f = (unit: string, v: number, want: string, decimals: number | null = null): void => {
    const { text, suffix } = formatter(unit, decimals)(v);
    assert.equal(text + suffix, want, `${v} ${unit}`);
  };
  f("", 1234, "1.23 K");
  f("short", 999, "999");
  f("short", 1_500_000, "1.5 Mil");
  f("none", 1234567, "1234567");
  f("none", 0.5, "0.5");
  f("none", 3, "3.00", 2);
  f("percent", 12.345, "12.3%");
  f("percentunit", 0.5, "50%");
  f("percentunit", 0.12345, "12.35%", 2);
  f("bytes", 0, "0 B");
  f("bytes", 1023, "1023 B");
  f("bytes", 1536, "1.5 KiB");
  f("bytes", -(2 ** 30), "-1 GiB");
  f("kbytes", 1024, "1 MiB");
  f("decbytes", 1500, "1.5 kB");
  f("Bps", 2e6, "2 MB/s");
  f("binBps", 2 ** 21, "2 MiB/s");
  f("bps", 1e9, "1 Gb/s");
  f("s", 0, "0 s");
  f("s", 0.0123, "12.3 ms");
  f("s", 90, "1.5 mins");
  f("s", 86400 * 3, "3 days");
  f("ms", 1500, "1.5 s");
  f("ms", 0.5, "500 µs");
  f("µs", 2, "2 µs");
  f("ns", 3, "3 ns");
  f("reqps", 1500, "1.5k req/s");
  f("ops", 12, "12 ops/s");
  f("cps", 0.25, "0.25 c/s");
  f("pps", 1e6, "1M p/s");
  f("hertz", 2.4e9, "2.4 GHz");
  f("celsius", 41, "41 °C");
  f("bool_yes_no", 1, "Yes");
  f("dthms", 3725, "01:02:05");
  f("cores", 2, "2 cores");
  f("widgets", 2, "2 widgets");
  f("suffix:/node", 2, "2 /node");
  f("prefix:$", 2, "$2");
  f("si:W", 1500, "1.5 kW");
  f("constructor", 2, "2 constructor");
  f("bytes", NaN, "NaN");
  f("s", Infinity, "+Inf");
  assert.match(formatter("dateTimeAsIso", null)(0).text, /^(1970-01-01|1969-12-31) \d\d:\d\d:\d\d$/);
  assert.match(formatter("dateTimeFromNow", null)(Date.now() - 7.2e6).text, /^2 hours ago$/);
  assert.deepEqual([stepsOf("bytes"), stepsOf("s"), stepsOf("short"), stepsOf("Bps")], ["binary", "time", "decimal", "decimal"]);
});

test("calculations", () => {
  const f = (id: string, v: (number | null)[], want: number | null): void => assert.equal(reduce(id, v), want, id);
  f("lastNotNull", [1, 2, null], 2);
  f("last", [1, 2, null], null);
  f("first", [null, 1], null);
  f("firstNotNull", [null, 1], 1);
  f("mean", [1, null, 3], 2);
  f("sum", [], null);
  f("sum", [1, 2], 3);
  f("min", [3, null, -1], -1);
  f("max", [3, null, -1], 3);
  f("count", [3, null], 2);
  f("range", [3, 7], 4);
  f("diff", [3, null, 7], 4);
  f("delta", [1, 5, 2, 3], 7);
  f("stdDev", [1, 3], 1);
  f("p95", Array.from({ length: 101 }, (_, i) => i), 95);
  f("median", [5, 1, 3], 3);
  f("changeCount", [1, 1, 2, null, 1], 2);
  f("current", [1, 2, null], 2);
  f("no such thing", [1, 2], 2);
  f("hasOwnProperty", [1, 2], 2);
  assert.equal(reducerLabel("lastNotNull"), "Last *");
  assert.equal(reducerLabel("p99"), "99th %");
});

test("overrides hold by name, expression and query, in their order", () => {
  const panel = {
    defaults: { unit: "short", custom: { fillOpacity: 5 } },
    overrides: [
      { matcher: { id: "byRegexp", options: "/^mem/i" }, properties: [{ id: "unit", value: "bytes" }, { id: "custom.stacking", value: { mode: "normal" } }] },
      { matcher: { id: "byFrameRefID", options: "B" }, properties: [{ id: "unit", value: "s" }] },
      { matcher: { id: "byName", options: "Memory" }, properties: [{ id: "custom.fillOpacity", value: 20 }, { id: "color", value: { mode: "fixed", fixedColor: "red" } }] },
    ],
  };
  const of = (name: string, refId: string) => configOf(panel, { name, refId, type: "number" });
  assert.deepEqual(of("cpu", "A"), { unit: "short", custom: { fillOpacity: 5 } });
  assert.deepEqual(of("Memory", "A"), { unit: "bytes", custom: { fillOpacity: 20, stacking: { mode: "normal" } }, color: { mode: "fixed", fixedColor: "red" } });
  assert.equal(of("memory", "B")["unit"], "s");
  assert.equal(pattern("("), null);
  assert.deepEqual(panel.defaults, { unit: "short", custom: { fillOpacity: 5 } }, "the file is left as it is");
});

test("values by mapping, unit, threshold", () => {
  const field = new Field(
    {
      unit: "percent",
      noValue: "nothing",
      thresholds: { mode: "absolute", steps: [{ color: "green", value: null }, { color: "red", value: 80 }] },
      mappings: [
        { type: "value", options: { "1": { text: "up", color: "blue" } } },
        { type: "range", options: { from: 2, to: 3, result: { text: "some" } } },
        { type: "special", options: { match: "nan", result: { text: "not a number" } } },
        { type: "regex", options: { pattern: "^a", result: { text: "begins with a" } } },
      ],
    },
    0,
  );
  const f = (v: number | string | null, text: string, colour: string | null): void => {
    const s = field.show(v, true);
    assert.deepEqual([s.text + s.suffix, s.colour], [text, colour]);
  };
  f(1, "up", "var(--g-blue)");
  f(2.5, "some", "var(--g-green)");
  f(79.9, "79.9%", "var(--g-green)");
  f(80, "80%", "var(--g-red)");
  f(NaN, "not a number", "var(--g-green)");
  f(null, "nothing", null);
  f("abc", "begins with a", null);
  f("xyz", "xyz", null);
  assert.equal(field.show(90).colour, null, "coloured only where asked");
});

test("thresholds in percent of the scale", () => {
  const field = new Field({ min: 0, max: 200, thresholds: { mode: "percentage", steps: [{ color: "green", value: null }, { color: "red", value: 50 }] } }, 0);
  assert.equal(field.threshold(99), "var(--g-green)");
  assert.equal(field.threshold(100), "var(--g-red)");
});

test("colours follow the theme, and what is no colour cannot pass", () => {
  assert.equal(colourOf("green"), "var(--g-green)");
  assert.match(colourOf("dark-red"), /^color-mix\(in srgb, var\(--g-red\) 78%, black\)$/);
  assert.equal(colourOf("#ff0000"), "#ff0000");
  assert.equal(colourOf("rgba(1, 2, 3, 0.5)"), "rgba(1, 2, 3, 0.5)");
  assert.equal(colourOf("url(https://example.org/x)"), "var(--s1)");
  assert.equal(paletteColour(0), "var(--s1)");
  assert.equal(new Set(Array.from({ length: 24 }, (_, i) => paletteColour(i))).size, 24);
  assert.match(continuousColour("continuous-GrYlRd", 1), /--g-red\) 100%/);
});

test("times and durations", () => {
  const now = Date.UTC(2026, 0, 15, 12, 34, 56) / 1000;
  assert.equal(timeOf("now-6h", now, false), now - 21600);
  assert.equal(timeOf("now", now, true), now);
  assert.equal(timeOf("now+5m", now, true), now + 300);
  assert.equal(timeOf("1700000000000", now, false), 1_700_000_000);
  assert.equal(timeOf("2026-01-15T12:00:00Z", now, false), Date.UTC(2026, 0, 15, 12) / 1000);
  assert.equal(timeOf("now-1x", now, false), null);
  assert.equal(timeOf("yesterday", now, false), null);
  const day = (timeOf("now/d", now, true) as number) - (timeOf("now/d", now, false) as number);
  assert.ok(day >= 82800 && day <= 90000);
  assert.deepEqual(resolveSpan({ from: "now", to: "now-1h" }, now), { from: now - 3600, to: now });
  assert.equal(spanText({ from: "now-6h", to: "now" }, now), "Last 6 hours");
  assert.deepEqual([seconds("30s"), seconds("1m30s"), seconds(">10s"), seconds("x"), seconds("")], [30, 90, 10, null, null]);
  assert.deepEqual([durationText(15), durationText(3600), durationText(90), durationText(0.25), durationText(86400)], ["15s", "1h", "90s", "250ms", "1d"]);
});

test("a range that nobody chose begins where the data does", () => {
  assert.equal(youngStart(0, 3600, null), 0);
  assert.equal(youngStart(1000, 4600, 500), 1000);
  assert.equal(youngStart(1000, 4600, 2000), 1990);
  assert.equal(youngStart(1000, 4600, 4550), 4300, "five minutes at least");
});

test("windows hold four scrapes of the jobs that a query names", () => {
  const target = (job: string, scrapeInterval: string) => ({ labels: { job }, scrapeInterval });
  const known = intervalsOf([...Array.from({ length: 40 }, () => target("node", "15s")), target("slow", "5m")]);
  assert.equal(known.usual, 15);
  assert.equal(intervalFor(`rate(x{job="slow"}[1m])`, known), 300);
  assert.equal(intervalFor(`x{job=~"node|slow"}`, known), 300);
  assert.equal(intervalFor("x", known), 15);
  assert.equal(intervalsOf([]).usual, 15);
  assert.equal(rateInterval(15, 15), 60);
  assert.equal(rateInterval(300, 15), 315);
});
