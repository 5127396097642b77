// Overview: the layers of this host, live, what is wrong first.

import { APIError, type InstantSeries, type Target } from "./api.ts";
import { arrange, choice, h, setText } from "./dom.ts";
import { formatValue } from "./format.ts";
import { gridOf, stepFor } from "./frame.ts";
import { layersFor, layerState, namingQuery, quote, rateWindow, type Layer, type Naming } from "./layers.ts";
import { PanelView } from "./panel.ts";
import { Poller } from "./poller.ts";
import { alertProblems, alertsQuery, checks, linesPerCheck, problemsOf, targetProblems, type Problem } from "./problems.ts";
import { rangeOf, ranges } from "./range.ts";
import { unexpected, type Context, type View } from "./view.ts";

const refreshMs = 5000;
/** Targets, hosts and checks change less and cost more than charts. */
const surroundingsEvery = 3;
/** All targets in full are megabytes in a large cluster: they are asked for that much less often. */
const manyTargets = 1000;
const manyTargetsEvery = 12;
/** Rules that fire at once; the page names the first of them. */
const maxAlerts = 200;
const rankOrder = { down: 0, live: 1, absent: 2 };

interface LayerView {
  layer: Layer;
  el: HTMLElement;
  reason: HTMLElement;
  facts: HTMLElement;
  grid: HTMLElement;
  panels: Map<string, PanelView>;
}

/** What is asked less often than the charts. */
interface Surroundings {
  targets: Target[];
  instances: string[];
  naming: Naming;
  problems: Problem[];
  facts: string;
}

function layerView(layer: Layer): LayerView {
  const reason = h("p", { class: "reason", hidden: true });
  const facts = h("span", { class: "facts" });
  const panels = new Map(layer.panels.map((p) => [p.id, new PanelView(p)]));
  const grid = h("div", { class: "grid" }, ...[...panels.values()].map((p) => p.el));
  const el = h(
    "section",
    { class: "layer", "data-layer": layer.id, "aria-labelledby": `layer-${layer.id}` },
    h("header", {}, h("h2", { id: `layer-${layer.id}` }, layer.title), facts),
    reason,
    grid,
  );
  return { layer, el, reason, facts, grid, panels };
}

class Overview implements View {
  readonly title = "Overview";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #problems = h("ul", { class: "problems", "aria-label": "Problems", hidden: true });
  readonly #hostPick = h("select", { "aria-label": "Host", onchange: () => this.#pickHost() });
  readonly #hostLabel = h("label", { class: "host", hidden: true }, "Host ", this.#hostPick);
  readonly #layersEl = h("div", { class: "layers" });
  readonly #poller: Poller;
  #layers: LayerView[];
  #around: Surroundings = { targets: [], instances: [], naming: "id", problems: [], facts: "" };
  #turn = 0;
  #range;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#range = rangeOf(ctx.params.get("range"));
    this.#layers = layersFor("id").map(layerView);
    arrange(this.#layersEl, this.#layers.map((l) => l.el));
    const range = choice("range", "Time range", ranges, this.#range.id, (id) => this.#pickRange(id));
    this.el = h(
      "div",
      { class: "overview" },
      h("div", { class: "bar" }, h("h1", {}, "Overview"), this.#hostLabel, range),
      this.#problems,
      this.#layersEl,
    );
    this.#poller = new Poller({
      intervalMs: refreshMs,
      task: (signal) => this.#tick(signal),
      onError: unexpected,
      visible: () => !document.hidden,
    });
    document.addEventListener("visibilitychange", this.refresh);
    void this.#poller.now();
  }

  readonly refresh = (): void => {
    this.#turn = 0;
    if (!document.hidden) void this.#poller.now();
  };

