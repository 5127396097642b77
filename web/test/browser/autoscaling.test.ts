// Autoscalers in every state, and none.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { coloured, main, noStory, shot, told, visit } from "./world.ts";

const one = (name: string): string => `[data-autoscaler="${name}"]`;
const names = (page: Page): Promise<(string | null)[]> => page.locator(".autoscaler").evaluateAll((all) => all.map((a) => a.getAttribute("data-autoscaler")));

test("each autoscaler shows target, value and replicas, what is unhealthy first", { skip: noStory }, async () => {
  await visit(await told(), "autoscaling", {}, async (page) => {
    await page.waitForSelector(".autoscaling[data-loaded]");
    assert.deepEqual(await names(page), ["batch/worker", "shop/checkout", "shop/cart", "batch/night"]);
    assert.equal(await page.locator(".summary").textContent(), "4 autoscalers, 1 unhealthy, 1 to look at.");

    const words = async (name: string): Promise<string> => (await page.locator(one(name)).innerText()).replace(/\s+/g, " ");
    assert.match(await words("batch/worker"), /cannot get metrics .*reads no value of queue_messages_ready.* no value for 100/);
    assert.match(await words("shop/checkout"), /at its maximum .*memory of checkout 410 MiB for 256 MiB a pod .*5 of 1 to 5/);
    assert.match(await words("shop/cart"), /scales Deployment\/cart .*cpu [\d.]+ % for 70 %.*http_requests_per_second [\d.]+ for 10 a pod.*of 2 to 12/);
    assert.match(await words("shop/cart"), /AbleToScale true · ScalingActive true · ScalingLimited false/);
    assert.match(await words("batch/night"), /off .*scaled to 0/);

    await page.locator(one("shop/cart")).scrollIntoViewIfNeeded();
    await page.waitForSelector(`${one("shop/cart")} .panel:nth-child(3) .u-over`);
    for (const n of [1, 2, 3]) assert.ok((await coloured(page, `${one("shop/cart")} .panel:nth-child(${n})`)) > 5, `chart ${n} is drawn`);
    assert.deepEqual(await page.locator(`${one("shop/cart")} .panel:nth-child(3) .label`).allTextContents(), ["current", "desired", "min", "max"]);
    await shot(page, "autoscaling-story");
  });
});

test("why it is so stands over the charts, and what happened is marked in them", { skip: noStory }, async () => {
  await visit(await told(), "status", {}, async (page) => {
    let asked = "";
    const now = Date.now();
    const events = [8, 4, 2].map((minutes, i) => ({ time: new Date(now - minutes * 60_000).toISOString(), type: "Normal", reason: "SuccessfulRescale", message: `New size: ${i + 2}`, count: i + 1 }));
    await page.route("**/api/strata/v1/hpas/**", async (route) => {
      asked = new URL(route.request().url()).pathname;
      const data = { why: ["cpu is 90 % of the requests.", "It is held at maxReplicas, 12."], notes: ["no rights"], events };
      await route.fulfill({ contentType: "application/json", body: JSON.stringify({ status: "success", data }) });
    });
    await page.goto(page.url().replace(/status.*/, "autoscaling?search=cart"));
    await page.waitForSelector(`${one("shop/cart")} .events li:nth-child(3)`);
    assert.equal(asked, "/api/strata/v1/hpas/shop/cart");
    assert.deepEqual(await page.locator(`${one("shop/cart")} .why li`).allTextContents(), ["cpu is 90 % of the requests.", "It is held at maxReplicas, 12.", "Note: no rights"]);
    assert.match((await page.locator(`${one("shop/cart")} .events li`).last().textContent()) ?? "", /^[\d:]+ SuccessfulRescale: New size: 4 \(3 times\)$/);
    await shot(page, "autoscaling-why");
  });
});

