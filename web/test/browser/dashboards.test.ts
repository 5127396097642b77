// Dashboards in Chromium: every one of the server under test, and what a user's
// directory may hold, on a server of their own.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server as HTTPServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Page } from "playwright-core";
import { poorContrast } from "./contrast.ts";
import { files } from "./dashboardfiles.ts";
import { start, type Server } from "./server.ts";
import { barriers, coloured, fits, main, noStory, shot, visit } from "./world.ts";

/** Where pods come and go, so do network interfaces, and Chromium gives up a request then; the page asks again. */
const network = /ERR_NETWORK_CHANGED/;

interface Entry {
  uid: string;
  title: string;
  error?: { file: string };
}

async function entries(url: string): Promise<Entry[]> {
  const answer = (await (await fetch(`${url}api/strata/v1/dashboards`)).json()) as { data: { dashboards: Entry[] } };
  return answer.data.dashboards;
}

/** Makes the window as high as the page and opens all rows, so that every panel is seen, and waits for all of them. */
async function seeAll(page: Page, width: number): Promise<void> {
  await page.waitForSelector(".dashboard[data-loaded]");
  for (const row of await page.locator('.d-fold[aria-expanded="false"]').all()) await row.click();
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width, height: Math.min(12_000, height + 100) });
  await page.waitForFunction(() => [...document.querySelectorAll(".d-panel")].every((p) => !p.checkVisibility() || (p as HTMLElement).dataset["state"] !== undefined));
}

interface Seen {
  title: string;
  state: string;
  text: string;
  charts: number;
}

function panels(page: Page): Promise<Seen[]> {
  return page.locator(".d-panel").evaluateAll((all) =>
    all.map((p) => ({
      title: p.getAttribute("aria-label") ?? "",
      state: (p as HTMLElement).dataset["state"] ?? "",
      text: (p.querySelector(".d-body")?.textContent ?? "").trim(),
      charts: p.querySelectorAll(".u-over, svg, td, .d-value, .d-track").length,
    })),
  );
}

test("every dashboard of the server opens, and no panel is empty without a reason", async (t) => {
  const url = await main();
  const all = (await entries(url)).filter((e) => !e.error);
  assert.ok(all.length > 0);
  for (const { uid } of all) {
    for (const [width, scheme] of [[1440, "light"], [360, "dark"]] as const) {
      const at = `dashboard-${uid}-${width === 360 ? "phone" : "desktop"}-${scheme}`;
      await visit(url, `dashboards/${uid}`, { width, height: 900, scheme, bypassCSP: true, expected: network }, async (page) => {
        await seeAll(page, width);
        await shot(page, at);
        const seen = await panels(page);
        assert.ok(seen.length > 0, `${at} has panels`);
        assert.deepEqual(seen.filter((p) => p.state !== "data" && p.state !== "reason"), [], at);
        assert.deepEqual(seen.filter((p) => (p.state === "data" ? p.charts === 0 : p.text === "")), [], at);
        if (width === 1440) t.diagnostic(`${uid}: ${seen.filter((p) => p.state === "data").length} of ${seen.length} panels with data`);
        assert.ok(await fits(page), `${at} is wider than its window`);
        assert.deepEqual(await page.evaluate(poorContrast), [], at);
        assert.deepEqual(await barriers(page), [], at);
      });
    }
  }
});

const series = 50_000;
let own: { server: Server; targets: HTTPServer; dir: string } | null = null;

/** A server with the test's own dashboards and a metric of 50,000 series. */
async function trial(): Promise<{ url: string; dir: string }> {
  if (own) return { url: own.server.url, dir: own.dir };
  const text = Array.from({ length: series }, (_, i) => `wide{i="${i}"} ${i}\n`).join("");
  const targets = createServer((_, res) => void res.setHeader("Content-Type", "text/plain; version=0.0.4").end(text));
  await new Promise<void>((done) => targets.listen(0, "127.0.0.1", done));
  const { port } = targets.address() as AddressInfo;
  let boards = "";
  const server = await start((dir) => {
    boards = join(dir, "boards");
    mkdirSync(boards);
    for (const [name, content] of Object.entries(files)) writeFileSync(join(boards, name), content);
    writeFileSync(join(dir, "more.yml"), `scrape_configs:\n- {job_name: wide, scrape_interval: 10s, static_configs: [{targets: ["127.0.0.1:${port}"]}]}\n`);
    const local = ["web", "node", "container", "app"].map((l) => `--${l}.listen-address=127.0.0.1:0`);
    return ["up", ...local, `--storage.tsdb.path=${join(dir, "data")}`, "--config.file=more.yml", `--page.dashboards=${boards}`];
  });
  own = { server, targets, dir: boards };
  return { url: server.url, dir: boards };
}

after(async () => {
  await own?.server.stop();
  own?.targets.closeAllConnections();
  own?.targets.close();
});

