// Targets: what is scraped, how it goes, and why not.

import type { Target } from "./api.ts";
import { h, setText } from "./dom.ts";
import { formatAge, formatValue } from "./format.ts";
import { Poller } from "./poller.ts";
import { jobsOf, matches, refreshAfter, rowsPerJob, scrapeTime, type Job } from "./scrapes.ts";
import { unexpected, type Context, type View } from "./view.ts";

/** More rows of a job at each "show more", and jobs on the page before that. */
const moreRows = 500;
const jobsAtOnce = 200;

class Targets implements View {
  readonly title = "Targets";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #poller: Poller;
  readonly #summary = h("p", { class: "summary", role: "status" });
  readonly #list = h("div", { class: "jobs" });
  readonly #search;
  readonly #onlyBad;
  /** Rows that were asked for beyond the first ones, by job. */
  readonly #extra = new Map<string, number>();
  #targets: Target[] | null = null;
  #tookMs = 0;
  #first = 50;
  #shown = "";

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#search = h("input", {
      type: "search",
      "aria-label": "Search targets",
      placeholder: "Search job, address, label, error",
      value: ctx.params.get("search") ?? "",
      oninput: () => this.#filtered(),
    });
    this.#onlyBad = h("input", { type: "checkbox", checked: ctx.params.has("unhealthy"), onchange: () => this.#filtered() });
    this.el = h(
      "div",
      { class: "targets" },
      h(
        "div",
        { class: "bar" },
        h("h1", {}, "Targets"),
        this.#search,
        h("label", { class: "check" }, this.#onlyBad, " Unhealthy only"),
      ),
      this.#summary,
      this.#list,
    );
    this.#poller = new Poller({
      intervalMs: () => refreshAfter(this.#targets ?? [], this.#tookMs),
      task: async (signal) => {
        const began = performance.now();
        this.#targets = await ctx.client.targets(signal);
        this.#show();
        this.#tookMs = performance.now() - began;
      },
      onError: (err) => {
        if (err instanceof Error && err.name === "APIError" && this.#targets === null) {
          setText(this.#summary, err.message);
        }
        unexpected(err);
      },
      visible: () => !document.hidden,
    });
    void this.#poller.now();
  }

  readonly refresh = (): void => void this.#poller.now();

  destroy(): void {
    this.#poller.stop();
  }

  #filtered(): void {
    const params = new URLSearchParams();
    if (this.#search.value !== "") params.set("search", this.#search.value);
    if (this.#onlyBad.checked) params.set("unhealthy", "1");
    this.#ctx.setParams(params, false);
    this.#show();
  }

  #show(): void {
    if (this.#targets === null) return;
    const all = this.#targets;
    const down = all.filter((t) => t.health === "down").length;
    const shown = all.filter((t) => matches(t, this.#search.value) && !(this.#onlyBad.checked && t.health === "up"));
    const of = shown.length === all.length ? "" : `, ${shown.length} shown`;
    setText(
      this.#summary,
      all.length === 0
        ? "No target: the configuration has no scrape job, or discovery has found nothing yet."
        : `${all.length} targets, ${down} down${of}`,
    );
    this.#summary.classList.toggle("bad", down > 0);
    const found = jobsOf(shown);
    const jobs = found.slice(0, jobsAtOnce);
    this.#first = rowsPerJob(jobs.length);
    // Rows are made anew only when more than times has changed, so that focus and selection survive.
    const shape = JSON.stringify([found.length, jobs.map((j) => [j.name, j.targets.length, this.#visible(j).map((t) => [t.scrapeUrl, t.health, t.lastError])])]);
    if (shape !== this.#shown) {
      this.#shown = shape;
      const rest = found.length - jobs.length;
      const left = rest > 0 && h("p", { class: "note" }, `${rest} more jobs are not shown; search to see them.`);
      this.#list.replaceChildren(...jobs.map((j) => this.#job(j)), ...(left ? [left] : []));
    }
    this.#times(jobs);
  }

  #visible(job: Job): Target[] {
    return job.targets.slice(0, this.#first + (this.#extra.get(job.name) ?? 0));
  }

  #job(job: Job): HTMLElement {
    const up = job.targets.length - job.down - job.unknown;
    const rest = job.targets.length - this.#visible(job).length;
    const more = h("button", { type: "button", onclick: () => this.#showMore(job.name) }, `Show ${Math.min(rest, moreRows)} of ${rest} more`);
    return h(
      "section",
      { class: "job", "data-down": job.down },
      h("h2", {}, job.name, " ", h("span", { class: job.down > 0 ? "count bad" : "count" }, `${up} of ${job.targets.length} up`)),
      h(
        "table",
        {},
        h("caption", { class: "hidden" }, `Targets of ${job.name}`),
        h(
          "thead",
          {},
          h("tr", {}, ...["Health", "Endpoint", "Labels", "Last scrape", "Took"].map((t) => h("th", { scope: "col" }, t))),
        ),
        h("tbody", {}, ...this.#visible(job).map(row)),
      ),
      rest > 0 && more,
    );
  }

  #showMore(job: string): void {
    this.#extra.set(job, (this.#extra.get(job) ?? 0) + moreRows);
    this.#show();
  }

  #times(jobs: Job[]): void {
    const now = Date.now() / 1000;
    const rows = this.#list.querySelectorAll("tr[data-target]");
    const targets = jobs.flatMap((j) => this.#visible(j));
    rows.forEach((tr, i) => {
      const t = targets[i];
      if (!t) return;
      const at = scrapeTime(t);
      const [last, took] = tr.querySelectorAll<HTMLElement>(".num");
      if (last) setText(last, at === null ? "never" : formatAge(now - at));
      if (took) setText(took, at === null ? "–" : formatValue(t.lastScrapeDuration, "seconds"));
    });
  }
}

function row(t: Target): HTMLElement {
  const labels = Object.entries(t.labels).filter(([k]) => k !== "job");
  return h(
    "tr",
    { "data-target": t.scrapeUrl, "data-health": t.health },
    h("td", {}, h("span", { class: `health ${t.health}` }, t.health)),
    h(
      "td",
      { class: "endpoint" },
      h("a", { href: t.scrapeUrl, rel: "noreferrer", target: "_blank" }, t.scrapeUrl),
      t.lastError !== "" && h("p", { class: "error" }, t.lastError),
    ),
    h("td", { class: "labels" }, ...labels.map(([k, v]) => h("code", {}, `${k}=${v}`))),
    h("td", { class: "num", "data-th": "Last scrape" }),
    h("td", { class: "num", "data-th": "Took" }),
  );
}

export function targets(ctx: Context): View {
  return new Targets(ctx);
}
