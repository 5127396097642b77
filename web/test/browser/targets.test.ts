// The targets of a running server, and of one with ten thousand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { main, noStory, told, visit } from "./world.ts";

test("targets with health, duration and labels", async () => {
  await visit(await main(), "targets", {}, async (page) => {
    await page.waitForSelector('tr[data-health="up"]');
    const rows = await page.locator("tr[data-target]").count();
    assert.match((await page.locator(".summary").textContent()) ?? "", new RegExp(`^${rows} targets, \\d+ down$`));
    await page.waitForFunction(() => /ago|now/.test(document.querySelector('tr[data-health="up"] .num')?.textContent ?? ""));
    const order = await page.locator("section.job").first().locator("tr[data-target]").evaluateAll((trs) => trs.map((t) => t.getAttribute("data-health")));
    const rank = ["down", "unknown", "up"];
    assert.deepEqual(order, [...order].sort((a, b) => rank.indexOf(a ?? "") - rank.indexOf(b ?? "")), "unhealthy first");
    await page.getByLabel("Search targets").fill("nothing-has-this-name");
    await page.waitForFunction(() => document.querySelectorAll("tr[data-target]").length === 0);
    assert.match(page.url(), /search=nothing/);
    await page.getByLabel("Search targets").fill("");
    await page.waitForSelector("tr[data-target]");
  });
});

test("a target that is down says why, before all others", { skip: noStory }, async () => {
  await visit(await told(), "targets", {}, async (page) => {
    await page.waitForSelector('tr[data-health="down"]');
    assert.match((await page.locator("section.job h2").first().textContent()) ?? "", /^gone 0 of 1 up$/);
    assert.match((await page.locator('tr[data-health="down"] .error').textContent()) ?? "", /connection refused/);
    await page.getByLabel("Unhealthy only").check();
    await page.waitForFunction(() => document.querySelectorAll("tr[data-target]").length === 1);
    assert.match(page.url(), /unhealthy=1/);
  });
});

test("ten thousand targets are a page like any other", async () => {
  const target = (i: number) => ({
    labels: { job: `job-${i % 300}`, instance: `10.0.${i % 250}.${i % 200}:9100`, node: `node-${i}` },
    scrapePool: `job-${i % 300}`,
    scrapeUrl: `http://10.0.${i % 250}.${i % 200}:9100/metrics?i=${i}`,
    lastError: i % 1000 === 7 ? "connection refused" : "",
    lastScrape: "2026-01-02T03:04:05Z",
    lastScrapeDuration: 0.01,
    health: i % 1000 === 7 ? "down" : "up",
    scrapeInterval: "15s",
    scrapeTimeout: "10s",
  });
  const body = JSON.stringify({ status: "success", data: { activeTargets: Array.from({ length: 10_000 }, (_, i) => target(i)) } });
  await visit(await main(), "status", {}, async (page) => {
    await page.route("**/api/v1/targets**", (route) => route.fulfill({ contentType: "application/json", body }));
    await page.getByRole("link", { name: "Targets", exact: true }).click();
    await page.waitForSelector("tr[data-target]");
    assert.equal(await page.locator(".summary").textContent(), "10000 targets, 10 down");
    const rows = await page.locator("tr[data-target]").count();
    assert.ok(rows <= 1500, `${rows} rows at once`);
    assert.equal(await page.locator("tr[data-target]").first().getAttribute("data-health"), "down");
    assert.match((await page.locator(".jobs > .note").textContent()) ?? "", /^100 more jobs are not shown/);
    await page.getByLabel("Search targets").fill("node-9999");
    await page.waitForFunction(() => document.querySelectorAll("tr[data-target]").length === 1);
    // One job that has them all shows them in portions.
    await page.getByLabel("Search targets").fill("job-1");
    await page.waitForFunction(() => document.querySelectorAll("tr[data-target]").length > 1);
    const before = await page.locator("tr[data-target]").count();
    await page.locator(".job button").first().click();
    await page.waitForFunction((n) => document.querySelectorAll("tr[data-target]").length > n, before);
  });
});