const state = (page: Page, id: string, want: string) => page.waitForSelector(`[data-panel-id="${id}"][data-state="${want}"]`);
const textOf = async (page: Page, id: string): Promise<string> => ((await page.locator(`[data-panel-id="${id}"]`).innerText()) ?? "").replace(/\s+/g, " ");

/** Waits until the store has two samples of what the panels ask for. */
async function scraped(url: string, expr: string): Promise<void> {
  for (;;) {
    const answer = (await (await fetch(`${url}api/v1/query?query=${encodeURIComponent(expr)}`)).json()) as { data?: { result: unknown[] } };
    if ((answer.data?.result.length ?? 0) > 0) return;
    await new Promise((done) => setTimeout(done, 200));
  }
}

test("the list is searched, and says what is broken, where, and how to mend it", { skip: noStory }, async () => {
  const { url, dir } = await trial();
  await visit(url, "dashboards", { bypassCSP: true, expected: /status of 400|ERR_NETWORK_CHANGED/ }, async (page) => {
    const broken = page.locator('[data-uid="broken"]');
    await broken.waitFor();
    const text = await broken.innerText();
    assert.match(text, /broken\.json, line 5, column 3: broken JSON.*To repair: remove the comma before it/s);
    assert.match(await page.locator(".summary").innerText(), /^\d+ dashboards, 1 cannot be shown$/);
    assert.deepEqual(await barriers(page), []);
    assert.deepEqual(await page.evaluate(poorContrast), []);
    await shot(page, "dashboards-list-light");
    await page.getByLabel("Search dashboards").fill("kinds of");
    await page.waitForFunction(() => document.querySelectorAll(".d-list li").length === 1);
    assert.match(page.url(), /search=kinds/);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".dashboard h1");
    await page.waitForFunction(() => document.title === "All kinds of panels · Strata");
    assert.equal(await page.locator('nav [aria-current="page"]').innerText(), "Dashboards");
  });
  await visit(url, "dashboards/broken", { expected: /status of 422|ERR_NETWORK_CHANGED/ }, async (page) => {
    await page.waitForSelector(".d-fault");
    assert.match(await page.locator(".d-fault").innerText(), /broken\.json:5:3: .*repair: remove the comma/);
  });
  await visit(url, "dashboards/none", { expected: /status of 404|ERR_NETWORK_CHANGED/ }, async (page) => {
    await page.waitForSelector(".d-fault");
    assert.match(await page.locator(".d-fault").innerText(), /no dashboard has the uid "none"/);
  });
  // Mended, it is there without a restart.
  writeFileSync(join(dir, "broken.json"), `{"title": "Mended", "panels": []}`);
  await visit(url, "dashboards/broken", { expected: network }, async (page) => {
    await page.waitForFunction(() => document.querySelector(".dashboard h1")?.textContent === "Mended");
    assert.match(await page.locator(".d-rows").innerText(), /no panels/);
  });
  writeFileSync(join(dir, "broken.json"), files["broken.json"] as string);
});

test("every kind of panel, and each fault in its own panel", { skip: noStory }, async () => {
  const { url } = await trial();
  await scraped(url, "rate(node_cpu_seconds_total[20s])");
  // The browser itself logs each answer that is not 2xx.
  await visit(url, "dashboards/kinds", { expected: /status of 400|ERR_NETWORK_CHANGED/ }, async (page) => {
    await seeAll(page, 1440);
    for (const id of ["1", "2", "3", "4", "5", "6", "7", "16"]) await state(page, id, "data");
    assert.ok((await coloured(page, '[data-panel-id="1"]')) > 20, "the chart is drawn");
    assert.match(await textOf(page, "1"), /^Lines by mode of All.*Name Mean Last \* Max.*user/);
    assert.match(await textOf(page, "4"), /UP/);
    assert.match(await textOf(page, "5"), /%/);
    assert.match(await textOf(page, "7"), /Job.*Samples ↓.*Duration.*node-exporter/);
    assert.match(await textOf(page, "8"), /Text of free A list with code: one two.*<img src=x onerror=alert\(1\)>/);
    assert.equal(await page.locator('[data-panel-id="8"] img').count(), 0);
    assert.match(await textOf(page, "9"), /Panels of type heatmap are not shown here.*rate\(node_load1\[\d+s\]\)/);
    await state(page, "11", "error");
    assert.match(await textOf(page, "11"), /The query fails: .*expected type range vector/);
    assert.match(await textOf(page, "12"), /No series match; not in the store: no_such_metric_total\./);
    assert.match(await textOf(page, "13"), /none yet$/);
    assert.match(await textOf(page, "17"), /need a data source of type loki/);
    assert.ok((await page.locator('[data-panel-id^="14/"]').count()) >= 1, "repeated");
    assert.equal(await page.locator("#banner").isVisible(), false);
    await shot(page, "dashboard-kinds-light");
    // Sorted by a click, and back.
    await page.locator('[data-panel-id="7"]').getByRole("button", { name: "Job" }).click();
    await page.waitForSelector('[data-panel-id="7"] th[aria-sort="ascending"]');
    // A series alone.
    await page.locator('[data-panel-id="2"]').getByRole("button", { name: "available" }).click();
    await page.waitForSelector('[data-panel-id="2"] [aria-pressed="true"]');
    // The description by keyboard.
    const about = page.getByLabel("About Lines by mode of $instance");
    await about.focus();
    await page.keyboard.press("Enter");
    await page.getByText("With markdown.").waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("With markdown.").waitFor({ state: "hidden" });
    // To Explore, with the query as it was asked.
    const href = (await page.locator('[data-panel-id="1"] a.d-icon').getAttribute("href")) ?? "";
    assert.match(new URLSearchParams(href.split("?")[1]).get("expr") ?? "", /^sum by \(mode\) \(rate\(node_cpu_seconds_total\{instance=~".+"\}\[\d+s\]\)\)$/);
  });
});

