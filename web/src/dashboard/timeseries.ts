// Time series panels: uPlot draws lines, bars and points as fieldConfig says.

import uPlot from "uplot";
import { h } from "../dom.ts";
import { axisLabels, clock } from "../format.ts";
import { faded, painted } from "./colours.ts";
import type { Line, Loaded } from "./data.ts";
import { at, num, str } from "./json.ts";
import { Legend } from "./legend.ts";
import type { Panel } from "./model.ts";
import { reduce } from "./reduce.ts";
import type { Body, BodyOptions } from "./body.ts";
import { stacks, type Stacked } from "./stacks.ts";
import { Tooltip } from "./tooltip.ts";
import { stepsOf } from "./units.ts";

const binarySteps = Array.from({ length: 60 }, (_, i) => 2 ** i);
const timeSteps = [1e-9, 1e-6, 1e-3].flatMap((u) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * u)).concat([1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 31536000]);

export class TimeSeries implements Body {
  readonly el: HTMLElement;
  readonly #panel: Panel;
  readonly #o: BodyOptions;
  readonly #place: HTMLElement;
  readonly #legend: Legend;
  readonly #tip = new Tooltip();
  readonly #colours = new Map<string, string>();
  readonly #resize: ResizeObserver;
  readonly #dark = matchMedia("(prefers-color-scheme: dark)");
  #plot: uPlot | null = null;
  #drawn = "";
  #data: Loaded | null = null;
  #lines: Line[] = [];

  constructor(panel: Panel, o: BodyOptions) {
    this.#panel = panel;
    this.#o = o;
    this.#place = h("div", { class: "d-plot", role: "img" });
    this.#legend = new Legend(panel, () => this.#draw());
    const plotBox = h("div", { class: "d-plotbox" }, this.#place, this.#tip.el);
    this.el = h("div", { class: this.#legend.options.right ? "d-chart d-right" : "d-chart" }, plotBox, this.#legend.el);
    this.#resize = new ResizeObserver(() => this.#draw());
    this.#resize.observe(this.#place);
    this.#dark.addEventListener("change", this.#redraw);
  }

  show(data: Loaded): void {
    this.#data = data;
    this.#draw();
  }

  destroy(): void {
    this.#resize.disconnect();
    this.#dark.removeEventListener("change", this.#redraw);
    this.#plot?.destroy();
    this.#plot = null;
  }

  readonly #redraw = (): void => {
    this.#drawn = "";
    this.#draw();
  };

  #draw(): void {
    const data = this.#data;
    if (!data) return;
    this.#pickColours(data.lines);
    this.#legend.show(data, this.#colours);
    const { clientWidth: width, clientHeight: height } = this.#place;
    if (width < 20 || height < 20 || data.times.length === 0) return;
    const visible = data.lines.filter((l) => at(l.field.custom, "hideFrom", "viz") !== true && (this.#legend.only === null || l.key === this.#legend.only));
    const stacked = stacks(visible);
    this.#lines = stacked.map((s) => s.line);
    const shape = stacked.map((s) => `${s.line.key} ${this.#colours.get(s.line.key)} ${s.below ?? ""}`).join("\n") + stepOf(data.times);
    const values = [data.times, ...stacked.map((s) => s.values)] as uPlot.AlignedData;
    if (this.#plot && shape === this.#drawn) {
      if (this.#plot.width !== width || this.#plot.height !== height) this.#plot.setSize({ width, height });
      this.#plot.batch((u: uPlot) => {
        u.setData(values, false);
        u.setScale("x", { min: data.from, max: data.to });
      });
    } else {
      this.#plot?.destroy();
      this.#drawn = shape;
      this.#plot = new uPlot(this.#options(width, height, stacked), values, this.#place);
      this.#plot.setScale("x", { min: data.from, max: data.to });
    }
    this.#describe(data);
  }

  #describe(data: Loaded): void {
    const now = data.lines.slice(0, 4).map((l) => {
      const shown = l.field.show(reduce("lastNotNull", l.values));
      return `${l.name} ${shown.text}${shown.suffix}`;
    });
    const more = data.lines.length > 4 ? ` and ${data.lines.length - 4} more` : "";
    this.#place.setAttribute("aria-label", `${this.#o.title()}, ${clock(data.from, false)} to ${clock(data.to, false)}: ${now.join(", ")}${more}`);
  }

  #pickColours(lines: Line[]): void {
    this.#colours.clear();
    for (const l of lines) {
      const by = str(at(l.field.config, "color", "seriesBy"), "last");
      const calc = by === "min" || by === "max" ? by : "lastNotNull";
      this.#colours.set(l.key, l.field.colour(reduce(calc, l.values)));
    }
  }

