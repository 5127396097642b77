// One dashboard: its variables, rows and panels, followed in time.

import { APIError, sampleNumber } from "../api.ts";
import { arrange, h, setText } from "../dom.ts";
import { Poller } from "../poller.ts";
import { unexpected, type Context, type View } from "../view.ts";
import { getDashboard, type Entry } from "./api.ts";
import { refreshControl, spanControl, variableControls } from "./controls.ts";
import { withBuiltins, type Moment } from "./data.ts";
import { inText } from "./interpolate.ts";
import { sections, type Section } from "./layout.ts";
import { metricNames, Names } from "./metrics.ts";
import { readDashboard, type Dashboard } from "./model.ts";
import { PanelView } from "./panelview.ts";
import { Queue } from "./queue.ts";
import { intervalsOf, rateInterval, unknownIntervals, type Intervals } from "./scrapeinterval.ts";
import { resolveSpan, seconds, youngStart, type Span } from "./time.ts";
import { all, resolve, storeLookup, valueOf, type Variable } from "./variables.ts";

/** Panels that ask at a time: the engine has others to serve. */
const atOnce = 4;
const dayMs = 86_400_000;

export class DashboardView implements View {
  readonly title = "Dashboard";
  readonly el = h("div", { class: "dashboard" });
  readonly #ctx: Context;
  readonly #heading = h("h1", {}, "Dashboard");
  readonly #about = h("p", { class: "d-description", hidden: true });
  readonly #vars = h("div", { class: "d-vars" });
  readonly #times = h("div", { class: "d-times" });
  readonly #rows = h("div", { class: "d-rows" });
  readonly #queue = new Queue(atOnce);
  readonly #poller: Poller;
  readonly #seen: IntersectionObserver;
  readonly #panels = new Map<Element, PanelView>();
  readonly #busy = new Set<PanelView>();
  readonly #inView = new Set<PanelView>();
  readonly #open = new Map<string, boolean>();
  #board: Dashboard | null = null;
  #names: Names;
  #span: Span = { from: "now-1h", to: "now" };
  #refresh = "";
  #variables: Variable[] | null = null;
  #intervals: Intervals | null = null;
  #moment: Moment | null = null;
  #oldest: number | null = null;
  #laid = "";
  /** Write the rows' titles, in which variables stand. */
  #titles: ((m: Moment) => void)[] = [];
  #loads = new AbortController();

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#names = new Names(ctx.client, () => this.#allNames());
    const crumb = h("a", { href: "./dashboards", class: "d-crumb" }, "Dashboards");
    this.el.append(
      h("div", { class: "bar d-bar-top" }, h("div", { class: "d-title" }, crumb, h("span", { "aria-hidden": "true" }, "/"), this.#heading), this.#times),
      this.#about,
      this.#vars,
      this.#rows,
    );
    this.#seen = new IntersectionObserver((entries) => this.#onSeen(entries), { rootMargin: "200px 0px" });
    this.#poller = new Poller({
      intervalMs: () => (this.#refresh === "" ? dayMs : Math.max(1000, (seconds(this.#refresh) ?? 86_400) * 1000)),
      task: (signal) => this.#tick(signal),
      onError: unexpected,
      visible: () => !document.hidden,
    });
    document.addEventListener("visibilitychange", this.#onVisible);
    void this.#poller.now();
  }

  readonly refresh = (): void => {
    void this.#poller.now();
  };

  destroy(): void {
    this.#poller.stop();
    this.#loads.abort();
    this.#seen.disconnect();
    document.removeEventListener("visibilitychange", this.#onVisible);
    for (const p of this.#panels.values()) p.destroy();
  }

  readonly #onVisible = (): void => {
    if (!document.hidden && this.#refresh !== "") void this.#poller.now();
  };

  async #tick(signal: AbortSignal): Promise<void> {
    if (this.#board === null && !(await this.#fetch(signal))) return;
    const board = this.#board as Dashboard;
    if (this.#loads.signal.aborted) this.#loads = new AbortController();
    const loads = AbortSignal.any([signal, this.#loads.signal]);
    const now = Date.now() / 1000;
    const { from: wanted, to } = resolveSpan(this.#span, now);
    const from = await this.#start(wanted, to, loads);
    await this.#prepare(board, from, to, loads);
    const variables = this.#variables ?? [];
    this.#moment = { client: this.#ctx.client, from, to, scope: this.#scope(variables, to - from), intervals: this.#intervals ?? unknownIntervals, signal: loads };
    this.#layOut(board, variables);
    for (const p of this.#panels.values()) p.name(this.#moment);
    for (const name of this.#titles) name(this.#moment);
    const results = await Promise.allSettled([...this.#inView].map((p) => this.#load(p)));
    if (signal.aborted) return;
    this.el.dataset["loaded"] = "true";
    for (const r of results) if (r.status === "rejected") throw r.reason;
  }

  /** Fetches the dashboard; an error of its file is shown in its place. */
  async #fetch(signal: AbortSignal): Promise<boolean> {
    try {
      const { meta, dashboard } = await getDashboard(this.#ctx.client, this.#ctx.args["uid"] ?? "", signal);
      this.#board = readDashboard(dashboard);
      this.#begin(this.#board, meta);
      return true;
    } catch (err) {
      if (!(err instanceof APIError) || err.failure !== "api") throw err;
      setText(this.#heading, this.#ctx.args["uid"] ?? "");
      this.#rows.replaceChildren(h("p", { class: "error d-fault", role: "alert" }, err.message));
      return false;
    }
  }

  #begin(board: Dashboard, meta: Entry): void {
    const { params } = this.#ctx;
    this.#span = { from: params.get("from") ?? board.from, to: params.get("to") ?? board.to };
    this.#refresh = params.get("refresh") ?? board.refresh;
    setText(this.#heading, board.title);
    this.#ctx.setTitle(board.title);
    this.#about.hidden = board.description === "" && meta.note === undefined;
    this.#about.textContent = [board.description, meta.note === undefined ? "" : `${meta.file} ${meta.note}.`].filter((t) => t !== "").join(" ");
    for (const l of board.links.filter((x) => x.href !== "")) {
      this.#about.hidden = false;
      this.#about.append(" ", h("a", { href: l.href, target: "_blank", rel: "noopener noreferrer" }, l.title || l.href));
    }
    if (board.rows.length === 0) this.#rows.replaceChildren(h("p", { class: "note" }, "This dashboard has no panels."));
    this.#showTimes();
  }

  /** The first time shown: of a range that was not chosen, no earlier than the store's oldest sample, as far as it tells of itself. */
  async #start(from: number, to: number, signal: AbortSignal): Promise<number> {
    if (this.#ctx.params.has("from") || this.#span.to !== "now") return from;
    if (this.#oldest === null) {
      const { data } = await this.#ctx.client.query("min(prometheus_tsdb_lowest_timestamp_seconds) > 0", {}, signal);
      const found = data.resultType === "vector" ? sampleNumber(data.result[0]?.value?.[1] ?? "NaN") : NaN;
      this.#oldest = Number.isFinite(found) ? found : null;
    }
    return youngStart(from, to, this.#oldest);
  }

  /** What panels need before they ask: scrape intervals, and variables where something changed. */
  async #prepare(board: Dashboard, from: number, to: number, signal: AbortSignal): Promise<void> {
    const { client, params } = this.#ctx;
    const intervals = this.#intervals
      ? Promise.resolve()
      : client.targets(signal).then((t) => void (this.#intervals = t.length > 0 ? intervalsOf(t) : null), ignoreAPI);
    // Options are asked for with the windows of the last known intervals.
    if (this.#variables === null) {
      await intervals;
      const usual = (this.#intervals ?? unknownIntervals).usual;
      const builtin = withBuiltins(() => null, from, to, usual, rateInterval(usual, usual));
      this.#variables = await resolve(board.variables, params, builtin, to - from, storeLookup(client, { from, to }, signal));
      this.#vars.replaceChildren(...variableControls(this.#variables, (name, values) => this.#choose(name, values)));
      this.#vars.hidden = this.#vars.children.length === 0;
    }
    await intervals;
  }

  #scope(variables: Variable[], span: number): Moment["scope"] {
    const byName = new Map(variables.map((v) => [v.def.name, v]));
    const title = this.#board?.title ?? "";
    return (name) => {
      const v = byName.get(name);
      if (v) return valueOf(v, span);
      return name === "__dashboard" ? { values: [title], text: title, raw: true, regex: false } : null;
    };
  }

  /** Makes the rows and panels; again only when a variable repeats them otherwise. */
  #layOut(board: Dashboard, variables: Variable[]): void {
    const repeats = (name: string): string[] => {
      const v = variables.find((x) => x.def.name === name);
      if (!v) return [];
      return v.chosen.includes(all) ? v.options.map((o) => o.value) : v.chosen;
    };
    const found = sections(board, repeats);
    const shape = JSON.stringify(found.map((s) => [s.key, s.panels.map((p) => p.id)]));
    if (shape === this.#laid) return;
    this.#laid = shape;
    for (const [el, p] of this.#panels) {
      this.#seen.unobserve(el);
      p.destroy();
    }
    this.#panels.clear();
    this.#inView.clear();
    this.#titles = [];
    if (found.length > 0) arrange(this.#rows, found.map((s) => this.#section(s)));
    for (const el of this.#panels.keys()) this.#seen.observe(el);
  }

  #section(s: Section): HTMLElement {
    const env = {
      sync: this.#board?.sharedPointer ? "dashboard" : "",
      onZoom: (from: number, to: number) => this.#setSpan({ from: String(Math.round(from * 1000)), to: String(Math.round(to * 1000)) }),
      names: this.#names,
      range: () => (this.#span.to === "now" && this.#span.from.startsWith("now-") ? this.#span.from.slice(4) : ""),
    };
    const views = s.panels.map((p) => new PanelView(p, env));
    for (const v of views) this.#panels.set(v.el, v);
    const grid = h("div", { class: "d-grid" }, ...views.map((v) => v.el));
    const left = s.left > 0 ? h("p", { class: "note" }, `${s.left} more copies are not shown; choose fewer values.`) : null;
    if (s.row.bare) return h("div", { class: "d-row" }, grid, left);
    const open = this.#open.get(s.key) ?? !s.row.collapsed;
    grid.hidden = !open;
    const button = h("button", { type: "button", class: "d-fold", "aria-expanded": String(open) });
    button.addEventListener("click", () => {
      grid.hidden = !grid.hidden;
      button.setAttribute("aria-expanded", String(!grid.hidden));
      this.#open.set(s.key, !grid.hidden);
    });
    const count = h("span", { class: "d-count" }, views.length === 1 ? "1 panel" : `${views.length} panels`);
    const el = h("section", { class: "d-row" }, h("h2", {}, button, count), grid, left);
    this.#titles.push((m) => {
      const title = inText(s.row.title, withBuiltins(m.scope, m.from, m.to, 15, 60, s.row.scope)) || "Row";
      setText(button, title);
      el.setAttribute("aria-label", title);
    });
    return el;
  }

  #onSeen(entries: IntersectionObserverEntry[]): void {
    for (const e of entries) {
      const p = this.#panels.get(e.target);
      if (!p) continue;
      if (!e.isIntersecting) {
        this.#inView.delete(p);
        continue;
      }
      this.#inView.add(p);
      if (p.shownAt !== this.#moment) void this.#load(p).catch(unexpected);
    }
  }

  /** Loads a panel in its turn, for the newest moment. */
  async #load(p: PanelView): Promise<void> {
    const m = this.#moment;
    if (!m || this.#busy.has(p)) return;
    this.#busy.add(p);
    try {
      await this.#queue.run(m.signal, async () => {
        // Scrolled past while it waited: its turn comes when it is seen again.
        if (this.#inView.has(p)) await p.load(m);
      });
    } catch (err) {
      // What is given up for a newer moment is asked again below.
      if (this.#moment === m) throw err;
    } finally {
      this.#busy.delete(p);
    }
    if (this.#moment !== m && this.#inView.has(p) && !this.#moment?.signal.aborted) await this.#load(p);
  }

  #choose(name: string, values: string[]): void {
    const { params } = this.#ctx;
    params.delete(`var-${name}`);
    for (const v of values) params.append(`var-${name}`, v);
    this.#variables = null;
    this.#again(params);
  }

  #setSpan(span: Span): void {
    this.#span = span;
    const { params } = this.#ctx;
    params.set("from", span.from);
    params.set("to", span.to);
    if (this.#board?.variables.some((v) => v.refreshOnTime)) this.#variables = null;
    this.#showTimes();
    this.#again(params);
  }

  #setRefresh(refresh: string): void {
    this.#refresh = refresh;
    this.#ctx.params.set("refresh", refresh);
    this.#again(this.#ctx.params);
  }

  /** Writes the address, gives up what is under way, and asks for all again. */
  #again(params: URLSearchParams): void {
    this.#ctx.setParams(params, true);
    this.#loads.abort();
    void this.#poller.now();
  }

  #showTimes(): void {
    this.#times.replaceChildren(
      spanControl(this.#span, (s) => this.#setSpan(s)),
      refreshControl(this.#refresh, (r) => this.#setRefresh(r)),
      h("button", { type: "button", title: "Ask again now", "aria-label": "Refresh now", onclick: this.refresh }, "⟳"),
    );
  }

  #allNames(): string[] {
    return [...new Set((this.#board?.rows ?? []).flatMap((r) => r.panels).flatMap((p) => p.targets).flatMap((t) => metricNames(t.expr)))];
  }
}

function ignoreAPI(err: unknown): void {
  if (!(err instanceof APIError) || err.failure !== "api") throw err;
}