test("variables, time range and refresh stand in the address", { skip: noStory }, async () => {
  const { url } = await trial();
  await scraped(url, "node_network_receive_bytes_total");
  await visit(url, "dashboards/kinds?var-note=other&from=now-15m&to=now&refresh=", { expected: /status of 400|ERR_NETWORK_CHANGED/ }, async (page) => {
    await page.waitForSelector(".dashboard[data-loaded]");
    assert.equal(await page.getByLabel("note").inputValue(), "other");
    assert.equal(await page.getByLabel("Time range").inputValue(), "now-15m");
    assert.equal(await page.getByLabel("Refresh", { exact: true }).inputValue(), "");
    await page.getByLabel("job", { exact: true }).selectOption("node-exporter");
    await page.waitForURL(/var-job=node-exporter/);
    await page.getByText("More of node-exporter").waitFor();
    await page.locator('[data-variable="device"] summary').click();
    const boxes = page.locator('[data-variable="device"] .d-boxes label');
    await boxes.nth(1).waitFor(); // the list is filled after it has opened
    for (const box of await boxes.all()) if (!(await box.locator("input").isChecked())) await box.click();
    assert.equal(await page.locator('[data-variable="device"] details[open]').count(), 1, "it stays open while boxes are ticked");
    await page.keyboard.press("Escape");
    await page.waitForURL(/var-device=.*var-device=/);
    await page.waitForFunction(() => document.querySelectorAll('[data-panel-id^="14/"]').length >= 2);
    // Panels ask for the hour; what was under way for the quarter may still be seen.
    const hour = page.waitForRequest((r) => {
      const asked = new URLSearchParams(r.url().endsWith("/query_range") ? (r.postData() ?? "") : "");
      return Number(asked.get("end")) - Number(asked.get("start")) === 3600;
    });
    await page.getByLabel("Time range").selectOption("now-1h");
    await hour;
    await page.waitForURL(/from=now-1h/);
    await page.goBack();
    await page.waitForSelector(".dashboard[data-loaded]");
    assert.equal(await page.getByLabel("Time range").inputValue(), "now-15m");
  });
});

test("fifty thousand series in a panel are bounded, and the page stays alive", { skip: noStory }, async () => {
  const { url } = await trial();
  await scraped(url, "count(wide) == 50000");
  // A store that is seconds old may have no point yet at the steps of the range: the next look has.
  await visit(url, "dashboards/wide?refresh=5s", { expected: network }, async (page) => {
    await state(page, "1", "data");
    await state(page, "2", "data");
    assert.match(await textOf(page, "1"), /Showing 200 of 50,000 series/);
    assert.match(await textOf(page, "2"), /Showing 300 of 2,000 rows.*Showing 2,000 of 50,000 series/);
    assert.equal(await page.locator('[data-panel-id="1"] .d-legend li').count(), 200);
    assert.equal(await page.locator('[data-panel-id="2"] tbody tr').count(), 300);
    await page.getByRole("button", { name: "i", exact: true }).click();
    await page.waitForSelector('[data-panel-id="2"] th[aria-sort]');
    await shot(page, "dashboard-wide-light");
  });
});

test("a server that goes away while a dashboard is looked at", { skip: noStory }, async () => {
  const { url } = await trial();
  await visit(url, "dashboards/kinds?refresh=1s", { expected: /ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED|Failed to load/ }, async (page, context) => {
    await state(page, "1", "data");
    await context.setOffline(true);
    await page.locator("#banner").waitFor({ state: "visible" });
    assert.equal(await page.locator('[data-panel-id="1"][data-state="data"]').count(), 1, "what was shown stays");
    await shot(page, "dashboard-gone-light");
    await context.setOffline(false);
    await page.locator("#banner").waitFor({ state: "hidden" });
    await page.waitForResponse((r) => r.url().endsWith("/query_range") && r.ok());
  });
});
