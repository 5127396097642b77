// The overview of a running server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { coloured, main, noStory, panelValues, shot, told, visit } from "./world.ts";

// STRATA_LAYERS names the layers that the server is known to have data of.
const known = (process.env["STRATA_LAYERS"] ?? "node container app").split(" ");

test("the overview shows this host, live", async () => {
  await visit(await main(), "", {}, async (page) => {
    for (const id of ["cpu", "memory", "load", "filesystem"]) {
      assert.ok((await panelValues(page, id)).every((v) => v !== "NaN"), id);
    }
    assert.ok((await coloured(page, '[data-panel="cpu"]')) > 20, "the CPU chart is drawn");
    const memory = await page.locator('[data-panel="memory"] .headline').textContent();
    assert.match(memory ?? "", /^[\d.]+ [KMGT]iB of [\d.]+ [KMGT]iB$/);
    await page.locator('[data-layer="node"] .facts', { hasText: /\d+ CPUs?/ }).waitFor();
    // Live: the charts go on by themselves, asking for no more than what is new.
    const next = await page.waitForRequest((r) => r.url().endsWith("/api/v1/query_range"));
    const asked = new URLSearchParams(next.postData() ?? "");
    assert.ok(Number(asked.get("end")) - Number(asked.get("start")) <= 120, next.postData() ?? "");
    assert.ok((await next.response())?.ok());
  });
});

test("a layer shows charts, or says why not", async () => {
  await visit(await main(), "", {}, async (page) => {
    await page.waitForSelector(".overview[data-loaded]");
    for (const id of known) await page.waitForSelector(`[data-layer="${id}"] .u-over`);
    for (const id of ["node", "container", "app", "kube"]) {
      const charts = await page.locator(`[data-layer="${id}"] .u-over`).count();
      const reason = (await page.locator(`[data-layer="${id}"] > .reason`).textContent()) ?? "";
      assert.ok(charts > 0 || /target/i.test(reason), `${id}: ${charts} charts, reason "${reason}"`);
    }
  });
});

test("the pointer shows the values of its time on all charts", async () => {
  await visit(await main(), "", {}, async (page) => {
    await panelValues(page, "load");
    await panelValues(page, "memory");
    const box = await page.locator('[data-panel="load"] .u-over').boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width - 3, box.y + box.height / 2);
    for (const id of ["load", "memory"]) {
      await page.waitForFunction(
        (panel) => /^\d\d:\d\d:\d\d$/.test(document.querySelector(`[data-panel="${panel}"] .headline`)?.textContent ?? ""),
        id,
      );
    }
  });
});

test("what is wrong stands first, the worst before the rest, and leads to more", { skip: noStory }, async () => {
  await visit(await told(), "", {}, async (page) => {
    await page.locator(".problems li", { hasText: "Alert AutoscalerAtItsLimit fires (critical)" }).waitFor();
    await page.locator(".problems li", { hasText: "Job gone: 1 of 1 target down" }).waitFor();
    assert.match((await page.locator(".problems li").first().textContent()) ?? "", /^Alert AutoscalerAtItsLimit/);
    await shot(page, "overview-problems");
    await page.getByRole("link", { name: /AutoscalerAtItsLimit/ }).click();
    await page.waitForSelector('.rule[data-state="firing"]');
    assert.equal(await page.locator(".rule").count(), 1);
    assert.equal(await page.getByLabel("Search rules and alerts").inputValue(), "AutoscalerAtItsLimit");
  });
});
