// One panel of the overview: its queries carried on from tick to tick, and its chart.

import { APIError, type Client } from "./api.ts";
import { Chart } from "./chart.ts";
import { h, setText } from "./dom.ts";
import { clock } from "./format.ts";
import { carryOn, firstTime, frameOf, join, type Frame, type Grid } from "./frame.ts";
import { expand, type Panel, type Vars } from "./layers.ts";

export interface Tick {
  client: Client;
  grid: Grid;
  vars: Vars;
  signal: AbortSignal;
}

/** Steps that are asked again, since samples of the last moments may come late. */
const overlap = 12;

export class PanelView {
  readonly el: HTMLElement;
  readonly #chart: Chart;
  readonly #head: HTMLElement;
  readonly #note: HTMLElement;
  readonly #known = new Map<string, Frame>();
  #panel: Panel;
  #frame: Frame | null = null;
  #headline = "";

  constructor(panel: Panel) {
    this.#panel = panel;
    this.#head = h("span", { class: "headline" });
    this.#note = h("p", { class: "note", hidden: true });
    this.#chart = new Chart({
      title: panel.title,
      unit: panel.unit,
      stacked: panel.stacked ?? false,
      max: panel.max,
      worstFirst: panel.worstFirst ?? false,
      sync: "overview",
      fromZero: true,
      height: 132,
      onHover: (t) => setText(this.#head, t === null ? this.#headline : clock(t, true)),
    });
    this.el = h(
      "section",
      { class: panel.worstFirst ? "panel list" : "panel", "data-panel": panel.id },
      h("header", {}, h("h3", {}, panel.title), this.#head),
      this.#note,
      this.#chart.el,
    );
  }

  /** The same panel over other names of its series. */
  redefine(panel: Panel): void {
    this.#panel = panel;
  }

  get hasData(): boolean {
    return (this.#frame?.series.length ?? 0) > 0;
  }

  /** The time of the oldest point shown, or null. */
  get first(): number | null {
    return this.#frame === null ? null : firstTime(this.#frame);
  }

  /** Asks for what is new. An error of the API is shown here; one of the connection is for the caller. */
  async load(tick: Tick): Promise<void> {
    try {
      const frames = await Promise.all(this.#panel.queries.map((q) => this.#fetch(expand(q.expr, tick.vars), q.legend, tick)));
      this.#frame = join(frames, this.#panel.order);
      this.#say(this.hasData ? "" : this.#panel.empty, false);
    } catch (err) {
      if (!(err instanceof APIError) || err.failure !== "api") throw err;
      this.#say(`The server answers: ${err.message}`, true);
    }
  }

  /** Draws what is loaded over the times from `min` to `max`. */
  show(min: number, max: number): void {
    this.#chart.el.hidden = !this.hasData;
    if (this.#frame === null || !this.hasData) return;
    const order = [...this.#frame.series];
    if (this.#panel.worstFirst) order.sort((a, b) => (b.values.at(-1) ?? -1) - (a.values.at(-1) ?? -1));
    this.#headline = this.#panel.headline?.(order) ?? "";
    setText(this.#head, this.#headline);
    this.#chart.update(this.#frame, min, max);
  }

  destroy(): void {
    this.#chart.destroy();
  }

  async #fetch(expr: string, legend: string, tick: Tick): Promise<Frame> {
    const { grid, client, signal } = tick;
    const old = this.#known.get(expr);
    const window = grid.end - grid.start;
    const lastTime = old?.times.at(-1);
    if (old && lastTime !== undefined) {
      const start = Math.max(grid.start, lastTime - overlap * grid.step);
      const part = { ...grid, start };
      const fresh = frameOf((await client.queryRange(expr, part, signal)).data, part, legend);
      const carried = carryOn(old, fresh, window, this.#panel.top ?? false);
      if (carried) return this.#keep(expr, carried);
    }
    return this.#keep(expr, frameOf((await client.queryRange(expr, grid, signal)).data, grid, legend));
  }

  #keep(expr: string, frame: Frame): Frame {
    // Only the queries of the panel as it is now are worth keeping.
    if (this.#known.size >= this.#panel.queries.length && !this.#known.has(expr)) this.#known.clear();
    this.#known.set(expr, frame);
    return frame;
  }

  #say(text: string, bad: boolean): void {
    setText(this.#note, text);
    this.#note.hidden = text === "";
    this.#note.classList.toggle("bad", bad);
  }
}
