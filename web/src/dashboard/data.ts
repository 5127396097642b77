// What a panel shows: its queries with variables written in, asked, named and reduced.

import { APIError, sampleNumber, type Answer, type Client, type InstantData, type Labels } from "../api.ts";
import { Carrier } from "../carry.ts";
import { formatSeries } from "../format.ts";
import { gridOf, stepFor, type Frame, type Grid } from "../frame.ts";
import { configOf, Field } from "./field.ts";
import { instantTable, seriesTables, type Table } from "./frames.ts";
import { inQuery, inText, plain, type Scope } from "./interpolate.ts";
import type { Panel, Target } from "./model.ts";
import { intervalFor, rateInterval, type Intervals } from "./scrapeinterval.ts";
import { durationText, seconds } from "./time.ts";
import { transform } from "./transform.ts";

/** Lines that a chart draws; more are neither seen nor told apart. */
export const maxLines = 200;
/** Rows that a table is asked for. */
export const maxRows = 2000;

/** The moment and circumstances of asking. */
export interface Moment {
  client: Client;
  from: number;
  to: number;
  scope: Scope;
  intervals: Intervals;
  signal: AbortSignal;
}

export interface Line {
  key: string;
  name: string;
  labels: Labels;
  refId: string;
  values: (number | null)[];
  field: Field;
}

export interface Loaded {
  times: number[];
  from: number;
  to: number;
  lines: Line[];
  tables: Table[];
  /** The queries as they were asked. */
  exprs: string[];
  /** What the reader should know: limits, remarks of the server, what is not applied. */
  notes: string[];
  /** What the engine says of queries that failed beside others that did not. */
  errors: string[];
}

interface Result {
  target: Target;
  expr: string;
  frame: Frame | null;
  instant: InstantData | null;
  shown: number;
  /** Series there are; null when all are shown. */
  total: number | null;
  warnings: string[];
}

/** Panel types whose data are rows. */
export const isTable = (type: string): boolean => type === "table" || type === "table-old";

/** Names that stand for themselves in every query of a panel. */
function builtins(from: number, to: number, step: number, rate: number): Record<string, string> {
  return {
    __interval: durationText(step),
    __interval_ms: String(Math.round(step * 1000)),
    __rate_interval: durationText(rate),
    __range: durationText(Math.round(to - from)),
    __range_s: String(Math.round(to - from)),
    __range_ms: String(Math.round((to - from) * 1000)),
    __from: String(Math.round(from * 1000)),
    __to: String(Math.round(to * 1000)),
  };
}

export function withBuiltins(scope: Scope, from: number, to: number, step: number, rate: number, own: Record<string, string> = {}): Scope {
  const known = builtins(from, to, step, rate);
  return (name) => {
    if (Object.hasOwn(own, name)) return { values: [own[name] as string], text: own[name] as string, raw: false, regex: true };
    if (Object.hasOwn(known, name)) return plain(known[name] as string);
    return scope(name);
  };
}

/** The grid of a query: as many points as the panel's width shows, never finer than what is scraped. */
function gridFor(panel: Panel, target: Target, m: Moment, scrape: number): Grid {
  const least = Math.max(scrape, seconds(inText(target.interval || panel.interval, m.scope)) ?? 0);
  const from = panel.timeFrom === "" ? m.from : m.to - (seconds(inText(panel.timeFrom, m.scope)) ?? m.to - m.from);
  const step = stepFor(m.to - from, panel.grid.w >= 10 ? 240 : 120, Math.max(1, Math.ceil(least)));
  return gridOf(m.to, m.to - from, step);
}

export class PanelData {
  readonly #panel: Panel;
  readonly #carrier = new Carrier();
  readonly #totals = new Map<string, { at: number; total: number }>();

  constructor(panel: Panel) {
    this.#panel = panel;
  }

  /** The queries as they would be asked now. */
  exprs(m: Moment): string[] {
    return this.#targets().map((t) => this.#asked(t, m).expr);
  }

