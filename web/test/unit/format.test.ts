import assert from "node:assert/strict";
import { test } from "node:test";
import { axisLabels, clock, formatAge, formatSeries, formatValue, unitOf, type Unit } from "../../src/format.ts";

test("values with units", () => {
  const f = (v: number | null, unit: Unit, want: string): void => assert.equal(formatValue(v, unit), want, `${v} ${unit}`);
  f(0, "bytes", "0 B");
  f(1023, "bytes", "1023 B");
  f(1024, "bytes", "1 KiB");
  f(1.5 * 1024 ** 3, "bytes", "1.5 GiB");
  f(-2048, "bytes", "-2 KiB");
  f(3 * 1024 ** 2, "bytes/s", "3 MiB/s");
  f(0.12345, "ratio", "12.3 %");
  f(1, "ratio", "100 %");
  f(0.00042, "seconds", "420 µs");
  f(0.25, "seconds", "250 ms");
  f(90, "seconds", "90 s");
  f(600, "seconds", "10 min");
  f(86400 * 3, "seconds", "3 d");
  f(0.25, "cores", "250m");
  f(0, "cores", "0");
  f(2.5, "cores", "2.5");
  f(12345, "/s", "12.3k/s");
  f(7, "count", "7");
  f(1e-9, "plain", "1e-9");
  f(0.000364, "plain", "0.000364");
  f(null, "bytes", "–");
  f(NaN, "plain", "NaN");
  f(-Infinity, "bytes", "-Inf");
});

test("the unit that a query promises", () => {
  const f = (expr: string, want: Unit): void => assert.equal(unitOf(expr), want, expr);
  f("node_memory_MemAvailable_bytes", "bytes");
  f("sum by (pod) (container_memory_working_set_bytes)", "bytes");
  f("rate(node_network_receive_bytes_total[1m])", "bytes/s");
  f("node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "plain");
  f("histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))", "seconds");
  f("scrape_duration_seconds", "seconds");
  f("process_start_time_seconds", "plain");
  f("rate(node_cpu_seconds_total[1m])", "plain");
  f("up", "plain");
});

test("ages and local times", () => {
  assert.equal(formatAge(-1), "now");
  assert.equal(formatAge(12.4), "12 s ago");
  assert.equal(formatAge(600), "10 min ago");
  assert.equal(formatAge(7200), "2 h ago");
  assert.equal(formatAge(86400 * 5), "5 d ago");
  const noon = new Date(2026, 0, 2, 12, 3, 4).getTime() / 1000;
  assert.equal(clock(noon, true), "12:03:04");
  assert.equal(clock(noon, false), "12:03");
  const midnight = new Date(2026, 0, 2).getTime() / 1000;
  assert.deepEqual(axisLabels([midnight, midnight + 21600], 21600), ["2026-01-02", "06:00"]);
  assert.deepEqual(axisLabels([noon], 5), ["12:03:04"]);
});

test("series as PromQL writes them", () => {
  assert.equal(formatSeries({}), "{}");
  assert.equal(formatSeries({ __name__: "up" }), "up");
  assert.equal(formatSeries({ __name__: "up", job: 'a"b\\', instance: "x" }), 'up{instance="x", job="a\\"b\\\\"}');
  assert.equal(formatSeries({ "http.status": "200" }), '{"http.status"="200"}');
});