  destroy(): void {
    this.#poller.stop();
    document.removeEventListener("visibilitychange", this.refresh);
    for (const l of this.#layers) for (const p of l.panels.values()) p.destroy();
  }

  async #tick(signal: AbortSignal): Promise<void> {
    // A server that has just started has little to tell yet: it is asked again soon.
    const young = this.#around.facts === "" && this.#turn < 2 * surroundingsEvery;
    const around = this.#turn++ % surroundingsEvery === 0 || young;
    if (around) await this.#look(signal);
    const window = this.#range.seconds;
    const grid = gridOf(Date.now() / 1000, window, stepFor(window, 180, 5));
    const instance = this.#instance();
    // Each layer is shown as soon as it is here; the host comes first.
    const loads = this.#layers.map(async (l) => {
      const vars = { rate: Math.max(rateWindow(this.#around.targets, l.layer), grid.step), instance };
      const tick = { client: this.#ctx.client, grid, vars, signal };
      const results = await Promise.allSettled([...l.panels.values()].map((p) => p.load(tick)));
      this.#show(l, grid.end);
      throwFirst(results);
    });
    if (around) loads.push(this.#lookFurther(signal));
    const results = await Promise.allSettled(loads);
    if (signal.aborted) return;
    this.#rank();
    throwFirst(results);
    this.el.dataset["loaded"] = "true";
  }

  async #ask(expr: string, signal: AbortSignal, limit?: number): Promise<InstantSeries[]> {
    const { data } = await this.#ctx.client.query(expr, limit === undefined ? {} : { limit }, signal);
    return data.resultType === "vector" ? data.result : [];
  }

  /** What the charts' queries depend on. */
  async #look(signal: AbortSignal): Promise<void> {
    const [targets, hosts, kinds] = await Promise.all([
      this.#targets(signal),
      this.#ask("count by (instance) (node_load1)", signal),
      this.#ask(namingQuery, signal),
    ]);
    const instances = hosts.map((s) => s.metric["instance"] ?? "").sort();
    const kind = new Set(kinds.map((s) => s.metric["naming"]));
    const naming = (["pod", "name", "id"] as const).find((n) => kind.has(n)) ?? this.#around.naming;
    this.#around = { ...this.#around, targets, instances, naming };
    this.#showHosts();
    for (const layer of layersFor(naming)) this.#redefine(layer);
  }

  #targets(signal: AbortSignal): Promise<Target[]> {
    const { targets } = this.#around;
    const rest = targets.length > manyTargets && (this.#turn - 1) % manyTargetsEvery !== 0;
    return rest ? Promise.resolve(targets) : this.#ctx.client.targets(signal);
  }

  /** What stands beside the charts. */
  async #lookFurther(signal: AbortSignal): Promise<void> {
    const [facts, alerts, ...found] = await Promise.all([
      this.#facts((expr) => this.#ask(expr, signal), this.#instance()),
      this.#ask(alertsQuery, signal, maxAlerts).catch(onlyAPI),
      // A check that the engine refuses must not take the page with it.
      ...checks.map((c) => this.#ask(c.expr, signal, linesPerCheck + 1).catch(onlyAPI)),
    ]);
    const problems = [...alertProblems(alerts), ...targetProblems(this.#around.targets), ...checks.flatMap((c, i) => problemsOf(c, found[i] ?? []))];
    this.#around = { ...this.#around, problems, facts };
    this.#showProblems();
    for (const l of this.#layers) if (l.layer.id === "node") setText(l.facts, facts);
  }

  /** One line about the host itself. */
  async #facts(ask: (expr: string) => Promise<InstantSeries[]>, instance: string | null): Promise<string> {
    const at = instance === null ? "" : `{instance=${quote(instance)}}`;
    const [uname, cores, uptime] = await Promise.all([
      ask(`node_uname_info${at}`),
      ask(`count(count by (cpu) (node_cpu_seconds_total${at}))`),
      ask(`max(time() - node_boot_time_seconds${at})`),
    ]);
    const u = uname[0]?.metric;
    const n = Number(cores[0]?.value?.[1] ?? 0);
    const up = uptime[0]?.value?.[1];
    return [
      u ? `${u["nodename"] ?? ""}` : "",
      u ? `${u["sysname"] ?? ""} ${u["release"] ?? ""} ${u["machine"] ?? ""}`.trim() : "",
      n > 0 ? `${n} ${n === 1 ? "CPU" : "CPUs"}` : "",
      up === undefined ? "" : `up ${formatValue(Number(up), "seconds")}`,
    ]
      .filter((t) => t !== "")
      .join(" · ");
  }

  #redefine(layer: Layer): void {
    const view = this.#layers.find((l) => l.layer.id === layer.id);
    if (!view) return;
    view.layer = layer;
    for (const p of layer.panels) view.panels.get(p.id)?.redefine(p);
  }

  #show(view: LayerView, end: number): void {
    const firsts = this.#layers.flatMap((l) => [...l.panels.values()].map((p) => p.first ?? end));
    // A young server has little to show: charts begin where its data does.
    const min = Math.max(end - this.#range.seconds, Math.min(end - 120, ...firsts));
    const panels = [...view.panels.values()];
    const hasData = panels.some((p) => p.hasData);
    const state = layerState(view.layer, this.#around.targets, hasData);
    setText(view.reason, state.reason);
    view.reason.hidden = state.reason === "";
    view.el.dataset["rank"] = state.rank;
    view.grid.hidden = !hasData;
    if (hasData) for (const p of panels) p.show(min, end);
  }

  /** Layers that are down first, those that no target feeds last. */
  #rank(): void {
    const rank = (l: LayerView): number => rankOrder[(l.el.dataset["rank"] ?? "live") as keyof typeof rankOrder];
    const order = [...this.#layers].sort((a, b) => rank(a) - rank(b));
    arrange(this.#layersEl, order.map((l) => l.el));
  }

  #showProblems(): void {
    const order = { bad: 0, warn: 1 };
    const all = [...this.#around.problems].sort((a, b) => order[a.severity] - order[b.severity]);
    const text = all.map((p) => p.text).join("\n");
    this.#problems.hidden = all.length === 0;
    if (this.#problems.dataset["text"] === text) return;
    this.#problems.dataset["text"] = text;
    this.#problems.replaceChildren(
      ...all.map((p) => h("li", { class: p.severity }, h("a", { href: p.href }, p.text))),
    );
  }

  #showHosts(): void {
    const { instances } = this.#around;
    this.#hostLabel.hidden = instances.length < 2;
    const chosen = this.#instance();
    const same = [...this.#hostPick.options].map((o) => o.value).join("\n") === instances.join("\n");
    if (!same) this.#hostPick.replaceChildren(...instances.map((i) => h("option", { value: i }, i)));
    if (chosen !== null) this.#hostPick.value = chosen;
  }

  /** The chosen host; null while there is no choice. */
  #instance(): string | null {
    const { instances } = this.#around;
    if (instances.length < 2) return null;
    const wanted = this.#ctx.params.get("host");
    return instances.find((i) => i === wanted) ?? instances[0] ?? null;
  }

  #pickHost(): void {
    this.#ctx.params.set("host", this.#hostPick.value);
    this.#ctx.setParams(this.#ctx.params, false);
    this.refresh();
  }

  #pickRange(id: string): void {
    this.#range = rangeOf(id);
    this.#ctx.params.set("range", id);
    this.#ctx.setParams(this.#ctx.params, false);
    void this.#poller.now();
  }
}

function throwFirst(results: PromiseSettledResult<unknown>[]): void {
  const failed = results.find((r) => r.status === "rejected");
  if (failed) throw failed.reason;
}

function onlyAPI(err: unknown): InstantSeries[] {
  if (err instanceof APIError && err.failure === "api") return [];
  throw err;
}

export function overview(ctx: Context): View {
  return new Overview(ctx);
}
