// Targets: what is scraped, how it goes, and why not.

import type { Target } from "./api.ts";
import { h, setText } from "./dom.ts";
import { formatAge, formatValue } from "./format.ts";
import { Poller } from "./poller.ts";
import { jobsOf, matches, scrapeTime, type Job } from "./scrapes.ts";
import { unexpected, type Context, type View } from "./view.ts";

const refreshMs = 5000;
/** Rows of one job before "show all"; a job of 500 nodes is read by its first rows. */
const rowsPerJob = 50;

class Targets implements View {
  readonly title = "Targets";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #poller: Poller;
  readonly #summary = h("p", { class: "summary", role: "status" });
  readonly #list = h("div", { class: "jobs" });
  readonly #search;
  readonly #onlyBad;
  readonly #whole = new Set<string>();
  #targets: Target[] | null = null;
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
      intervalMs: refreshMs,
      task: async (signal) => {
        this.#targets = await ctx.client.targets(signal);
        this.#show();
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
    const jobs = jobsOf(shown);
    // Rows are made anew only when more than times has changed, so that focus and selection survive.
    const shape = JSON.stringify(jobs.map((j) => [this.#whole.has(j.name), j.targets.map((t) => [t.scrapeUrl, t.health, t.lastError])]));
    if (shape !== this.#shown) {
      this.#shown = shape;
      this.#list.replaceChildren(...jobs.map((j) => this.#job(j)));
    }
    this.#times(jobs);
  }

  #visible(job: Job): Target[] {
    return this.#whole.has(job.name) ? job.targets : job.targets.slice(0, rowsPerJob);
  }

  #job(job: Job): HTMLElement {
    const up = job.targets.length - job.down - job.unknown;
    const rest = job.targets.length - this.#visible(job).length;
    const more = h("button", { type: "button", onclick: () => this.#showWhole(job.name) }, `Show ${rest} more`);
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

  #showWhole(job: string): void {
    this.#whole.add(job);
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
