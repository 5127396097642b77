// One autoscaler on the page: what it wants and has in words, and, once it is
// looked at, replicas and each metric over the same time.

import { APIError, type Client } from "../api.ts";
import { Chart } from "../chart.ts";
import { arrange, h, setText } from "../dom.ts";
import { exploreLink } from "../explore/address.ts";
import { clock, formatValue } from "../format.ts";
import { explain, type Explanation } from "./explanation.ts";
import { firstTime, frameOf, type Frame, type Grid } from "../frame.ts";
import { aimFrame, aimName, aimsOf, aimUnit, exploreQueries, historyQuery, replicaFrame, verdict, type Aim, type Autoscaler } from "./hpa.ts";

const tones = { bad: "down", warn: "unknown", fine: "up", off: "quiet" };
const chartHeight = 120;
/** An autoscaler has a handful of series; what is above is not its own. */
const maxSeries = 100;
/** The latest events in words; the charts mark all of them. */
const maxEvents = 6;

interface Plot {
  el: HTMLElement;
  chart: Chart;
  note: HTMLElement;
  head: HTMLElement;
}

export class AutoscalerView {
  readonly el: HTMLElement;
  /** Whether it is in sight, so that its history is worth asking for. */
  seen = false;
  readonly #badge = h("span", {});
  readonly #scales = h("span", { class: "facts" });
  readonly #link = h("a", {}, "Explore");
  readonly #advice = h("p", { class: "reason", hidden: true });
  readonly #conditions = h("p", { class: "conditions" });
  readonly #grid = h("div", { class: "grid" });
  readonly #why = h("ul", { class: "why", hidden: true });
  readonly #events = h("ol", { class: "events", hidden: true });
  readonly #replicas: Plot;
  readonly #aims = new Map<string, Plot>();
  #a: Autoscaler;

