// Rules and alerts in every state.

import assert from "node:assert/strict";
import { test } from "node:test";
import { noStory, shot, told, visit } from "./world.ts";

test("what fires comes first, with all that is known of it", { skip: noStory }, async () => {
  await visit(await told(), "alerts", {}, async (page) => {
    const rule = (name: string) => page.locator(".rule", { hasText: name });
    await page.waitForSelector('.rule[data-state="firing"]');
    await page.waitForSelector('.rule[data-state="pending"]');
    await page.waitForSelector('.rule[data-state="broken"]');
    await page.waitForSelector('.rule[data-state="inactive"]');
    assert.equal(await page.locator(".summary").textContent(), "1 firing, 1 pending, 1 broken of 5 rules in 2 groups");
    assert.equal(await page.locator(".rule").first().getAttribute("data-state"), "firing");

    const alert = rule("AutoscalerAtItsLimit").locator(".alerts li");
    assert.equal(await alert.count(), 1);
    const text = (await alert.innerText()).replace(/\s+/g, " ");
    assert.match(text, /active since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, .* value 5/);
    assert.match(text, /shop\/checkout runs as many pods as it may It has 5 replicas and cannot add another one/);
    assert.match(text, /horizontalpodautoscaler=checkout/);
    assert.doesNotMatch(text, /alertname=|severity=/, "what all alerts of the rule have is said once");
    assert.equal(await alert.getByRole("link", { name: "Runbook" }).getAttribute("href"), "https://example.com/runbooks/autoscaler-at-its-limit");

    assert.equal(await rule("AutoscalerBlind").locator('.alerts li[data-alert="pending"]').count(), 2);
    assert.match(await rule("AutoscalerBlind").locator("summary").innerText(), /for 60 min/);
    assert.match((await rule("BrokenRule").locator(".error").textContent()) ?? "", /many-to-many matching not allowed/);
    assert.match(await rule("NothingScraped").locator(".when").innerText(), /(ago|now) in [\d.]+ [µm]?s$/);
    await shot(page, "alerts-story");
  });
});

test("states and text narrow the list, in the address too", { skip: noStory }, async () => {
  await visit(await told(), "alerts", {}, async (page) => {
    await page.waitForSelector(".rules[data-loaded]");
    const count = (n: number) => page.waitForFunction((want) => document.querySelectorAll(".rule").length === want, n);
    await count(5);
    await page.getByText("Pending", { exact: true }).click();
    await count(1);
    assert.match(page.url(), /state=pending/);
    await page.getByLabel("Search rules and alerts").fill("nothing like it");
    await count(0);
    assert.match((await page.locator(".summary").textContent()) ?? "", /none matches the filter/);
    await page.goto(`${await told()}rules?search=absent`);
    await count(1);
    assert.equal(await page.locator(".rule b").textContent(), "NothingScraped");
    assert.equal(await page.locator(".rule").evaluate((d: HTMLDetailsElement) => d.open), false, "what is calm is closed");
    await page.locator(".rule summary").click();
    await page.getByRole("link", { name: "Explore absent(up)" }).click();
    await page.waitForURL(/explore\?expr=absent%28up%29/);
  });
});

test("arrows move along the rules", { skip: noStory }, async () => {
  await visit(await told(), "alerts", {}, async (page) => {
    await page.waitForSelector(".rule");
    await page.locator(".rule summary").first().focus();
    await page.keyboard.press("ArrowDown");
    const focused = () => page.evaluate(() => [...document.querySelectorAll(".rule summary")].indexOf(document.activeElement as Element));
    assert.equal(await focused(), 1);
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    assert.equal(await focused(), 0);
  });
});

test("ten thousand rules are shown in portions", { skip: noStory }, async () => {
  const rule = (g: number, i: number) => ({ type: "alerting", state: "inactive", name: `Rule${g}x${i}`, query: "vector(1) == 0", health: "ok", evaluationTime: 0.001, lastEvaluation: "2026-01-02T03:04:05Z", duration: 0, labels: {}, annotations: {}, alerts: [] });
  const groups = Array.from({ length: 100 }, (_, g) => ({ name: `g${g}`, file: "f.yaml", interval: 30, evaluationTime: 0.1, lastEvaluation: "2026-01-02T03:04:05Z", rules: Array.from({ length: 100 }, (_, i) => rule(g, i)) }));
  const alert = (i: number) => ({ state: "firing", labels: { alertname: "Loud", i: String(i) }, annotations: { summary: `number ${i}` }, activeAt: "2026-01-02T03:04:05Z", value: "1" });
  groups[42]?.rules.push({ ...rule(42, 0), name: "Loud", state: "firing", alerts: Array.from({ length: 5000 }, (_, i) => alert(i)) as never[] });
  const body = JSON.stringify({ status: "success", data: { groups } });
  await visit(await told(), "status", {}, async (page) => {
    await page.route("**/api/v1/rules**", (route) => route.fulfill({ contentType: "application/json", body }));
    await page.getByRole("link", { name: "Alerts", exact: true }).click();
    await page.waitForSelector(".rule");
    assert.equal(await page.locator(".rule b").first().textContent(), "Loud");
    assert.equal(await page.locator(".alerts li").count(), 20);
    await page.getByRole("button", { name: "Show 200 of 4980 more alerts" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".alerts li").length === 220);
    const rules = await page.locator(".rule").count();
    assert.equal(rules, 200);
    await page.getByRole("button", { name: /^Show more of the other 9801 rules$/ }).click();
    await page.waitForFunction(() => document.querySelectorAll(".rule").length === 1200);
  });
});