  async load(m: Moment): Promise<Loaded> {
    const targets = this.#targets();
    const settled = await Promise.allSettled(targets.map((t) => this.#ask(t, m)));
    const results = settled.flatMap((s) => (s.status === "fulfilled" ? [s.value] : []));
    const failed = settled.flatMap((s, i) => (s.status === "rejected" ? [{ refId: targets[i]?.refId ?? "", reason: s.reason as unknown }] : []));
    // One query's fault leaves the others their place; a lost server is the caller's.
    const fatal = failed.find((f) => !(f.reason instanceof APIError && f.reason.failure === "api")) ?? (results.length === 0 ? failed[0] : undefined);
    if (fatal) throw fatal.reason;
    this.#carrier.retain(results.map((r) => r.expr));
    const loaded: Loaded = { times: [], from: m.from, to: m.to, lines: [], tables: [], exprs: results.map((r) => r.expr), notes: [], errors: failed.map((f) => `Query ${f.refId}: ${String((f.reason as Error).message)}`) };
    if (isTable(this.#panel.type)) this.#makeTables(results, m, loaded);
    else this.#makeLines(results, m, loaded);
    this.#note(results, loaded);
    return loaded;
  }

  #targets(): Target[] {
    return this.#panel.targets.filter((t) => !t.hide && t.foreign === "" && t.expr.trim() !== "");
  }

  #asked(target: Target, m: Moment): { expr: string; grid: Grid; scope: Scope } {
    const first = withBuiltins(m.scope, m.from, m.to, 15, 60, this.#panel.scope);
    const scrape = intervalFor(inQuery(target.expr, first), m.intervals);
    const grid = gridFor(this.#panel, target, m, scrape);
    const scope = withBuiltins(m.scope, m.from, m.to, grid.step, rateInterval(grid.step, scrape), this.#panel.scope);
    return { expr: inQuery(target.expr, scope), grid, scope };
  }

  async #ask(target: Target, m: Moment): Promise<Result> {
    const { expr, grid } = this.#asked(target, m);
    const table = isTable(this.#panel.type);
    if (target.instant || (table && target.format === "table")) return this.#askInstant(target, expr, m, table ? maxRows : maxLines);
    const exact = /\b(topk|bottomk|limitk)\b/.test(expr);
    const got = await this.#carrier.fetch({ client: m.client, expr, legend: `${target.refId} `, grid, signal: m.signal, exact, limit: maxLines + 1 });
    const cut = got.series > maxLines;
    const frame = cut ? { ...got.frame, series: got.frame.series.slice(0, maxLines) } : got.frame;
    const total = cut ? await this.#total(expr, m) : null;
    return { target, expr, frame, instant: null, shown: frame.series.length, total, warnings: got.warnings };
  }

  async #askInstant(target: Target, expr: string, m: Moment, most: number): Promise<Result> {
    const { data, warnings }: Answer<InstantData> = await m.client.query(expr, { time: m.to, limit: most + 1 }, m.signal);
    const n = Array.isArray(data.result) && (data.resultType === "vector" || data.resultType === "matrix") ? data.result.length : 1;
    const cut = n > most;
    if (cut && (data.resultType === "vector" || data.resultType === "matrix")) data.result.length = most;
    return { target, expr, frame: null, instant: data, shown: Math.min(n, most), total: cut ? await this.#total(expr, m) : null, warnings };
  }

  /** How many series a query has that was cut; asked once a minute. */
  async #total(expr: string, m: Moment): Promise<number> {
    const known = this.#totals.get(expr);
    if (known && Date.now() - known.at < 60_000) return known.total;
    const { data } = await m.client.query(`count(${expr}\n)`, { time: m.to }, m.signal);
    const total = data.resultType === "vector" ? sampleNumber(data.result[0]?.value?.[1] ?? "NaN") : NaN;
    this.#totals.set(expr, { at: Date.now(), total });
    return total;
  }

  #makeTables(results: Result[], m: Moment, out: Loaded): void {
    const several = results.length > 1;
    const tables = results.flatMap((r): Table[] => {
      const legend = (labels: Labels): string => this.#legend(r, labels, m, []);
      if (r.instant) return [instantTable(r.instant, r.target.refId, several)];
      return r.frame ? seriesTables({ ...r.frame, series: r.frame.series.map((s) => ({ ...s, label: legend(s.labels) })) }, r.target.refId) : [];
    });
    const done = transform(tables, this.#panel.transformations);
    for (const id of done.unknown) out.notes.push(`The transformation ${id} is not applied here.`);
    out.tables = done.tables.filter((t) => t.columns.length > 0 && (t.columns[0]?.values.length ?? 0) > 0);
  }

  #makeLines(results: Result[], m: Moment, out: Loaded): void {
    const frames = results.map((r) => ({ r, frame: r.frame ?? (r.instant ? instantFrame(r.instant, m.to) : { times: [], series: [] }) }));
    const longest = frames.reduce<number[]>((best, f) => (f.frame.times.length > best.length ? f.frame.times : best), []);
    out.times = longest;
    const room = maxLines;
    for (const { r, frame } of frames) {
      const differing = differingLabels(frame.series.map((s) => s.labels));
      for (const s of frame.series) {
        if (out.lines.length >= room) {
          r.total ??= r.shown;
          continue;
        }
        const base = this.#legend(r, s.labels, m, differing);
        const values = frame.times === longest ? s.values : onTimes(frame.times, s.values, longest);
        out.lines.push(this.#line(base, r.target.refId, s.labels, values, out.lines.length, s.key, m));
      }
    }
    const applied = this.#panel.transformations.filter((t) => !["merge", "organize", "renameByRegex"].includes(t.id));
    for (const t of applied) out.notes.push(`The transformation ${t.id} is not applied here.`);
  }

  #line(base: string, refId: string, labels: Labels, values: (number | null)[], index: number, key: string, m: Moment): Line {
    const config = configOf(this.#panel, { name: base, refId, type: "number" });
    const display = typeof config["displayName"] === "string" ? config["displayName"] : "";
    const name = display === "" ? base : fieldName(display, base, labels, m.scope);
    return { key, name, labels, refId, values, field: new Field(config, index) };
  }

  #legend(r: Pick<Result, "target" | "expr">, labels: Labels, m: Moment, differing: string[]): string {
    const template = r.target.legendFormat;
    if (template !== "" && template !== "__auto") {
      const scope = withBuiltins(m.scope, m.from, m.to, 15, 60, this.#panel.scope);
      const text = inText(template, scope).replace(/\{\{\s*([^{}\s]+)\s*\}\}/g, (_, name: string) => labels[name] ?? "");
      if (text.trim() !== "") return text.trim();
    }
    if (template === "__auto" && differing.length === 1) return labels[differing[0] as string] || formatSeries(labels);
    if (template === "__auto" && differing.length > 1) return formatSeries(Object.fromEntries(differing.filter((d) => labels[d]).map((d) => [d, labels[d] as string])));
    const text = formatSeries(labels);
    return text === "{}" ? r.expr : text;
  }

  #note(results: Result[], out: Loaded): void {
    const cut = results.filter((r) => r.total !== null);
    if (cut.length > 0) {
      const total = results.reduce((sum, r) => sum + Math.max(r.shown, r.total ?? 0), 0);
      const shown = isTable(this.#panel.type) ? results.reduce((sum, r) => sum + r.shown, 0) : out.lines.length;
      const of = Number.isNaN(total) ? "more" : total.toLocaleString("en");
      out.notes.push(`Showing ${shown.toLocaleString("en")} of ${of} series. Aggregate or select in the query to see fewer.`);
    }
    const said = results.flatMap((r) => r.warnings).filter((w) => !w.includes("truncated due to limit") && !w.startsWith("PromQL info"));
    out.notes.push(...new Set(said));
  }
}

/** Grafana's references to a field in its display name. */
function fieldName(template: string, base: string, labels: Labels, scope: Scope): string {
  const own = template
    .replace(/\$\{__field\.labels\.([^}]+)\}|\$\{__field\.labels\["([^"]+)"\]\}/g, (_, a?: string, b?: string) => labels[(a ?? b) as string] ?? "")
    .replace(/\$\{__(field|series)\.(name|displayName)\}|\$__series_name/g, base);
  return inText(own, scope).trim() || base;
}

/** Names of labels that are not the same in all series. */
export function differingLabels(all: Labels[]): string[] {
  const names = [...new Set(all.flatMap((l) => Object.keys(l)))].sort();
  return names.filter((n) => all.some((l) => l[n] !== all[0]?.[n]));
}

/** An instant result as a frame of one time. */
function instantFrame(data: InstantData, time: number): Frame {
  if (data.resultType === "scalar") return { times: [time], series: [{ key: "scalar", label: "", labels: {}, values: [finite(data.result[1])] }] };
  if (data.resultType === "string") return { times: [], series: [] };
  const series = data.result.map((s) => ({ key: formatSeries(s.metric), label: "", labels: s.metric, values: [s.value ? finite(s.value[1]) : null] }));
  return { times: [time], series };
}

function finite(text: string): number | null {
  const v = sampleNumber(text);
  return Number.isFinite(v) ? v : null;
}

/** Values at their own times put on other ones. */
function onTimes(from: number[], values: (number | null)[], to: number[]): (number | null)[] {
  if (from.length === 1 && to.length > 1) return [...to.slice(1).map(() => null), values[0] ?? null];
  const at = new Map(from.map((t, i) => [t, values[i] ?? null]));
  return to.map((t) => at.get(t) ?? null);
}
