import assert from "node:assert/strict";
import { test } from "node:test";
import { APIError, Client, sampleNumber } from "../../src/api.ts";

interface Call {
  url: string;
  body: string;
}

/** A client whose server answers as told, with what it was asked and whether contact was made. */
function clientOf(answer: (signal: AbortSignal) => Promise<Response>, timeoutMs = 5000) {
  const calls: Call[] = [];
  const contacts: [boolean, string][] = [];
  const client = new Client({
    base: "http://host/strata/",
    timeoutMs,
    onContact: (ok, reason) => contacts.push([ok, reason]),
    fetch: (url, init) => {
      calls.push({ url: String(url), body: String(init?.body ?? "") });
      return answer(init?.signal as AbortSignal);
    },
  });
  return { client, calls, contacts };
}

const json = (value: unknown, status = 200) => () => Promise.resolve(new Response(JSON.stringify(value), { status }));
const raw = (text: string, status: number) => () => Promise.resolve(new Response(text, { status }));

/** Never answers, but minds its signal as fetch does. */
const silent = (signal: AbortSignal) =>
  new Promise<Response>((_, reject) => {
    const hold = setInterval(() => undefined, 1000);
    signal.addEventListener("abort", () => {
      clearInterval(hold);
      reject(signal.reason as Error);
    });
  });

async function failure(p: Promise<unknown>): Promise<APIError> {
  try {
    await p;
  } catch (err) {
    assert.ok(err instanceof APIError, String(err));
    return err;
  }
  throw new Error("no failure");
}

test("a query and its answer", async () => {
  const { client, calls, contacts } = clientOf(
    json({ status: "success", data: { resultType: "vector", result: [] }, warnings: ["w"], infos: ["i"] }),
  );
  const a = await client.query(`up{job="a&b"}`, { limit: 3 });
  assert.deepEqual(a.data, { resultType: "vector", result: [] });
  assert.deepEqual(a.warnings, ["w", "i"]);
  assert.equal(calls[0]?.url, "http://host/strata/api/v1/query");
  assert.deepEqual(Object.fromEntries(new URLSearchParams(calls[0]?.body)), { query: `up{job="a&b"}`, limit: "3" });
  assert.deepEqual(contacts, [[true, ""]]);
});

test("a range carries its grid", async () => {
  const { client, calls } = clientOf(json({ status: "success", data: { resultType: "matrix", result: [] } }));
  await client.queryRange("up", { start: 1, end: 2, step: 0.5 });
  assert.equal(calls[0]?.body, "query=up&start=1&end=2&step=0.5");
});

test("anything of the API, with its parameters", async () => {
  const { client, calls } = clientOf(json({ status: "success", data: { groups: null } }));
  assert.deepEqual(await client.rules(), []);
  await client.get("labels", { limit: 5, "match[]": ["a", "b&c"] });
  assert.deepEqual(calls.map((c) => c.url), ["http://host/strata/api/v1/rules", "http://host/strata/api/v1/labels?limit=5&match%5B%5D=a&match%5B%5D=b%26c"]);
});

test("targets, none included", async () => {
  const { client } = clientOf(json({ status: "success", data: { activeTargets: null } }));
  assert.deepEqual(await client.targets(), []);
});

test("an error of the API keeps the server's words and is contact", async () => {
  const { client, contacts } = clientOf(json({ status: "error", errorType: "bad_data", error: "parse error: x" }, 400));
  const err = await failure(client.query("x("));
  assert.deepEqual([err.failure, err.errorType, err.message], ["api", "bad_data", "parse error: x"]);
  assert.deepEqual(contacts, [[true, ""]]);
});

test("a timeout that the engine reports is no lost server", async () => {
  const { client } = clientOf(json({ status: "error", errorType: "timeout", error: "query timed out" }, 503));
  assert.equal((await failure(client.query("x"))).failure, "api");
});

test("a proxy's or a starting server's answer is no contact", async () => {
  for (const [text, want] of [
    ["<html>502</html>", "HTTP 502"],
    ["Service Unavailable\n", "HTTP 502: Service Unavailable"],
  ] as const) {
    const { client, contacts } = clientOf(raw(text, 502));
    const err = await failure(client.query("x"));
    assert.deepEqual([err.failure, err.message], ["unreachable", want]);
    assert.deepEqual(contacts, [[false, want]]);
  }
});

test("what is no answer of this API", async () => {
  assert.equal((await failure(clientOf(raw("404 page not found", 404)).client.query("x"))).message, "HTTP 404: 404 page not found");
  assert.match((await failure(clientOf(json({ hello: 1 })).client.query("x"))).message, /not one of the Prometheus API/);
  assert.match((await failure(clientOf(json(null)).client.query("x"))).message, /not one of the Prometheus API/);
  assert.equal((await failure(clientOf(json({ status: "error" }, 422)).client.query("x"))).message, "HTTP 422");
});

test("a server that is gone", async () => {
  const { client, contacts } = clientOf(() => Promise.reject(new TypeError("Failed to fetch")));
  assert.equal((await failure(client.query("x"))).failure, "unreachable");
  assert.deepEqual(contacts, [[false, "connection refused or lost"]]);
});

test("a server that does not answer in time", async () => {
  const { client, contacts } = clientOf(silent, 10);
  assert.equal((await failure(client.query("x"))).failure, "unreachable");
  assert.deepEqual(contacts, [[false, "no answer within 0.01 s"]]);
});

test("a request given up says nothing about the server", async () => {
  const { client, contacts } = clientOf(silent);
  const abort = new AbortController();
  const pending = failure(client.query("x", {}, abort.signal));
  abort.abort();
  assert.equal((await pending).failure, "aborted");
  assert.deepEqual(contacts, []);
});

test("numbers as the API writes them", () => {
  assert.equal(sampleNumber("+Inf"), Infinity);
  assert.equal(sampleNumber("-Inf"), -Infinity);
  assert.equal(sampleNumber("1.5e3"), 1500);
  assert.ok(Number.isNaN(sampleNumber("NaN")));
});
