import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { Target } from "../../src/api.ts";
import { Poller } from "../../src/poller.ts";
import { isLong, leftOut, rowsOf } from "../../src/result.ts";
import { match, section } from "../../src/route.ts";
import { jobsOf, matches, refreshAfter, rowsPerJob, scrapeTime } from "../../src/scrapes.ts";

test("addresses of the views", () => {
  const routes = [
    { path: "", nav: "Overview", view: "overview" },
    { path: "explore", also: ["query", "graph"], view: "explore" },
    { path: "dashboards", view: "list" },
    { path: "dashboards/:uid", view: "one" },
  ];
  const f = (path: string, base: string, want: string | null, args: Record<string, string> = {}): void => {
    const got = match(routes, path, base);
    assert.equal(got?.route.view ?? null, want, path);
    if (got) assert.deepEqual(got.args, args, path);
  };
  f("/", "/", "overview");
  f("/explore", "/", "explore");
  f("/query/", "/", "explore");
  f("/graph", "/", "explore");
  f("/strata/graph", "/strata/", "explore");
  f("/strata", "/strata/", "overview");
  f("/strata/", "/strata/", "overview");
  f("/elsewhere", "/", null);
  f("/explore/more", "/", null);
  f("/graph", "/strata/", null);
  f("/dashboards", "/", "list");
  f("/dashboards/node", "/", "one", { uid: "node" });
  f("/dashboards/a%2Fb%20c", "/", "one", { uid: "a/b c" });
  f("/dashboards/50%", "/", "one", { uid: "50%" });
  assert.equal(section("dashboards/:uid"), "dashboards");
  assert.equal(section(""), "");
});

test("rows of every kind of result", () => {
  const vector = Array.from({ length: 5 }, (_, i) => ({ metric: { i: String(i) }, value: [0, "1"] as [number, string] }));
  const capped = rowsOf({ resultType: "vector", result: vector }, 2);
  assert.deepEqual([capped.rows.length, capped.total], [2, 5]);
  assert.equal(rowsOf({ resultType: "scalar", result: [0, "7"] }, 9).rows[0]?.value, "7");
  assert.equal(rowsOf({ resultType: "string", result: [0, "text"] }, 9).rows[0]?.value, "text");
  const matrix = { metric: {}, values: [[1, "2"], [3, "4"]] as [number, string][] };
  assert.equal(rowsOf({ resultType: "matrix", result: [matrix] }, 9).rows[0]?.value, "2 @1\n4 @3");
  const day = { metric: {}, values: Array.from({ length: 1000 }, (_, i) => [i, "1"] as [number, string]) };
  const lines = rowsOf({ resultType: "matrix", result: [day] }, 9).rows[0]?.value.split("\n");
  assert.deepEqual([lines?.length, lines?.[0], lines?.at(-1)], [61, "… 940 earlier", "1 @999"]);
  const histogram = { metric: {}, histogram: [0, { count: "3", sum: "1.5" }] as [number, { count: string; sum: string }] };
  assert.equal(rowsOf({ resultType: "vector", result: [histogram] }, 9).rows[0]?.value, "count 3, sum 1.5");
  assert.equal(isLong("0.123456789"), true);
  assert.equal(isLong("12"), false);
  assert.equal(isLong("a long text"), false);
  assert.match(leftOut("shown", 500, 50_000), /^The first 500 of 50,000 series are shown; 49,500 are left out\./);
  assert.match(leftOut("drawn", 50, null), /^The first 50 series are drawn; there are more\./);
});

test("targets by job, unhealthy first", () => {
  const t = (job: string, url: string, health: Target["health"]): Target => ({
    labels: { job, zone: "eu" },
    scrapePool: job,
    scrapeUrl: url,
    lastError: health === "down" ? "connection refused" : "",
    lastScrape: "0001-01-01T00:00:00Z",
    lastScrapeDuration: 0,
    health,
    scrapeInterval: "15s",
    scrapeTimeout: "10s",
  });
  const all = [t("a", "http://1", "up"), t("b", "http://3", "up"), t("b", "http://2", "unknown"), t("b", "http://9", "down")];
  const jobs = jobsOf(all);
  assert.deepEqual(jobs.map((j) => [j.name, j.down, j.unknown]), [["b", 1, 1], ["a", 0, 0]]);
  assert.deepEqual(jobs[0]?.targets.map((x) => x.health), ["down", "unknown", "up"]);
  const bad = all[3] as Target;
  for (const [search, want] of [["", true], ["REFUSED b", true], ["zone=eu", true], ["nothing", false]] as const) {
    assert.equal(matches(bad, search), want, search);
  }
  assert.equal(scrapeTime(bad), null);
  assert.equal(scrapeTime({ ...bad, lastScrape: "1970-01-01T00:00:05Z" }), 5);
});

test("targets are asked as often as they change, and less when they are dear", () => {
  const every = (scrapeInterval: string): Target => ({ scrapeInterval }) as Target;
  assert.equal(refreshAfter([], 0), 60_000);
  assert.equal(refreshAfter([every("30s"), every("5m")], 10), 30_000);
  assert.equal(refreshAfter([every("1s")], 10), 5000);
  assert.equal(refreshAfter([every("1s")], 1000), 20_000);
  assert.equal(refreshAfter([every("1s")], 20_000), 30_000);
  for (const [jobs, rows] of [[1, 50], [20, 50], [50, 20], [200, 5], [5000, 5], [0, 50]] as const) assert.equal(rowsPerJob(jobs), rows);
});

test("a poller that starts waits first", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let runs = 0;
  const poller = new Poller({ intervalMs: () => 500, task: async () => void runs++, onError: assert.ifError, visible: () => true });
  try {
    poller.start();
    assert.equal(runs, 0);
    mock.timers.tick(500);
    assert.equal(runs, 1);
    poller.stop();
  } finally {
    mock.timers.reset();
  }
});

test("a poller waits for its task, survives its failure, rests unseen and stops", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const settle = (): Promise<void> => new Promise((done) => setImmediate(done));
  let runs = 0;
  let visible = true;
  const errors: unknown[] = [];
  const poller = new Poller({
    intervalMs: 1000,
    task: async () => {
      runs++;
      if (runs === 2) throw new Error("second");
    },
    onError: (err) => errors.push(err),
    visible: () => visible,
  });
  const turn = async (): Promise<void> => {
    mock.timers.tick(1000);
    await settle();
  };
  try {
    await poller.now();
    assert.equal(runs, 1);
    await turn();
    assert.deepEqual([runs, errors.length], [2, 1]);
    await turn();
    assert.equal(runs, 3);
    visible = false;
    await turn();
    assert.equal(runs, 3);
    visible = true;
    await turn();
    assert.equal(runs, 4);
    poller.stop();
    await turn();
    await poller.now();
    assert.equal(runs, 4);
  } finally {
    mock.timers.reset();
  }
});