test("a server without a cluster, or that may not look, takes nothing else away", { skip: noStory }, async () => {
  await visit(await told(), "autoscaling?search=cart", {}, async (page) => {
    await page.waitForSelector(`${one("shop/cart")} .panel:nth-child(3) .u-over`);
    assert.equal(await page.locator(`${one("shop/cart")} .why`).isVisible(), false);
    await page.route("**/api/strata/v1/hpas/**", (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify({ status: "error", errorType: "forbidden", error: "no rights" }) }));
    await page.getByLabel("Search").fill("checkout");
    await page.waitForSelector(`${one("shop/checkout")} .why li`);
    assert.equal(await page.locator(`${one("shop/checkout")} .why`).textContent(), "Why it is so cannot be told: no rights");
  });
});

test("the charts of one autoscaler show one time under the pointer", { skip: noStory }, async () => {
  await visit(await told(), "autoscaling?search=cart", {}, async (page) => {
    await page.waitForSelector(`${one("shop/cart")} .panel:nth-child(3) .u-over`);
    const box = await page.locator(`${one("shop/cart")} .panel:nth-child(1) .u-over`).boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.waitForFunction(() =>
      [...document.querySelectorAll<HTMLElement>(".autoscaler .u-cursor-x")].filter((c) => !c.classList.contains("u-off") && c.style.transform.includes("translate(")).length === 3,
    );
  });
});

test("namespace and text narrow the list, and a link explores", { skip: noStory }, async () => {
  await visit(await told(), "autoscaling", {}, async (page) => {
    await page.waitForSelector(".autoscaling[data-loaded]");
    await page.getByLabel("Namespace").selectOption("shop");
    await page.waitForFunction(() => document.querySelectorAll(".autoscaler").length === 2);
    assert.match(page.url(), /namespace=shop/);
    await page.reload();
    await page.waitForSelector(".autoscaling[data-loaded]");
    assert.deepEqual(await names(page), ["shop/checkout", "shop/cart"]);
    await page.getByRole("link", { name: "Explore shop/cart" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".graph .u-over").length === 2);
  });
});

test("autoscalers are shown, or why there are none", async () => {
  await visit(await main(), "autoscaling", {}, async (page) => {
    await page.waitForSelector(".autoscaling[data-loaded]");
    assert.equal(await page.getByLabel("Namespace").locator("option").first().textContent(), "All");
    const shown = await page.locator(".autoscaler").count();
    const why = await page.locator(".empty").innerText();
    assert.ok(shown > 0 || /kubectl autoscale|strata-kubestate|target/i.test(why), `${shown} autoscalers: ${why}`);
  });
});

test("a thousand autoscalers are shown in portions, and only those in sight are asked for", { skip: noStory }, async () => {
  await visit(await told(), "status", {}, async (page) => {
    const histories: string[] = [];
    await page.route("**/api/v1/query", async (route) => {
      const expr = new URLSearchParams(route.request().postData() ?? "").get("query") ?? "";
      if (!expr.includes("info|spec_min_replicas")) return route.continue();
      const result = Array.from({ length: 1000 }, (_, i) => ({
        metric: { __name__: "kube_horizontalpodautoscaler_status_current_replicas", namespace: `ns-${i % 10}`, horizontalpodautoscaler: `hpa-${i}` },
        value: [1, "2"],
      }));
      await route.fulfill({ contentType: "application/json", body: JSON.stringify({ status: "success", data: { resultType: "vector", result } }) });
    });
    page.on("request", (r) => void (r.url().endsWith("query_range") && histories.push(r.postData() ?? "")));
    await page.getByRole("link", { name: "Autoscaling", exact: true }).click();
    await page.waitForSelector(".autoscaling[data-loaded]");
    assert.equal(await page.locator(".autoscaler").count(), 25);
    assert.ok(new Set(histories.map((h) => new URLSearchParams(h).get("query"))).size < 20, `${histories.length} histories`);
    await page.getByRole("button", { name: "Show more of the other 9" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".autoscaler").length > 100);
  });
});
