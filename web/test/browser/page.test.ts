// The page of a running server, in Chromium.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { poorContrast } from "./contrast.ts";
import { server, type Server } from "./server.ts";

const screenshots = "test-output/screenshots";
/** A busy machine is slow; a test that waits for a condition waits this long. */
const patienceMs = 45_000;

let strata: Server;
let browser: Browser;

before(async () => {
  mkdirSync(screenshots, { recursive: true });
  strata = await server();
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

after(async () => {
  await browser?.close();
  await strata?.stop();
});

interface Options {
  width?: number;
  height?: number;
  scheme?: "light" | "dark";
  /** Console errors that the test brings about itself. */
  expected?: RegExp;
}

/** Opens a path in a fresh browser, runs the steps, and then wants a clean console and no request elsewhere. */
async function visit(path: string, o: Options, steps: (page: Page, context: BrowserContext) => Promise<void>): Promise<void> {
  const context = await browser.newContext({
    viewport: { width: o.width ?? 1440, height: o.height ?? 900 },
    colorScheme: o.scheme ?? "light",
  });
  context.setDefaultTimeout(patienceMs);
  const page = await context.newPage();
  const errors: string[] = [];
  const elsewhere: string[] = [];
  const origin = new URL(strata.url).origin;
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !o.expected?.test(m.text())) errors.push(m.text());
  });
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("request", (r) => {
    const url = new URL(r.url());
    if (url.origin !== origin && url.protocol !== "data:") elsewhere.push(r.url());
  });
  try {
    await page.goto(strata.url + path);
    await steps(page, context);
    assert.deepEqual(errors, [], "console errors");
    assert.deepEqual(elsewhere, [], "requests outside the origin");
  } finally {
    await context.close();
  }
}

const shot = (page: Page, name: string) => page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });

/** Waits until a panel of the overview names values. */
async function panelValues(page: Page, id: string): Promise<string[]> {
  await page.waitForFunction(
    (panel) => [...document.querySelectorAll(`[data-panel="${panel}"] .legend .value`)].some((v) => /\d/.test(v.textContent ?? "")),
    id,
  );
  return page.locator(`[data-panel="${id}"] .legend .value`).allTextContents();
}

/** Pixels of a chart that have a colour, which grid and axes have not. */
function coloured(page: Page, selector: string): Promise<number> {
  return page.locator(`${selector} canvas`).evaluate((canvas: HTMLCanvasElement) => {
    const { data } = (canvas.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) {
      const rgb = [data[i] ?? 0, data[i + 1] ?? 0, data[i + 2] ?? 0];
      if ((data[i + 3] ?? 0) > 100 && Math.max(...rgb) - Math.min(...rgb) > 60) n++;
    }
    return n;
  });
}

const fits = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);

test("the overview shows this host, live", async () => {
  await visit("", {}, async (page) => {
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
    await shot(page, "overview-light");
  });
});

// STRATA_LAYERS names the layers that the server is known to have data of.
const known = (process.env["STRATA_LAYERS"] ?? "node container app").split(" ");