  #options(width: number, height: number, stacked: Stacked[]): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const scales = scalesOf(this.#lines);
    const grid = { stroke: painted("var(--grid)", style), width: 1 };
    const axis = { stroke: painted("var(--dim)", style), ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width,
      height,
      legend: { show: false },
      padding: [8, scales.length > 1 ? 0 : 12, 0, 0],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        points: { size: 6 },
        ...(this.#o.sync === "" ? {} : { sync: { key: this.#o.sync, scales: ["x", null] as [string, null] } }),
      },
      scales: {
        x: { time: true, auto: false },
        ...Object.fromEntries(scales.map((s) => [s.key, { ...(s.log ? { distr: 3 as const, log: 10 as const } : {}), range: (_u: uPlot, min: number | null, max: number | null) => rangeOf(s.lines, min, max) }])),
      },
      axes: [
        { ...axis, grid, space: 64, size: 26, gap: 7, values: (_u, splits, _a, _s, incr) => axisLabels(splits, incr) },
        ...scales.map((s, i): uPlot.Axis => this.#axis(s, i, axis, grid)),
      ],
      series: [{}, ...stacked.map((s) => this.#series(s, scales, style))],
      bands: stacked.flatMap((s, i) => (s.below === null ? [] : [{ series: [i + 1, s.below + 1] as [number, number] }])),
      hooks: {
        setCursor: [(u) => this.#onCursor(u)],
        setSelect: [(u) => this.#onSelect(u)],
        drawClear: [(u) => drawThresholds(u, scales, style, true)],
        draw: [(u) => drawThresholds(u, scales, style, false)],
      },
    };
  }

  #axis(s: Scale, i: number, axis: uPlot.Axis, grid: uPlot.Axis.Grid): uPlot.Axis {
    const field = (s.lines[0] as Line).field;
    const steps = stepsOf(field.unit);
    const label = str(field.custom["axisLabel"]);
    const percent = inPercent(field.custom);
    return {
      ...axis,
      scale: s.key,
      side: s.right ? 1 : 3,
      show: str(field.custom["axisPlacement"]) !== "hidden",
      grid: i === 0 ? grid : { show: false },
      space: 30,
      gap: 6,
      ...(label === "" ? {} : { label, labelSize: 18, labelFont: "11px system-ui, sans-serif", labelGap: 0 }),
      ...(steps === "binary" && !s.log ? { incrs: binarySteps } : steps === "time" && !s.log ? { incrs: timeSteps } : {}),
      values: (_u, splits) => splits.map((v) => (v === null ? "" : percent ? `${Math.round(v * 1000) / 10}%` : written(field.show(v)))),
      size: (_u, values) => Math.max(34, ...(values ?? []).map((v) => (v ?? "").length * 6.4 + 14)),
    };
  }

  #series(s: Stacked, scales: Scale[], style: CSSStyleDeclaration): uPlot.Series {
    const { custom } = s.line.field;
    const stroke = painted(this.#colours.get(s.line.key) ?? "var(--s1)", style);
    const draw = str(custom["drawStyle"], "line");
    const opacity = num(custom["fillOpacity"]) ?? 0;
    const width = num(custom["lineWidth"]) ?? 1;
    const dash = at(custom, "lineStyle", "dash");
    const few = s.line.values.filter((v) => v !== null).length < 3;
    const points = draw === "points" || str(custom["showPoints"]) === "always" || few;
    const paths = pathsOf(draw, str(custom["lineInterpolation"]));
    return {
      label: s.line.name,
      scale: scales.find((x) => x.lines.includes(s.line))?.key ?? "y",
      stroke,
      width: draw === "points" ? 0 : Math.max(width, draw === "bars" ? 1 : 0) * (width === 1 ? 1.4 : 1),
      points: { show: points, size: Math.max(4, num(custom["pointSize"]) ?? 5), ...(draw === "points" ? { fill: stroke } : {}) },
      spanGaps: custom["spanNulls"] === true || (typeof custom["spanNulls"] === "number" && custom["spanNulls"] > 0),
      ...(str(at(custom, "lineStyle", "fill")) === "dash" ? { dash: Array.isArray(dash) ? dash.map(Number) : [8, 6] } : {}),
      ...(opacity > 0 || draw === "bars" ? { fill: faded(stroke, draw === "bars" ? Math.max(opacity, 40) : opacity) } : {}),
      ...(paths ? { paths } : {}),
    };
  }

  #onCursor(u: uPlot): void {
    const i = u.cursor.idx ?? null;
    const [x, y] = [u.cursor.left ?? -1, u.cursor.top ?? -1];
    // Of another chart's pointer only the line is shown.
    const own = u.cursor.event !== null && u.cursor.event !== undefined && this.#place.matches(":hover");
    if (i === null || x < 0 || !own || !this.#data || str(at(this.#panel.options, "tooltip", "mode")) === "none") return this.#tip.hide();
    const offset = u.bbox.left / devicePixelRatio;
    const place = { x: x + offset, y, width: this.#place.clientWidth, height: this.#place.clientHeight };
    this.#tip.show(this.#data.times[i] ?? 0, i, this.#lines, this.#colours, place);
  }

  #onSelect(u: uPlot): void {
    const { left, width } = u.select;
    if (width < 4) return;
    const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from >= 1) this.#o.onZoom(from, to);
  }
}

const stepOf = (times: number[]): string => String(times.length < 2);
const written = (s: { text: string; suffix: string }): string => s.text + s.suffix;

function pathsOf(draw: string, interpolation: string): uPlot.Series.PathBuilder | undefined {
  const { paths } = uPlot;
  if (draw === "bars") return paths.bars?.({ size: [0.85, 60] });
  if (draw === "points") return paths.points?.();
  if (interpolation === "smooth") return paths.spline?.();
  if (interpolation === "stepBefore") return paths.stepped?.({ align: -1 });
  if (interpolation === "stepAfter") return paths.stepped?.({ align: 1 });
  return undefined;
}

/** Stacked parts of a whole: the scale ends at all of it. */
const inPercent = (custom: unknown): boolean => str(at(custom, "stacking", "mode")) === "percent";

interface Scale {
  key: string;
  right: boolean;
  log: boolean;
  lines: Line[];
}

/** One scale a unit, at most two: the second stands on the right. */
function scalesOf(lines: Line[]): Scale[] {
  const out: Scale[] = [];
  for (const l of lines) {
    const right = str(l.field.custom["axisPlacement"]) === "right";
    const key = `${l.field.unit}|${right}`;
    const known = out.find((s) => s.key === key) ?? (out.length >= 2 ? out.at(-1) : undefined);
    if (known) known.lines.push(l);
    else out.push({ key, right: right || out.length > 0, log: str(at(l.field.custom, "scaleDistribution", "type")) === "log", lines: [l] });
  }
  return out.length > 0 ? out : [];
}

/** The ends of a value scale: as configured, from zero where zero is near or an area is filled. */
export function rangeOf(lines: readonly Pick<Line, "field">[], low: number | null, high: number | null): [number, number] {
  const first = lines[0]?.field;
  const soft = (name: string): number | null => num(first?.custom[name]);
  if (inPercent(first?.custom)) return [0, 1];
  let min = low ?? 0;
  let max = high ?? 1;
  min = Math.min(min, soft("axisSoftMin") ?? min);
  max = Math.max(max, soft("axisSoftMax") ?? max);
  const filled = lines.some((l) => (num(l.field.custom["fillOpacity"]) ?? 0) > 0 || str(at(l.field.custom, "stacking", "mode"), "none") !== "none" || str(l.field.custom["drawStyle"]) === "bars");
  const log = str(at(first?.custom, "scaleDistribution", "type")) === "log";
  if (!log && min === 0 && max === 0) max = 1 / 1.06;
  if (!log && min > 0 && (filled || min < max * 0.6)) min = 0;
  if (!log && max < 0 && filled) max = 0;
  const pad = log ? 0 : (max - min || Math.abs(max) || 1) * 0.06;
  let to = max === 0 && min < 0 ? 0 : max + pad;
  let from = min === 0 || log ? min : min - pad;
  from = first?.min ?? from;
  to = first?.max ?? to;
  return to > from ? [from, to] : [from, from + 1];
}

/** Lines or areas of thresholds, as custom.thresholdsStyle asks. */
function drawThresholds(u: uPlot, scales: Scale[], style: CSSStyleDeclaration, areas: boolean): void {
  const s = scales[0];
  const field = s?.lines[0]?.field;
  const mode = str(at(field?.custom, "thresholdsStyle", "mode"), "off");
  if (!s || !field || mode === "off" || mode === "series") return;
  if (areas ? !mode.includes("area") : !/line|dashed/.test(mode)) return;
  const { left, top, width, height } = u.bbox;
  const { ctx } = u;
  const [min, max] = [u.scales[s.key]?.min ?? 0, u.scales[s.key]?.max ?? 1];
  const steps = field.steps(min, max);
  ctx.save();
  steps.forEach((t, i) => {
    const colour = painted(t.colour, style);
    if (colour === "transparent") return;
    const y = (v: number): number => Math.max(top, Math.min(top + height, u.valToPos(Math.max(min, Math.min(max, v)), s.key, true)));
    if (areas) {
      const next = steps[i + 1]?.value ?? Infinity;
      ctx.fillStyle = faded(colour, 10);
      ctx.fillRect(left, y(next), width, y(t.value) - y(next));
    } else if (t.value > min && t.value < max) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = devicePixelRatio * 1.4;
      ctx.setLineDash(mode.includes("dashed") ? [8 * devicePixelRatio, 6 * devicePixelRatio] : []);
      ctx.beginPath();
      ctx.moveTo(left, y(t.value));
      ctx.lineTo(left + width, y(t.value));
      ctx.stroke();
    }
  });
  ctx.restore();
}
