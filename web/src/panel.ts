// One panel of the overview: its queries carried on from tick to tick, and its chart.

import { APIError, type Client } from "./api.ts";
import { Carrier } from "./carry.ts";
import { Chart } from "./chart.ts";
import { h, setText } from "./dom.ts";
import { clock } from "./format.ts";
import { firstTime, join, type Frame, type Grid } from "./frame.ts";
import { expand, type Panel, type Vars } from "./layers.ts";

export interface Tick {
  client: Client;
  grid: Grid;
  vars: Vars;
  signal: AbortSignal;
}

export class PanelView {
  readonly el: HTMLElement;
  readonly #chart: Chart;
  readonly #head: HTMLElement;
  readonly #note: HTMLElement;
  readonly #carrier = new Carrier();
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
      const exact = this.#panel.top ?? false;
      const asks = this.#panel.queries.map((q) => ({ ...tick, expr: expand(q.expr, tick.vars), legend: q.legend, exact }));
      const answers = await Promise.all(asks.map((a) => this.#carrier.fetch(a)));
      this.#carrier.retain(asks.map((a) => a.expr));
      this.#frame = join(answers.map((a) => a.frame), this.#panel.order);
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

  #say(text: string, bad: boolean): void {
    setText(this.#note, text);
    this.#note.hidden = text === "";
    this.#note.classList.toggle("bad", bad);
  }
}
