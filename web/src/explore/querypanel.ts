// One query of Explore: its editor, its result over time as a graph, and at the
// end of that time as a table. What goes wrong is said here.

import { APIError, type Answer, type Client, type InstantData, type RangeData } from "../api.ts";
import { Chart } from "../chart.ts";
import { h, setText } from "../dom.ts";
import { clock, formatDay, formatValue, unitOf, type Unit } from "../format.ts";
import { frameOf, gridOf, stepFor, type Grid } from "../frame.ts";
import { isLong, leftOut, rowsOf } from "../result.ts";
import { QueryEditor } from "./editor.ts";

/** More rows and lines than these are not read, only scrolled. */
const maxRows = 500;
const maxLines = 50;

export interface PanelOptions {
  client: Client;
  expr: string;
  /** Numbers the panel for its labels, from 1. */
  number: number;
  /** Run was asked for in the editor. */
  onRun: () => void;
  onRemove: () => void;
  /** Times were drawn over in the graph. */
  onZoom: (start: number, end: number) => void;
}

/** The time that a run is about; an end of null follows the clock. */
export interface When {
  seconds: number;
  end: number | null;
}

type Settled<T> = PromiseSettledResult<Answer<T>>;

export class QueryPanel {
  readonly el: HTMLElement;
  readonly #o: PanelOptions;
  readonly #editor: QueryEditor;
  readonly #remove: HTMLButtonElement;
  readonly #status = h("p", { class: "summary", role: "status" });
  readonly #graph = h("div", { class: "graph" });
  readonly #graphPart: HTMLElement;
  readonly #tableHead = h("h3", {});
  readonly #table = h("div", { class: "result" });
  readonly #output: HTMLElement;
  #abort = new AbortController();
  #chart: { expr: string; chart: Chart } | null = null;
  #asked = "";

