// A chart of one frame: uPlot draws, the legend beside it names and values.

import uPlot from "uplot";
import { arrange, h, setText } from "./dom.ts";
import { axisLabels, clock, formatValue, type Unit } from "./format.ts";
import { latest, stack, type Frame, type Series } from "./frame.ts";

export interface ChartOptions {
  title: string;
  unit: Unit;
  stacked: boolean;
  /** The scale's end where the quantity has one. */
  max?: number | undefined;
  /** Legend in descending order of value. */
  worstFirst: boolean;
  /** Charts with the same key show the same time under the pointer. */
  sync?: string;
  /** The value scale starts at zero; false lets it fit the data. */
  fromZero: boolean;
  height: number;
  /** Told the time under the pointer, or null when there is none. */
  onHover?: (time: number | null) => void;
  /** Told the times (seconds) over which the pointer was drawn; without it, drawing does nothing. */
  onSelect?: (start: number, end: number) => void;
  /** Limits and targets, drawn as dashes. */
  dashed?: (s: Series) => boolean;
  /** Counts keep their value until they change, and are drawn so. */
  stepped?: boolean;
}

const colours = 8;
const byteSteps = Array.from({ length: 55 }, (_, i) => 2 ** i);
const ratioSteps = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10];
const countSteps = Array.from({ length: 12 }, (_, i) => [1, 2, 5].map((m) => m * 10 ** i)).flat();

/** A colour by meaning, for names that have one everywhere. */
function tone(label: string): string | null {
  if (/^5\d\d$|^Failed$|^Unknown$|^steal$/.test(label)) return "--bad-line";
  if (/^4\d\d$|^Pending$|Pressure$|^iowait$/.test(label)) return "--warn-line";
  if (/^2\d\d$|^Running$|^Ready$/.test(label)) return "--ok-line";
  if (label === "available" || label === "Succeeded") return "--quiet-line";
  return null;
}