test("a layer shows charts, or says why not", async () => {
  await visit("", {}, async (page) => {
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
  await visit("", {}, async (page) => {
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

test("targets with health, duration and labels", async () => {
  await visit("targets", {}, async (page) => {
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
    await shot(page, "targets-light");
  });
});

test("a query gives a table and a graph, and its address gives them again", async () => {
  await visit("query", {}, async (page) => {
    await page.getByLabel("PromQL query").fill("sum by (job) (up)");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".result tbody tr");
    await page.waitForSelector(".graph .u-over");
    assert.match(await page.locator(".result .series").first().textContent() ?? "", /job="/);
    await page.getByText("1 h", { exact: true }).click();
    await page.waitForURL(/range=1h/);
    const link = page.url();
    assert.equal(new URL(link).searchParams.get("expr"), "sum by (job) (up)");
    await page.goto(link);
    await page.waitForSelector(".graph .u-over");
    assert.equal(await page.getByLabel("PromQL query").inputValue(), "sum by (job) (up)");
    assert.ok(await page.getByLabel("1 h").isChecked());
    await page.waitForFunction(() => /\d/.test(document.querySelector(".graph .legend .value")?.textContent ?? ""));
    assert.ok((await coloured(page, ".graph")) > 5, "the graph is drawn");
    await shot(page, "query-light");
    await page.goBack();
    await page.waitForSelector(".result tbody tr");
  });
});

test("links of Prometheus and Alertmanager to a query work", async () => {
  await visit("graph?g0.expr=vector(42)&g0.tab=1", {}, async (page) => {
    await page.waitForFunction(() => document.querySelector(".result td.num")?.textContent === "42");
  });
});

test("an erroneous query shows the server's words in place", async () => {
  // The browser itself logs each answer that is not 2xx.
  await visit("query", { expected: /status of 4\d\d/, scheme: "dark" }, async (page) => {
    await page.getByLabel("PromQL query").fill("sum(up");
    await page.getByRole("button", { name: "Run" }).click();
    await page.waitForSelector(".result > .error");
    assert.match((await page.locator(".result > .error").textContent()) ?? "", /parse error: unclosed left parenthesis/);
    assert.equal(await page.locator("#banner").isVisible(), false);
    await shot(page, "query-error-dark");
    // A range vector has a table but no graph; each says its part.
    await page.getByLabel("PromQL query").fill("up[1m]");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".result tbody tr");
    await page.waitForSelector(".graph > .error");
  });
});

test("a large result is cut, and says so", async () => {
  await visit(`query?expr=${encodeURIComponent('{__name__=~".+"}')}`, {}, async (page) => {
    await page.waitForSelector(".result tbody tr");
    assert.equal(await page.locator(".result tbody tr").count(), 500);
    assert.match((await page.locator(".result .note").first().textContent()) ?? "", /first 500 series/);
    assert.match((await page.locator(".graph .note").first().textContent()) ?? "", /first 50 series/);
  });
});

test("metric names are suggested and taken by keyboard", async () => {
  await visit("query", {}, async (page) => {
    const box = page.getByLabel("PromQL query");
    const names = page.waitForResponse((r) => r.url().includes("/label/__name__/values"));
    await box.focus();
    await (await names).finished();
    await page.waitForFunction(async () => {
      const list = document.querySelector("#suggestions") as HTMLElement;
      const text = document.querySelector("#expr") as HTMLTextAreaElement;
      text.value = "rate(node_load";
      text.setSelectionRange(14, 14);
      text.dispatchEvent(new Event("input"));
      return !list.hidden;
    });
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    assert.match(await box.inputValue(), /^rate\(node_load\d+$/);
  });
});

test("a server that is gone gives one banner, keeps the data, and is found again", async () => {
  await visit("", { expected: /ERR_INTERNET_DISCONNECTED|Failed to load/ }, async (page, context) => {
    await panelValues(page, "load");
    await context.setOffline(true);
    await page.locator("#banner").waitFor({ state: "visible" });
    assert.match((await page.locator("#banner").textContent()) ?? "", /does not answer .* trying again/);
    assert.equal(await page.locator('[role="alert"]:visible').count(), 1);
    assert.match((await page.locator('[data-panel="load"] .legend .value').first().textContent()) ?? "", /\d/);
    await shot(page, "server-gone-light");
    await context.setOffline(false);
    await page.locator("#banner").waitFor({ state: "hidden" });
    await page.waitForResponse((r) => r.url().endsWith("/api/v1/query_range") && r.ok());
  });
});

test("all is reached by keyboard, and focus is seen", async () => {
  await visit("query?expr=up", {}, async (page) => {
    await page.waitForSelector(".result tbody tr");
    const focused = () =>
      page.evaluate(() => {
        const el = document.activeElement as HTMLElement;
        const style = getComputedStyle(el.matches(".choice input") ? (el.nextElementSibling as Element) : el);
        return { name: el.id || (el.textContent ?? "").trim() || (el as HTMLInputElement).value, outline: style.outlineStyle !== "none" };
      });
    await page.keyboard.press("Tab");
    assert.deepEqual(await focused(), { name: "Skip to content", outline: true });
    await page.keyboard.press("Enter");
    assert.equal((await focused()).name, "main");
    assert.match(page.url(), /\/query\?expr=up$/, "the skip link stays on the page");
    const reached: string[] = [];
    for (let i = 0; i < 3; i++) {
      await page.keyboard.press("Tab");
      const f = await focused();
      assert.ok(f.outline, `focus of ${f.name} is seen`);
      reached.push(f.name);
    }
    assert.deepEqual(reached, ["15m", "expr", "Run"]);
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("ArrowRight");
    await page.waitForURL(/range=1h/);
    // Backwards into the navigation, and on to another page.
    for (const name of ["main", "Query", "Targets"]) {
      if (name === "main") continue;
      await page.keyboard.press("Shift+Tab");
      assert.equal((await focused()).name, name);
    }
    await page.keyboard.press("Enter");
    await page.waitForSelector(".targets");
    assert.equal(await page.title(), "Targets · Strata");
  });
});

for (const scheme of ["light", "dark"] as const) {
  test(`text has contrast and fits a phone, ${scheme}`, async () => {
    for (const [path, ready] of [
      ["", ".overview[data-loaded]"],
      ["targets", "tr[data-target]"],
      ["query?expr=up", ".result tbody tr"],
      ["query", ".hint"],
    ] as const) {
      await visit(path, { scheme, width: 390, height: 844 }, async (page) => {
        await page.waitForSelector(ready);
        assert.deepEqual(await page.evaluate(poorContrast), [], `${path} ${scheme}`);
        assert.ok(await fits(page), `${path} is wider than the phone`);
        await shot(page, `${path.replace(/\W.*/, "") || "overview"}-phone-${scheme}`);
      });
    }
  });
}
