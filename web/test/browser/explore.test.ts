// Explore: the editor, tables and graphs, and what the address keeps.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Locator, Page } from "playwright-core";
import { coloured, main, noStory, shot, told, visit } from "./world.ts";

/** The full editor of a panel, once it has been loaded; it has no value but its text. */
async function editor(page: Page, label = "PromQL query"): Promise<Locator> {
  await page.waitForSelector(".editor .cm-content");
  return page.getByLabel(label, { exact: true });
}

/**
 * Writes as a person does. Playwright's fill uses execCommand, at whose
 * replacement of a selection Chromium writes a style that our policy refuses.
 */
async function write(box: Locator, text: string): Promise<void> {
  await box.press("Control+a");
  await box.page().keyboard.insertText(text);
}

test("a query gives a table and a graph, and its address gives them again", async () => {
  await visit(await main(), "explore", {}, async (page) => {
    const box = await editor(page);
    await write(box, "sum by (job) (up)");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".result tbody tr");
    await page.waitForSelector(".graph .u-over");
    assert.match((await page.locator(".result .series").first().textContent()) ?? "", /job="/);
    await page.getByText("15 min", { exact: true }).click();
    await page.waitForURL(/range=15m/);
    const link = page.url();
    assert.equal(new URL(link).searchParams.get("expr"), "sum by (job) (up)");
    await page.goto(link);
    await page.waitForSelector(".graph .u-over");
    assert.equal(await (await editor(page)).textContent(), "sum by (job) (up)");
    assert.ok(await page.getByLabel("15 min").isChecked());
    await page.waitForFunction(() => /\d/.test(document.querySelector(".graph .legend .value")?.textContent ?? ""));
    assert.ok((await coloured(page, ".graph")) > 5, "the graph is drawn");
    await page.goBack();
    await page.waitForSelector(".result tbody tr");
  });
});

test("links of Prometheus and Alertmanager to a query work", async () => {
  for (const path of ["graph?g0.expr=vector(42)&g0.tab=1", "query?expr=vector(42)"]) {
    await visit(await main(), path, {}, async (page) => {
      await page.waitForFunction(() => document.querySelector(".result td.num")?.textContent === "42");
    });
  }
});

test("an erroneous query shows the server's words in place, and the editor its own before", async () => {
  // The browser itself logs each answer that is not 2xx.
  await visit(await main(), "explore", { expected: /status of 4\d\d/, scheme: "dark" }, async (page) => {
    const box = await editor(page);
    await write(box, "rate(up)");
    await page.locator(".lint", { hasText: /^At character 6: expected type matrix/ }).waitFor();
    await write(box, "sum(up");
    await page.waitForFunction(() => document.querySelector(".lint")?.textContent === "");
    await page.getByRole("button", { name: "Run" }).click();
    await page.waitForSelector(".result > .error");
    assert.match((await page.locator(".result > .error").textContent()) ?? "", /parse error: unclosed left parenthesis/);
    assert.equal(await page.locator("#banner").isVisible(), false);
    await shot(page, "explore-error-dark");
    // A range vector has a table but no graph; each says its part.
    await write(box, "up[1m]");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".result tbody tr");
    await page.waitForSelector(".graph > .error");
  });
});