function cssVar(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class Chart {
  readonly el: HTMLElement;
  readonly #o: ChartOptions;
  readonly #plotEl: HTMLElement;
  readonly #legend: HTMLUListElement;
  readonly #rows = new Map<string, { el: HTMLLIElement; value: HTMLElement; label: HTMLElement; swatch: HTMLElement }>();
  readonly #colour = new Map<string, string>();
  readonly #resize: ResizeObserver;
  readonly #dark = matchMedia("(prefers-color-scheme: dark)");
  #plot: uPlot | null = null;
  #drawn = "";
  #frame: Frame = { times: [], series: [] };
  #span: [number, number] = [0, 1];
  #marks: readonly number[] = [];
  #hover: number | null = null;

  constructor(options: ChartOptions) {
    this.#o = options;
    this.#plotEl = h("div", { class: "plot", role: "img", "aria-label": options.title });
    this.#plotEl.style.height = `${options.height}px`;
    this.#legend = h("ul", { class: "legend", "aria-label": `Series of ${options.title}`, tabindex: 0 });
    this.el = h("div", { class: "chart" }, this.#plotEl, this.#legend);
    this.#resize = new ResizeObserver(() => {
      const width = this.#plotEl.clientWidth;
      if (this.#plot && width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: options.height });
      else if (!this.#plot) this.#draw();
    });
    this.#resize.observe(this.#plotEl);
    this.#dark.addEventListener("change", this.#redraw);
  }

  /** Shows a frame over the times from `min` to `max` (seconds). */
  update(frame: Frame, min: number, max: number): void {
    this.#frame = frame;
    this.#span = [min, max];
    this.#draw();
    this.#showLegend();
  }

  /** Draws a line across the plot at each of these times (seconds). */
  mark(times: readonly number[]): void {
    this.#marks = times;
    this.#plot?.redraw(false);
  }

  destroy(): void {
    this.#resize.disconnect();
    this.#dark.removeEventListener("change", this.#redraw);
    this.#plot?.destroy();
    this.#plot = null;
  }

  readonly #redraw = (): void => {
    this.#drawn = "";
    this.#colour.clear();
    this.#draw();
    this.#showLegend();
  };

  #draw(): void {
    const width = this.#plotEl.clientWidth;
    if (width === 0 || this.#frame.times.length === 0) return;
    const { series, times } = this.#frame;
    this.#pickColours(series);
    const values = this.#o.stacked ? stack(series) : series.map((s) => s.values);
    const data = [times, ...values] as uPlot.AlignedData;
    const drawn = series.map((s) => s.key).join("\n");
    const [min, max] = this.#span;
    if (this.#plot && drawn === this.#drawn) {
      this.#plot.batch((u: uPlot) => {
        u.setData(data, false);
        u.setScale("x", { min, max });
      });
      return;
    }
    this.#plot?.destroy();
    this.#drawn = drawn;
    this.#plot = new uPlot(this.#options(width, series), data, this.#plotEl);
    this.#plot.setScale("x", { min, max });
  }

  /** A series keeps its colour for as long as the chart lives. */
  #pickColours(series: Series[]): void {
    const live = new Set(series.map((s) => s.key));
    for (const key of this.#colour.keys()) if (!live.has(key)) this.#colour.delete(key);
    const used = new Set(this.#colour.values());
    for (const s of series) {
      if (this.#colour.has(s.key)) continue;
      // Limits and targets stand behind what is measured against them.
      if (this.#o.dashed?.(s)) {
        this.#colour.set(s.key, "--quiet-line");
        continue;
      }
      const meaning = tone(s.label);
      let pick = meaning !== null && !used.has(meaning) ? meaning : null;
      for (let i = 1; pick === null && i <= colours; i++) if (!used.has(`--s${i}`)) pick = `--s${i}`;
      pick ??= `--s${(this.#colour.size % colours) + 1}`;
      used.add(pick);
      this.#colour.set(s.key, pick);
    }
  }

  #options(width: number, series: Series[]): uPlot.Options {
    const grid = { stroke: cssVar("--grid"), width: 1 };
    const axis = { stroke: cssVar("--dim"), grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const { unit, stacked } = this.#o;
    const steps = this.#o.stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    return {
      width,
      height: this.#o.height,
      legend: { show: false },
      // Room for the half of the last time that stands beyond the plot.
      padding: [8, 20, 0, 0],
      cursor: {
        y: false,
        drag: { x: this.#o.onSelect !== undefined, y: false, setScale: false },
        points: { size: 6 },
        ...(this.#o.sync === undefined ? {} : { sync: { key: this.#o.sync, scales: ["x", null] as [string, null] } }),
      },
      scales: { x: { time: true, auto: false }, y: { range: (_u, min, max) => this.#range(min, max) } },
      axes: [
        { ...axis, space: 64, size: 24, gap: 4, values: (_u, splits, _a, _s, incr) => axisLabels(splits, incr) },
        {
          ...axis,
          space: 32,
          gap: 6,
          ...(unit === "bytes" || unit === "bytes/s" ? { incrs: byteSteps } : {}),
          ...(unit === "ratio" ? { incrs: ratioSteps } : {}),
          ...(unit === "count" ? { incrs: countSteps } : {}),
          values: (_u, splits) => splits.map((v) => formatValue(v, unit)),
          size: (_u, values) => Math.max(34, ...(values ?? []).map((v) => v.length * 6.4 + 14)),
        },
      ],
      series: [
        {},
        ...series.map((s) => {
          const stroke = cssVar(this.#colour.get(s.key) ?? "--s1");
          // A lone point between holes would not be seen as a line.
          const points = { show: s.values.filter((v) => v !== null).length < 3 };
          return {
            label: s.label,
            stroke,
            width: 1.5,
            points,
            ...(stacked ? { fill: `${stroke}66` } : {}),
            ...(this.#o.dashed?.(s) ? { dash: [5, 4] } : {}),
            ...(steps ? { paths: steps } : {}),
          };
        }),
      ],
      ...(stacked ? { bands: series.slice(1).map((_, i) => ({ series: [i + 2, i + 1] as [number, number] })) } : {}),
      hooks: { draw: [(u) => this.#drawMarks(u)], setCursor: [(u) => this.#onCursor(u)], setSelect: [(u) => this.#onSelect(u)] },
    };
  }

  #drawMarks(u: uPlot): void {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = cssVar("--dim");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const t of this.#marks) {
      const x = Math.round(u.valToPos(t, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  #range(min: number | null, max: number | null): [number, number] {
    if (this.#o.max !== undefined) return [0, this.#o.max];
    if (min === null || max === null) return [0, 1];
    if (this.#o.fromZero && min >= 0) return [0, max > 0 ? max * 1.08 : this.#o.unit === "ratio" ? 0.1 : 1];
    const [lo, hi] = uPlot.rangeNum(min, max, 0.08, true);
    return [lo ?? 0, hi ?? 1];
  }

  #onCursor(u: uPlot): void {
    const at = u.cursor.idx ?? null;
    const inside = (u.cursor.left ?? -1) >= 0;
    const next = inside ? at : null;
    if (next === this.#hover) return;
    this.#hover = next;
    this.#showLegend();
    this.#o.onHover?.(next === null ? null : (this.#frame.times[next] ?? null));
  }

  #onSelect(u: uPlot): void {
    const { left, width } = u.select;
    // Less is a click.
    if (width < 6) return;
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#o.onSelect?.(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
  }

  #valueOf(s: Series): number | null {
    return this.#hover === null ? latest(s) : (s.values[this.#hover] ?? null);
  }

  #showLegend(): void {
    const series = [...this.#frame.series];
    if (this.#o.worstFirst && this.#hover === null) {
      series.sort((a, b) => (latest(b) ?? -Infinity) - (latest(a) ?? -Infinity));
    }
    const items = series.map((s) => {
      const row = this.#rows.get(s.key) ?? this.#newRow(s.key);
      row.swatch.style.background = cssVar(this.#colour.get(s.key) ?? "--s1");
      setText(row.label, s.label);
      row.label.title = s.label;
      setText(row.value, formatValue(this.#valueOf(s), this.#o.unit));
      return row.el;
    });
    const shown = new Set(series.map((s) => s.key));
    for (const key of this.#rows.keys()) if (!shown.has(key)) this.#rows.delete(key);
    if (this.#hover === null || this.#legend.children.length !== items.length) arrange(this.#legend, items);
    const scrolls = this.#legend.scrollHeight > this.#legend.clientHeight + 1;
    this.#legend.tabIndex = scrolls ? 0 : -1;
    const now = series.slice(0, 4).map((s) => `${s.label} ${formatValue(latest(s), this.#o.unit)}`);
    const [min, max] = this.#span;
    this.#plotEl.setAttribute("aria-label", `${this.#o.title}, ${clock(min, false)} to ${clock(max, false)}: ${now.join(", ")}`);
  }

  #newRow(key: string): { el: HTMLLIElement; value: HTMLElement; label: HTMLElement; swatch: HTMLElement } {
    const swatch = h("span", { class: "swatch" });
    const label = h("span", { class: "label" });
    const value = h("span", { class: "value" });
    const row = { el: h("li", {}, swatch, label, value), value, label, swatch };
    this.#rows.set(key, row);
    return row;
  }
}
