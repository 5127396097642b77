// What holds for every page: nothing empty, nobody kept out, a phone's width, a
// server that goes and comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { poorContrast } from "./contrast.ts";
import { barriers, emptyPanels, fits, main, noStory, pages, panelValues, settle, shot, told, visit } from "./world.ts";

/** The pages that show more of a server with a story. */
const storied = pages.filter((p) => ["overview", "alerts", "autoscaling", "targets"].includes(p.name));

const servers = [
  { suffix: "", url: main, skip: false, shown: pages },
  { suffix: "-story", url: told, skip: noStory, shown: storied },
] as const;

for (const { suffix, url, skip, shown } of servers) {
  for (const p of shown) {
    test(`${p.name}${suffix}: no panel is empty, and nobody is kept out`, { skip }, async () => {
      for (const scheme of ["light", "dark"] as const) {
        for (const width of [1440, 360]) {
          const at = `${p.name}${suffix}-${width === 360 ? "phone" : "desktop"}-${scheme}`;
          await visit(await url(), p.path, { scheme, width, height: width === 360 ? 740 : 900, bypassCSP: true }, async (page) => {
            await page.waitForSelector(p.ready);
            await settle(page);
            await shot(page, at);
            assert.deepEqual(await emptyPanels(page), [], at);
            assert.ok(await fits(page), `${at} is wider than its window`);
            assert.deepEqual(await page.evaluate(poorContrast), [], at);
            assert.deepEqual(await barriers(page), [], at);
          });
        }
      }
    });
  }
}

test("a server that is gone gives one banner on every page, and is found again", async () => {
  for (const p of pages) {
    await visit(await main(), p.path, { expected: /ERR_INTERNET_DISCONNECTED|Failed to load/ }, async (page, context) => {
      await page.waitForSelector(p.ready);
      const before = await page.locator("main").innerText();
      await context.setOffline(true);
      await page.locator("#banner").waitFor({ state: "visible" });
      assert.match((await page.locator("#banner").textContent()) ?? "", /does not answer .* trying again/);
      assert.equal(await page.locator('[role="alert"]:visible').count(), 1);
      assert.ok((await page.locator("main").innerText()).length > before.length / 2, `${p.name} keeps what it showed`);
      await context.setOffline(false);
      await page.locator("#banner").waitFor({ state: "hidden" });
      await page.waitForSelector(p.ready);
    });
  }
});

test("a view that is opened while the server is gone fills when it is back", async () => {
  await visit(await main(), "", { expected: /ERR_INTERNET_DISCONNECTED|Failed to load/ }, async (page, context) => {
    await panelValues(page, "load");
    await context.setOffline(true);
    await page.locator("#banner").waitFor({ state: "visible" });
    await shot(page, "server-gone");
    for (const [name, ready] of [["Status", ".status[data-loaded]"], ["Targets", "tr[data-target]"], ["Alerts", ".rules[data-loaded]"], ["Autoscaling", ".autoscaling[data-loaded]"]] as const) {
      await context.setOffline(true);
      await page.getByRole("link", { name, exact: true }).click();
      await page.locator("#banner").waitFor({ state: "visible" });
      await context.setOffline(false);
      await page.waitForSelector(ready);
      await page.locator("#banner").waitFor({ state: "hidden" });
    }
  });
});

test("all is reached by keyboard, and focus is seen", async () => {
  await visit(await main(), "explore?expr=up", {}, async (page) => {
    await page.waitForSelector(".result tbody tr");
    await page.waitForSelector(".editor .cm-content");
    const focused = () =>
      page.evaluate(() => {
        const el = document.activeElement as HTMLElement;
        const inner = el.shadowRoot?.querySelector<HTMLElement>(".cm-editor") ?? el;
        const style = getComputedStyle(el.matches(".choice input") ? (el.nextElementSibling as Element) : inner);
        const name = el.shadowRoot ? "editor" : el.getAttribute("aria-label") || el.id || (el.textContent ?? "").trim() || (el as HTMLInputElement).value;
        return { name, outline: style.outlineStyle !== "none" };
      });
    await page.keyboard.press("Tab");
    assert.deepEqual(await focused(), { name: "Skip to content", outline: true });
    await page.keyboard.press("Enter");
    assert.equal((await focused()).name, "main");
    assert.match(page.url(), /\/explore\?expr=up$/, "the skip link stays on the page");
    const reached = new Set<string>();
    for (let i = 0; i < 16 && !reached.has("editor"); i++) {
      await page.keyboard.press("Tab");
      let f = await focused();
      if (f.name === "editor") {
        // CodeMirror marks its focus a moment after it has it.
        await page.waitForSelector(".editor .cm-editor.cm-focused");
        f = await focused();
      }
      assert.ok(f.outline, `focus of ${f.name} is seen`);
      reached.add(f.name);
    }
    for (const name of ["1h", "Earlier by half the range", "End of the time range", "Refresh", "editor"]) assert.ok(reached.has(name), `${name} of ${[...reached].join()}`);
    // Backwards to the ranges, whose arrows choose; and on into the navigation.
    for (let i = 0; i < 16 && (await focused()).name !== "1h"; i++) await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("ArrowRight");
    await page.waitForURL(/range=6h/);
    for (const name of ["Status", "Targets"]) {
      for (let i = 0; i < 3 && (await focused()).name !== name; i++) await page.keyboard.press("Shift+Tab");
      assert.equal((await focused()).name, name);
    }
    await page.keyboard.press("Enter");
    await page.waitForSelector(".targets");
    assert.equal(await page.title(), "Targets · Strata");
    assert.equal(await page.locator('nav [aria-current="page"]').textContent(), "Targets");
  });
});

test("the first view is quick", async (t) => {
  await visit(await main(), "", {}, async (page) => {
    const timing = () =>
      page.evaluate(() => {
        const [nav] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
        const paint = performance.getEntriesByName("first-contentful-paint")[0];
        return [`DOM ready ${nav?.domContentLoadedEventEnd.toFixed(0)} ms`, `first paint ${paint?.startTime.toFixed(0)} ms`, `now ${performance.now().toFixed(0)} ms`].join(", ");
      });
    await page.waitForSelector("h1");
    t.diagnostic(`headings: ${await timing()}`);
    await page.waitForSelector(".u-over");
    t.diagnostic(`first chart: ${await timing()}`);
    const scripts = await page.evaluate(() => performance.getEntriesByType("resource").filter((r) => r.name.endsWith(".js")).length);
    assert.equal(scripts, 1, "the first view loads one script");
  });
});
