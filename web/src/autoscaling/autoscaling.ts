// Autoscaling: each HorizontalPodAutoscaler, its target, the value that it was
// given and its replicas on one axis of time; what is unhealthy first.

import type { InstantSeries, Target } from "../api.ts";
import { arrange, choice, h, setText } from "../dom.ts";
import { gridOf, stepFor } from "../frame.ts";
import { layersFor, layerState } from "../layers.ts";
import { Poller } from "../poller.ts";
import { rangeOf, ranges } from "../range.ts";
import { unexpected, type Context, type View } from "../view.ts";
import { allQuery, autoscalersOf, choose, conditionQuery, maxSeries, verdict, type Autoscaler } from "./hpa.ts";
import { AutoscalerView } from "./hpaview.ts";

const refreshMs = 10_000;
/** Autoscalers on the page before "show more". */
const atOnce = 25;

const howTo = "kubectl autoscale deployment NAME --min=1 --max=5 --cpu=80%";

class Autoscaling implements View {
  readonly title = "Autoscaling";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #poller: Poller;
  readonly #summary = h("p", { class: "summary", role: "status" });
  readonly #none = h("div", { class: "empty", hidden: true });
  readonly #list = h("div", { class: "autoscalers" });
  readonly #more = h("button", { type: "button", hidden: true, onclick: () => this.#showMore() });
  readonly #namespace = h("select", { "aria-label": "Namespace", onchange: () => this.#filtered() });
  readonly #search;
  readonly #views = new Map<string, AutoscalerView>();
  readonly #watch: IntersectionObserver;
  #range;
  #wanted: string;
  #all: Autoscaler[] = [];
  #cut = false;
  #limit = atOnce;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#range = rangeOf(ctx.params.get("range"));
    this.#wanted = ctx.params.get("namespace") ?? "";
    this.#search = h("input", {
      type: "search",
      "aria-label": "Search autoscalers",
      placeholder: "Search name or target",
      value: ctx.params.get("search") ?? "",
      oninput: () => this.#filtered(),
    });
    const range = choice("range", "Time range", ranges, this.#range.id, (id) => {
      this.#range = rangeOf(id);
      this.#keep();
      void this.#poller.now();
    });
    this.el = h(
      "div",
      { class: "autoscaling" },
      h("div", { class: "bar" }, h("h1", {}, "Autoscaling"), this.#search, h("label", {}, "Namespace ", this.#namespace), range),
      this.#summary,
      this.#none,
      this.#list,
      this.#more,
    );
    this.#showNamespaces();
    // The history of what is out of sight is asked for when it comes into it.
    this.#watch = new IntersectionObserver((entries) => this.#looked(entries), { rootMargin: "300px" });
    this.#poller = new Poller({ intervalMs: refreshMs, task: (signal) => this.#tick(signal), onError: unexpected, visible: () => !document.hidden });
    void this.#poller.now();
  }

  readonly refresh = (): void => void this.#poller.now();

  destroy(): void {
    this.#poller.stop();
    this.#watch.disconnect();
    for (const v of this.#views.values()) v.destroy();
  }

  async #tick(signal: AbortSignal): Promise<void> {
    const ask = async (expr: string): Promise<InstantSeries[]> => {
      const { data } = await this.#ctx.client.query(expr, { limit: maxSeries }, signal);
      return data.resultType === "vector" ? data.result : [];
    };
    const [series, conditions] = await Promise.all([ask(allQuery), ask(conditionQuery)]);
    this.#cut = series.length >= maxSeries;
    this.#all = autoscalersOf(series, conditions);
    if (this.#all.length === 0) this.#explain(await this.#ctx.client.targets(signal));
    this.#none.hidden = this.#all.length > 0;
    this.#showNamespaces();
    this.#show();
    await this.#loadSeen(signal);
    if (!signal.aborted) this.el.dataset["loaded"] = "true";
  }

  async #loadSeen(signal: AbortSignal): Promise<void> {
    const seconds = this.#range.seconds;
    const grid = gridOf(Date.now() / 1000, seconds, stepFor(seconds, 180, 5));
    const seen = [...this.#views.values()].filter((v) => v.seen);
    const results = await Promise.allSettled(seen.map((v) => v.load(this.#ctx.client, grid, signal)));
    const failed = results.find((r) => r.status === "rejected");
    if (failed) throw failed.reason;
  }

  #looked(entries: IntersectionObserverEntry[]): void {
    let fresh = false;
    for (const e of entries) {
      const view = [...this.#views.values()].find((v) => v.el === e.target);
      if (!view) continue;
      fresh ||= e.isIntersecting && !view.seen;
      view.seen = e.isIntersecting;
    }
    if (fresh) void this.#poller.now();
  }

  /** Why there is none, and what to do. */
  #explain(targets: Target[]): void {
    const kube = layersFor("id").find((l) => l.id === "kube");
    if (!kube) return;
    const has = targets.some((t) => kube.job.test(t.labels["job"] ?? t.scrapePool) && t.health === "up");
    const state = layerState(kube, targets, has);
    this.#none.replaceChildren(
      ...(state.reason === ""
        ? [h("p", {}, "The cluster has no HorizontalPodAutoscaler. To make one:"), h("pre", { tabindex: 0, "aria-label": "Command" }, howTo)]
        : [h("p", {}, `Autoscalers are known from the Kubernetes objects' exporter. ${state.reason}`)]),
    );
  }

  #filtered(): void {
    this.#wanted = this.#namespace.value;
    this.#limit = atOnce;
    this.#keep();
    this.#show();
  }

  #keep(): void {
    const params = new URLSearchParams();
    if (this.#search.value !== "") params.set("search", this.#search.value);
    if (this.#wanted !== "") params.set("namespace", this.#wanted);
    if (this.#range !== ranges[0]) params.set("range", this.#range.id);
    this.#ctx.setParams(params, false);
  }

  #showMore(): void {
    this.#limit += 4 * atOnce;
    this.#show();
  }

  #showNamespaces(): void {
    const names = [...new Set([...this.#all.map((a) => a.namespace), this.#wanted].filter((n) => n !== ""))].sort();
    const have = [...this.#namespace.options].map((o) => o.value);
    if (have.length === names.length + 1 && names.every((n, i) => have[i + 1] === n)) return;
    this.#namespace.replaceChildren(h("option", { value: "" }, "All"), ...names.map((n) => h("option", { value: n }, n)));
    this.#namespace.value = this.#wanted;
  }

  #show(): void {
    const chosen = choose(this.#all, this.#wanted, this.#search.value);
    const shown = chosen.slice(0, this.#limit);
    const count = (severity: string): number => this.#all.filter((a) => verdict(a).severity === severity).length;
    const [bad, warn] = [count("bad"), count("warn")];
    const of = chosen.length === this.#all.length ? "" : `, ${chosen.length} shown`;
    const cut = this.#cut ? ` Only the first ${maxSeries} series were read; there are more autoscalers.` : "";
    const n = this.#all.length;
    setText(this.#summary, n === 0 ? "No autoscaler" : `${n} ${n === 1 ? "autoscaler" : "autoscalers"}, ${bad} unhealthy, ${warn} to look at${of}.${cut}`);
    this.#summary.classList.toggle("bad", bad > 0);
    const live = new Set(shown.map((a) => a.key));
    for (const [key, view] of this.#views) {
      if (live.has(key)) continue;
      this.#watch.unobserve(view.el);
      view.destroy();
      this.#views.delete(key);
    }
    arrange(this.#list, shown.map((a) => this.#view(a).el));
    const rest = chosen.length - shown.length;
    this.#more.hidden = rest === 0;
    setText(this.#more, `Show more of the other ${rest}`);
  }

  #view(a: Autoscaler): AutoscalerView {
    const old = this.#views.get(a.key);
    if (old) {
      old.update(a);
      return old;
    }
    const view = new AutoscalerView(a);
    this.#views.set(a.key, view);
    this.#watch.observe(view.el);
    return view;
  }
}

export function autoscaling(ctx: Context): View {
  return new Autoscaling(ctx);
}