  constructor(o: PanelOptions) {
    this.#o = o;
    this.#editor = new QueryEditor(o.client, o.expr, o.number === 1 ? "PromQL query" : `PromQL query ${o.number}`, o.onRun);
    this.#remove = h("button", { type: "button", class: "icon", "aria-label": `Remove query ${o.number}`, title: "Remove", onclick: o.onRemove }, "✕");
    this.#graphPart = h("section", { "aria-label": `Graph of query ${o.number}` }, this.#graph);
    this.#output = h(
      "div",
      { class: "output", hidden: true },
      this.#graphPart,
      h("section", { "aria-label": `Table of query ${o.number}` }, this.#tableHead, this.#table),
    );
    this.el = h(
      "section",
      { class: "querypanel", "aria-label": `Query ${o.number}` },
      h("div", { class: "querybox" }, this.#editor.el, h("button", { type: "button", class: "run", onclick: o.onRun }, "Run"), this.#remove),
      this.#status,
      this.#output,
    );
  }

  get expr(): string {
    return this.#editor.value.trim();
  }

  /** The last panel cannot be removed. */
  set removable(yes: boolean) {
    this.#remove.hidden = !yes;
  }

  focus(): void {
    this.#editor.focus();
  }

  destroy(): void {
    this.#abort.abort();
    this.#chart?.chart.destroy();
    this.#editor.destroy();
  }

  /** Runs what stands in the editor; a run that is under way is given up. */
  run(when: When): Promise<void> {
    if (this.expr !== this.#asked) setText(this.#status, this.expr === "" ? "" : "Running …");
    this.#asked = this.expr;
    return this.again(when);
  }

  /** Runs what ran last, whatever is being written meanwhile. */
  async again(when: When): Promise<void> {
    void this.#editor.load();
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const expr = this.#asked;
    this.#output.hidden = expr === "";
    if (expr === "") return;
    const began = performance.now();
    const step = stepFor(when.seconds, 240, 1);
    const now = Date.now() / 1000;
    const grid = gridOf(when.end ?? now, when.seconds, step);
    const { client } = this.#o;
    const [table, graph] = await Promise.allSettled([
      client.query(expr, { limit: maxRows + 1, ...(when.end === null ? {} : { time: when.end }) }, signal),
      client.queryRange(expr, { ...grid, limit: maxLines + 1 }, signal),
    ]);
    if (signal.aborted) return;
    if (isUnreachable(table) || isUnreachable(graph)) {
      setText(this.#status, "No answer from the server; the query runs again when it is back.");
      return;
    }
    const took = formatValue((performance.now() - began) / 1000, "seconds");
    const failed = table.status === "rejected" && graph.status === "rejected";
    setText(this.#status, failed ? "" : `Answered in ${took} · one point every ${formatValue(step, "seconds")}`);
    const at = when.end ?? now;
    const today = now - at < 43_200;
    setText(this.#tableHead, when.end === null ? "Now" : `At ${today ? "" : `${formatDay(at)} `}${clock(at, true)}`);
    const total = await this.#total(expr, table, graph, when, signal);
    if (signal.aborted) return;
    this.#showTable(expr, table, total);
    this.#showGraph(expr, graph, table, grid, total);
  }

  /** How many series there are when the server has left out some; null when nothing is left out or nobody knows. */
  async #total(expr: string, table: Settled<InstantData>, graph: Settled<RangeData>, when: When, signal: AbortSignal): Promise<number | null> {
    const many = (r: Settled<InstantData> | Settled<RangeData>, limit: number): boolean =>
      r.status === "fulfilled" && Array.isArray(r.value.data.result) && r.value.data.result.length > limit;
    if (!many(table, maxRows) && !many(graph, maxLines)) return null;
    try {
      const a = await this.#o.client.query(`count(${expr}\n)`, when.end === null ? {} : { time: when.end }, signal);
      const value = a.data.resultType === "vector" ? a.data.result[0]?.value?.[1] : undefined;
      return value === undefined ? null : Number(value);
    } catch {
      return null; // a range vector cannot be counted, and a server that is gone has said so elsewhere
    }
  }

  #showTable(expr: string, result: Settled<InstantData>, count: number | null): void {
    if (result.status === "rejected") {
      this.#tableHead.hidden = true;
      this.#table.replaceChildren(failure(result.reason));
      return;
    }
    this.#tableHead.hidden = false;
    const { rows, total } = rowsOf(result.value.data, maxRows);
    const capped = total > maxRows;
    const said = notes(result.value, capped);
    if (total === 0) {
      this.#table.replaceChildren(...said, h("p", { class: "note" }, "Empty result: no series matches at this time."));
      return;
    }
    if (capped) said.push(h("p", { class: "note" }, leftOut("shown", maxRows, count)));
    const unit = unitOf(expr);
    this.#table.replaceChildren(
      ...said,
      h(
        "table",
        {},
        h("caption", { class: "hidden" }, `Result of query ${this.#o.number}`),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Series"), h("th", { scope: "col", class: "num" }, "Value"))),
        h("tbody", {}, ...rows.map((r) => h("tr", {}, h("td", { class: "series" }, r.name), h("td", { class: "num", title: r.value }, shown(r.value, unit))))),
      ),
    );
  }

  #showGraph(expr: string, result: Settled<RangeData>, table: Settled<InstantData>, grid: Grid, count: number | null): void {
    if (result.status === "rejected") {
      this.#dropChart();
      // The same words twice on a page help nobody; they stand in the table's place alone.
      this.#graphPart.hidden = table.status === "rejected" && String(table.reason) === String(result.reason);
      this.#graph.replaceChildren(failure(result.reason));
      return;
    }
    this.#graphPart.hidden = false;
    const { data } = result.value;
    const capped = data.result.length > maxLines;
    const frame = frameOf({ ...data, result: data.result.slice(0, maxLines) }, grid, "");
    const said = notes(result.value, capped);
    if (capped) said.push(h("p", { class: "note" }, leftOut("drawn", maxLines, count)));
    if (frame.series.length === 0) {
      this.#dropChart();
      const span = `${formatDay(grid.start)} ${clock(grid.start, false)} to ${clock(grid.end, false)}`;
      this.#graph.replaceChildren(...said, h("p", { class: "note" }, `No point from ${span}.`));
      return;
    }
    // The chart of the same query stays, and with it the pointer's place.
    if (this.#chart?.expr !== expr) {
      this.#dropChart();
      this.#chart = { expr, chart: newChart(expr, this.#o.onZoom) };
    }
    const { chart } = this.#chart;
    if (chart.el.parentElement !== this.#graph || said.length + 1 !== this.#graph.children.length) this.#graph.replaceChildren(...said, chart.el);
    chart.update(frame, grid.start, grid.end);
  }

  #dropChart(): void {
    this.#chart?.chart.destroy();
    this.#chart = null;
  }
}

function newChart(expr: string, onSelect: (start: number, end: number) => void): Chart {
  return new Chart({
    title: expr,
    unit: unitOf(expr),
    stacked: false,
    worstFirst: true,
    sync: "explore",
    fromZero: false,
    height: 260,
    onSelect,
  });
}

/** A value as it is read; the whole of it stands in the cell's title. */
function shown(value: string, unit: Unit): string {
  const n = Number(value);
  if (value === "" || !Number.isFinite(n)) return value;
  return isLong(value) || unit !== "plain" ? formatValue(n, unit) : value;
}

function isUnreachable(r: PromiseSettledResult<unknown>): boolean {
  return r.status === "rejected" && r.reason instanceof APIError && r.reason.failure === "unreachable";
}

function failure(reason: unknown): HTMLElement {
  const err = reason instanceof APIError ? reason : new APIError("api", String(reason));
  return h("p", { class: "error", role: "alert" }, err.errorType === "" ? "" : h("b", {}, `${err.errorType}: `), err.message);
}

/** The server's remarks; the one about its own cut is said better by ours. */
function notes(answer: Answer<unknown>, capped: boolean): HTMLElement[] {
  return answer.warnings
    .filter((w) => !(capped && w.includes("truncated due to limit")))
    .map((w) => h("p", { class: "note warn" }, w));
}
