// What the browser tests share: one browser, the servers, and ways to look.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after } from "node:test";
import axe from "axe-core";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { binary, server, type Server } from "./server.ts";
import { story } from "./story.ts";

/** A busy machine is slow; a test that waits for a condition waits this long. */
export const patienceMs = 60_000;
const screenshots = "test-output/screenshots";

/** Starts a thing when it is first asked for, and once. */
function once<T>(make: () => Promise<T>): { get: () => Promise<T>; made: () => Promise<T> | null } {
  let made: Promise<T> | null = null;
  return { get: () => (made ??= make()), made: () => made };
}

const browsers = once<Browser>(() =>
  chromium.launch({
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
  }),
);
const mains = once<Server>(server);
const stories = once<Server>(story);

/** The server under test: one that runs already, or `strata up`. */
export const main = async (): Promise<string> => (await mains.get()).url;
/** The `strata server` with rules, autoscalers and a wide metric. */
export const told = async (): Promise<string> => (await stories.get()).url;
/** Why tests of the story are left out, or false. */
export const noStory: string | false = binary() === null ? "no binary to start: set STRATA_BIN or make build" : false;

after(async () => {
  await (await browsers.made()?.catch(() => null))?.close();
  for (const s of [mains, stories]) await (await s.made()?.catch(() => null))?.stop();
});

export interface Look {
  width?: number;
  height?: number;
  scheme?: "light" | "dark";
  /** Console errors that the test brings about itself. */
  expected?: RegExp;
  /** Lets the test run code of its own in the page; the policy is not under test then. */
  bypassCSP?: boolean;
}

/** Opens a path in a fresh browser, runs the steps, and then wants a clean console and no request elsewhere. */
export async function visit(url: string, path: string, o: Look, steps: (page: Page, context: BrowserContext) => Promise<void>): Promise<void> {
  const browser = await browsers.get();
  const context = await browser.newContext({
    viewport: { width: o.width ?? 1440, height: o.height ?? 900 },
    colorScheme: o.scheme ?? "light",
    bypassCSP: o.bypassCSP ?? false,
  });
  context.setDefaultTimeout(patienceMs);
  const page = await context.newPage();
  const errors: string[] = [];
  const elsewhere: string[] = [];
  const { origin } = new URL(url);
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !o.expected?.test(m.text())) errors.push(m.text());
  });
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("request", (r) => {
    const to = new URL(r.url());
    if (to.origin !== origin && to.protocol !== "data:") elsewhere.push(r.url());
  });
  try {
    await page.goto(url + path);
    await steps(page, context);
    assert.deepEqual(errors, [], `console errors of ${path}`);
    assert.deepEqual(elsewhere, [], `requests of ${path} outside the origin`);
  } catch (err) {
    throw new Error(`${String(err)}\n${await seen(page)}`, { cause: err });
  } finally {
    await context.close();
  }
}

/** What a page that failed a test shows, for whoever reads the test's log. */
async function seen(page: Page): Promise<string> {
  try {
    const text = await page.locator("body").innerText({ timeout: 5000 });
    return `${page.url()} shows:\n${text.slice(0, 2000)}`;
  } catch (err) {
    return `${page.url()} shows nothing that can be read: ${String(err)}`;
  }
}

export async function shot(page: Page, name: string): Promise<void> {
  mkdirSync(screenshots, { recursive: true });
  await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
}

/** Waits until a panel of the overview names values. */
export async function panelValues(page: Page, id: string): Promise<string[]> {
  await page.waitForFunction(
    (panel) => [...document.querySelectorAll(`[data-panel="${panel}"] .legend .value`)].some((v) => /\d/.test(v.textContent ?? "")),
    id,
  );
  return page.locator(`[data-panel="${id}"] .legend .value`).allTextContents();
}

/** Pixels of a chart that have a colour, which grid and axes have not. */
export function coloured(page: Page, selector: string): Promise<number> {
  return page
    .locator(`${selector} canvas`)
    .first()
    .evaluate((canvas: HTMLCanvasElement) => {
      const { data } = (canvas.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) {
        const rgb = [data[i] ?? 0, data[i + 1] ?? 0, data[i + 2] ?? 0];
        if ((data[i + 3] ?? 0) > 100 && Math.max(...rgb) - Math.min(...rgb) > 60) n++;
      }
      return n;
    });
}

/** Whether the page is no wider than the window. */
export const fits = (page: Page): Promise<boolean> => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);

/** Looks at everything once, since charts out of sight are not asked for, and waits for what is loading. */
export async function settle(page: Page): Promise<void> {
  for (const el of await page.locator(".autoscaler").all()) await el.scrollIntoViewIfNeeded();
  await page.waitForFunction(() => ![...document.querySelectorAll("main .note")].some((n) => n.checkVisibility() && n.textContent === "Loading …"));
  await page.evaluate(() => scrollTo(0, 0));
}

/** The panels and parts that show neither a chart nor a word beside their headings. */
export function emptyPanels(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const seen = (el: Element): boolean => el.checkVisibility();
    return [...document.querySelectorAll(".panel, .part, .graph, .result")]
      .filter(seen)
      .filter((p) => ![...p.querySelectorAll(".u-over, svg")].some(seen))
      .filter((p) => {
        const copy = p.cloneNode(true) as Element;
        for (const el of copy.querySelectorAll("h2, h3, [hidden]")) el.remove();
        const text = (copy.textContent ?? "").trim();
        return text === "";
      })
      .map((p) => p.querySelector("h2, h3")?.textContent ?? p.className);
  });
}

/** What axe-core finds that keeps people out; the page must be open with bypassCSP. */
export async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    interface Result {
      violations: { id: string; impact: string; help: string; nodes: { target: unknown; failureSummary: string }[] }[];
    }
    const run = (window as unknown as { axe: { run: (o: object) => Promise<Result> } }).axe;
    const { violations } = await run.run({ resultTypes: ["violations"] });
    return violations
      .filter((v) => v.impact === "serious" || v.impact === "critical")
      .map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${JSON.stringify(n.target)} ${n.failureSummary}`).join("; ")}`);
  });
}

export interface PageOf {
  path: string;
  /** Names its screenshots. */
  name: string;
  /** There once the page shows what it has. */
  ready: string;
}

/** Every page, with something to see on it. */
export const pages: readonly PageOf[] = [
  { path: "", name: "overview", ready: ".overview[data-loaded]" },
  { path: "explore?expr=up&range=15m", name: "explore", ready: ".result tbody tr >> visible=true" },
  { path: "explore", name: "explore-new", ready: ".hint .series, .hint a" },
  { path: "alerts", name: "alerts", ready: ".rules[data-loaded]" },
  { path: "autoscaling", name: "autoscaling", ready: ".autoscaling[data-loaded]" },
  { path: "targets", name: "targets", ready: "tr[data-target]" },
  { path: "status", name: "status", ready: ".status[data-loaded]" },
  { path: "no/such/page", name: "not-found", ready: "h1" },
];