test("names, labels and values are completed from the server, by keyboard", async () => {
  await visit(await main(), "explore", {}, async (page) => {
    const box = await editor(page);
    await box.click();
    // A list that waits for its successor is disabled: its keys do nothing.
    const options = page.locator(".cm-tooltip-autocomplete:not(.cm-tooltip-autocomplete-disabled) li");
    /** Types until the completion offers the text; the first letters of it wait for the server's list. */
    const offered = async (typed: string, want: RegExp): Promise<void> => {
      await box.fill("");
      await page.keyboard.type(typed);
      await page.keyboard.press("Control+Space");
      await options.filter({ hasText: want }).first().waitFor();
    };
    await offered("rate(process_cpu_sec", /^process_cpu_seconds_total/);
    // At once: the list takes keys from its first moment on.
    await page.keyboard.press("ArrowDown");
    await shot(page, "explore-completion");
    await page.keyboard.press("Enter");
    assert.match((await box.textContent()) ?? "", /^rate\(process_cpu_seconds_total/);
    await offered("up{j", /^job$/);
    await offered('up{job="', /^\S+$/);
    await page.keyboard.press("Escape");
    await options.first().waitFor({ state: "hidden" });
    // Tab leaves the editor: nobody is held in it.
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Run");
  });
});

test("several queries, an end and a refresh stand in the address", async () => {
  await visit(await main(), "explore?expr=vector(1)", {}, async (page) => {
    await page.waitForSelector(".result tbody tr");
    await page.getByRole("button", { name: "Add a query" }).click();
    await page.waitForSelector(".querypanel:nth-child(2) .cm-content");
    await write(await editor(page, "PromQL query 2"), "vector(2)");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => [...document.querySelectorAll(".result td.num")].map((td) => td.textContent).join() === "1,2");
    assert.deepEqual(new URL(page.url()).searchParams.getAll("expr"), ["vector(1)", "vector(2)"]);
    await page.getByLabel("Refresh").selectOption("5");
    await page.waitForURL(/refresh=5s/);
    await page.waitForRequest((r) => r.url().endsWith("/api/v1/query"));
    await page.getByRole("button", { name: "Earlier by half the range" }).click();
    await page.waitForURL(/end=20\d\d-/);
    assert.ok(await page.getByLabel("Refresh").isDisabled(), "the past does not change");
    await page.getByRole("button", { name: "Now" }).click();
    await page.waitForURL((u) => !u.searchParams.has("end"));
    await page.getByRole("button", { name: "Remove query 1" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".querypanel").length === 1);
    assert.deepEqual(new URL(page.url()).searchParams.getAll("expr"), ["vector(2)"]);
    await shot(page, "explore-two");
  });
});

test("drawing over a graph looks closer", async () => {
  await visit(await main(), "explore?expr=vector(1)", {}, async (page) => {
    await page.waitForSelector(".graph .u-over");
    const box = await page.locator(".graph .u-over").boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.75, box.y + 60, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL(/range=\d+s.*end=/);
    const seconds = Number(/range=(\d+)s/.exec(page.url())?.[1]);
    assert.ok(seconds > 1500 && seconds < 2100, `half of an hour is ${seconds} s`);
  });
});

test("without the editor's script a query is written as plain text", async () => {
  await visit(await main(), "status", { expected: /Failed to load|ERR_FAILED/ }, async (page) => {
    await page.route("**/assets/codemirror-*.js", (route) => route.abort());
    await page.getByRole("link", { name: "Explore", exact: true }).click();
    const box = page.locator("textarea");
    await write(box, "vector(7)");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".result td.num")?.textContent === "7");
    assert.equal(await page.locator(".cm-editor").count(), 0);
  });
});

test("50,000 series are cut, with a line that says what is left out", { skip: noStory }, async (t) => {
  const path = `explore?${new URLSearchParams({ expr: "many_series", range: "5m" }).toString()}`;
  // A range vector has no graph and no count, and the browser logs both refusals.
  await visit(await told(), path, { expected: /status of 400/ }, async (page) => {
    await page.locator(".result .note", { hasText: "The first 500 of 50,000 series are shown; 49,500 are left out." }).waitFor();
    assert.equal(await page.locator(".result tbody tr").count(), 500);
    await page.locator(".graph .note", { hasText: "The first 50 of 50,000 series are drawn; 49,950 are left out." }).waitFor();
    assert.equal(await page.locator(".graph .legend li").count(), 50);
    const longest = await page.evaluate(
      () =>
        new Promise<number>((done) => {
          let most = 0;
          new PerformanceObserver((list) => (most = Math.max(most, ...list.getEntries().map((e) => e.duration)))).observe({ type: "longtask", buffered: true });
          requestAnimationFrame(() => requestAnimationFrame(() => done(most)));
        }),
    );
    t.diagnostic(`longest task of the tab with 50,000 series: ${longest} ms`);
    // Nobody counts a range vector: the line does without the number. It is asked
    // once, so its range is wide enough for a scrape that is late.
    await write(await editor(page), "many_series[2m]");
    await page.keyboard.press("Enter");
    await page.locator(".result .note", { hasText: "The first 500 series are shown; there are more." }).waitFor();
  });
});
