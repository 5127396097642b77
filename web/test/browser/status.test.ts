// What the status page tells about the server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { main, noStory, told, visit } from "./world.ts";

test("version, series, flags and configuration", async () => {
  await visit(await main(), "status", {}, async (page) => {
    await page.waitForSelector(".status[data-loaded]");
    const part = (id: string) => page.locator(`[data-part="${id}"]`);
    assert.match(await part("server").innerText(), /Version\s+\S+/);
    assert.match(await part("server").innerText(), /Started\s+\d{4}-\d\d-\d\d/);
    assert.match(await part("head").innerText(), /Series\s+[\d,]+/);
    assert.ok((await part("head").locator(".ranking").first().locator("tbody tr").count()) > 1);
    assert.match((await part("config").locator("pre").textContent()) ?? "", /scrape_configs:/);
    await page.getByLabel("Search flags").fill("web.listen");
    await page.waitForFunction(() => document.querySelectorAll('[data-part="flags"] tbody tr').length === 1);
    assert.match(await part("flags").locator("tbody").innerText(), /--web.listen-address\s/);
  });
});

test("Alertmanagers, and a ranking that leads to its query", { skip: noStory }, async () => {
  await visit(await told(), "tsdb-status", {}, async (page) => {
    await page.waitForSelector(".status[data-loaded]");
    assert.match(await page.locator('[data-part="alertmanagers"]').innerText(), /127\.0\.0\.1:1/);
    await page.getByRole("link", { name: "many_series", exact: true }).click();
    await page.waitForFunction(() => document.querySelector(".result td.num")?.textContent === "50000");
  });
});

test("a part that fails says so in its place, and the others stand", async () => {
  await visit(await main(), "targets", { expected: /status of 500/ }, async (page) => {
    await page.route("**/api/v1/status/tsdb**", (route) =>
      route.fulfill({ status: 500, contentType: "application/json", body: JSON.stringify({ status: "error", errorType: "internal", error: "TSDB not ready" }) }),
    );
    await page.getByRole("link", { name: "Status", exact: true }).click();
    await page.waitForSelector(".status[data-loaded]");
    assert.equal(await page.locator('[data-part="head"] .error').textContent(), "The server answers: TSDB not ready");
    assert.match(await page.locator('[data-part="server"]').innerText(), /Version/);
  });
});