  constructor(a: Autoscaler) {
    this.#a = a;
    this.#replicas = plot(`Replicas of ${a.name}`, "Replicas", "count", a.key, (label) => label === "min" || label === "max");
    this.el = h(
      "section",
      { class: "autoscaler", "data-autoscaler": `${a.namespace}/${a.name}`, "aria-label": `Autoscaler ${a.namespace}/${a.name}` },
      h("header", {}, this.#badge, h("h2", {}, `${a.namespace}/${a.name}`), this.#scales, this.#link),
      this.#advice,
      this.#why,
      this.#grid,
      this.#events,
      this.#conditions,
    );
    this.update(a);
  }

  update(a: Autoscaler): void {
    this.#a = a;
    const v = verdict(a);
    this.el.dataset["severity"] = v.severity;
    setText(this.#badge, v.text);
    this.#badge.className = `health ${tones[v.severity]}`;
    const cluster = a.id["cluster"] === undefined ? "" : ` in ${a.id["cluster"]}`;
    setText(this.#scales, `scales ${a.scales || "an unknown target"}${cluster}`);
    setText(this.#advice, v.advice);
    this.#advice.hidden = v.advice === "";
    this.#link.href = exploreLink(...exploreQueries(a));
    this.#link.setAttribute("aria-label", `Explore ${a.namespace}/${a.name}`);
    const conditions = Object.entries(a.conditions).sort(([x], [y]) => (x < y ? -1 : 1));
    setText(this.#conditions, conditions.length === 0 ? "No status condition yet." : conditions.map(([c, s]) => `${c} ${s}`).join(" · "));
    const n = (x: number | null): string => formatValue(x, "count");
    setText(this.#replicas.head, `${n(a.current)}${a.desired === a.current ? "" : ` → ${n(a.desired)}`} of ${n(a.min)} to ${n(a.max)}`);
    this.#arrangeAims(aimsOf(a));
  }

  /** Asks for the history and for why it is so, and shows them. */
  async load(client: Client, grid: Grid, signal: AbortSignal): Promise<void> {
    await Promise.all([this.#loadHistory(client, grid, signal), this.#loadWhy(client, grid, signal)]);
  }

  async #loadWhy(client: Client, grid: Grid, signal: AbortSignal): Promise<void> {
    let x: Explanation | null;
    try {
      x = await explain(client, this.#a.namespace, this.#a.name, grid.end - grid.start, signal);
    } catch (err) {
      if (!(err instanceof APIError) || err.failure !== "api") throw err;
      x = { why: [`Why it is so cannot be told: ${err.message}`], notes: [], events: [] };
    }
    list(this.#why, x ? [...x.why, ...x.notes.map((n) => `Note: ${n}`)] : []);
    const events = x?.events ?? [];
    const at = (time: string): number => Date.parse(time) / 1000;
    list(this.#events, events.slice(-maxEvents).map((e) => `${clock(at(e.time), true)} ${e.reason}: ${e.message}${e.count > 1 ? ` (${e.count} times)` : ""}`));
    for (const p of [this.#replicas, ...this.#aims.values()]) p.chart.mark(events.map((e) => at(e.time)));
  }

  async #loadHistory(client: Client, grid: Grid, signal: AbortSignal): Promise<void> {
    let history: Frame;
    try {
      const { data } = await client.queryRange(historyQuery(this.#a), { ...grid, limit: maxSeries }, signal);
      history = frameOf(data, grid, "");
    } catch (err) {
      if (!(err instanceof APIError) || err.failure !== "api") throw err;
      for (const p of [this.#replicas, ...this.#aims.values()]) say(p, `The server answers: ${err.message}`);
      return;
    }
    // A young server has little to show: charts begin where its data does.
    const min = Math.max(grid.start, Math.min(grid.end - 120, firstTime(history) ?? grid.end));
    draw(this.#replicas, replicaFrame(history), min, grid.end, "No replicas in this time.");
    for (const x of aimsOf(this.#a)) {
      const p = this.#aims.get(keyOf(x));
      if (p) draw(p, aimFrame(history, x), min, grid.end, "No value in this time.");
    }
  }

  destroy(): void {
    for (const p of [this.#replicas, ...this.#aims.values()]) p.chart.destroy();
  }

  #arrangeAims(aims: Aim[]): void {
    const keys = new Set(aims.map(keyOf));
    for (const [key, p] of this.#aims) {
      if (keys.has(key)) continue;
      p.chart.destroy();
      this.#aims.delete(key);
    }
    for (const x of aims) {
      const unit = aimUnit(x);
      const p = this.#aims.get(keyOf(x)) ?? plot(`${aimName(x)} of ${this.#a.name}`, aimName(x), unit, this.#a.key, (label) => label === "target");
      this.#aims.set(keyOf(x), p);
      const given = x.given === null ? "no value" : formatValue(x.given, unit);
      setText(p.head, `${given} for ${formatValue(x.target, unit)}${x.type === "average" ? " a pod" : ""}`);
      p.head.classList.toggle("bad", x.given === null && verdict(this.#a).severity === "bad");
    }
    arrange(this.#grid, [...aims.map((x) => (this.#aims.get(keyOf(x)) as Plot).el), this.#replicas.el]);
  }
}

const keyOf = (x: Aim): string => `${x.metric}\n${x.type}\n${x.container}`;

function plot(title: string, heading: string, unit: ReturnType<typeof aimUnit>, sync: string, dashed: (label: string) => boolean): Plot {
  const head = h("span", { class: "headline" });
  const note = h("p", { class: "note" }, "Loading …");
  const chart = new Chart({
    title,
    unit,
    stacked: false,
    worstFirst: false,
    sync,
    fromZero: true,
    height: chartHeight,
    dashed: (s) => dashed(s.label),
    stepped: heading === "Replicas",
  });
  chart.el.hidden = true;
  return { el: h("section", { class: "panel" }, h("header", {}, h("h3", {}, heading), head), note, chart.el), chart, note, head };
}

/** Fills a list; an empty one is not there. */
function list(el: HTMLElement, lines: string[]): void {
  el.hidden = lines.length === 0;
  while (el.children.length > lines.length) el.lastElementChild?.remove();
  lines.forEach((line, i) => setText((el.children[i] as HTMLElement | undefined) ?? el.appendChild(h("li", {})), line));
}

function say(p: Plot, text: string): void {
  setText(p.note, text);
  p.note.hidden = text === "";
}

function draw(p: Plot, frame: Frame, min: number, max: number, empty: string): void {
  const has = frame.series.length > 0;
  p.chart.el.hidden = !has;
  say(p, has ? "" : empty);
  if (has) p.chart.update(frame, min, max);
}
