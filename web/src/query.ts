// Query: PromQL, its result now as a table, and over time as a graph.

import { APIError, type Answer, type InstantData, type RangeData } from "./api.ts";
import { Chart } from "./chart.ts";
import { choice, h, setText } from "./dom.ts";
import { formatValue, unitOf } from "./format.ts";
import { frameOf, gridOf, stepFor, type Grid } from "./frame.ts";
import { rangeOf, ranges } from "./range.ts";
import { isLong, queryFromParams, rowsOf } from "./result.ts";
import { QueryBox } from "./querybox.ts";
import type { Context, View } from "./view.ts";

/** More rows than these are not read, only scrolled. */
const maxRows = 500;
const maxLines = 50;

const examples = [
  `up`,
  `sum by (mode) (rate(node_cpu_seconds_total[1m]))`,
  `node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes`,
  `topk(5, scrape_duration_seconds)`,
];

class Query implements View {
  readonly title = "Query";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #box: QueryBox;
  readonly #status = h("p", { class: "summary", role: "status" });
  readonly #graph = h("div", { class: "graph" });
  readonly #table = h("div", { class: "result" });
  readonly #output = h("div", { class: "output", hidden: true });
  readonly #hint = h("div", { class: "hint" });
  #range;
  #chart: Chart | null = null;
  #abort = new AbortController();

  constructor(ctx: Context) {
    this.#ctx = ctx;
    const wanted = queryFromParams(ctx.params);
    this.#range = rangeOf(wanted.range);
    this.#box = new QueryBox(ctx.client, wanted.expr, () => this.#run(true));
    const range = choice("range", "Time range", ranges, this.#range.id, (id) => {
      this.#range = rangeOf(id);
      this.#run(true);
    });
    this.#output.append(
      h("section", { "aria-labelledby": "graph-head" }, h("h2", { id: "graph-head" }, "Graph"), this.#graph),
      h("section", { "aria-labelledby": "table-head" }, h("h2", { id: "table-head" }, "Now"), this.#table),
    );
    this.#hint.append(
      h("p", {}, "Write a query in PromQL and press Enter; Shift+Enter starts a new line. To begin with:"),
      h("ul", {}, ...examples.map((e) => h("li", {}, h("a", { href: `./query?expr=${encodeURIComponent(e)}` }, e)))),
    );
    this.el = h(
      "div",
      { class: "query" },
      h("div", { class: "bar" }, h("h1", {}, "Query"), range),
      this.#box.el,
      this.#status,
      this.#hint,
      this.#output,
    );
    if (wanted.expr !== "") this.#run(false);
  }

  readonly refresh = (): void => {
    if (!this.#output.hidden) this.#run(false);
  };

  destroy(): void {
    this.#abort.abort();
    this.#chart?.destroy();
    this.#box.destroy();
  }

  /** Runs what stands in the box; `push` keeps it in the address and the history. */
  #run(push: boolean): void {
    const expr = this.#box.value.trim();
    if (expr === "") return;
    this.#abort.abort();
    this.#abort = new AbortController();
    if (push) this.#ctx.setParams(new URLSearchParams({ expr, range: this.#range.id }), true);
    void this.#load(expr, this.#abort.signal);
  }

  async #load(expr: string, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    setText(this.#status, "Running …");
    this.#hint.hidden = true;
    const { client } = this.#ctx;
    const window = this.#range.seconds;
    const grid = gridOf(Date.now() / 1000, window, stepFor(window, 240, 1));
    const [now, range] = await Promise.allSettled([
      client.query(expr, { limit: maxRows + 1 }, signal),
      client.queryRange(expr, { ...grid, limit: maxLines + 1 }, signal),
    ]);
    if (signal.aborted) return;
    if (isUnreachable(now) || isUnreachable(range)) {
      setText(this.#status, "No answer from the server; the query runs when it is back.");
      this.#output.hidden = false;
      return;
    }
    this.#output.hidden = false;
    this.#showTable(now);
    this.#showGraph(expr, range, now, grid);
    setText(this.#status, `Answered in ${formatValue((performance.now() - began) / 1000, "seconds")}, step ${grid.step} s`);
  }

  #showTable(result: PromiseSettledResult<Answer<InstantData>>): void {
    if (result.status === "rejected") {
      this.#table.replaceChildren(failure(result.reason));
      return;
    }
    const { rows, total } = rowsOf(result.value.data, maxRows);
    const capped = total > maxRows;
    if (total === 0) {
      this.#table.replaceChildren(...notes(result.value, capped), h("p", { class: "note" }, "Empty result: no series matches now."));
      return;
    }
    const unit = unitOf(this.#box.value);
    this.#table.replaceChildren(
      ...notes(result.value, capped),
      ...(capped ? [h("p", { class: "note" }, `The first ${maxRows} series are shown; there are more. Aggregate or select to see fewer.`)] : []),
      h(
        "table",
        {},
        h("caption", { class: "hidden" }, "Result now"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Series"), h("th", { scope: "col", class: "num" }, "Value"))),
        h(
          "tbody",
          {},
          ...rows.map((r) => {
            const rounded = isLong(r.value) || unit !== "plain" ? formatValue(Number(r.value), unit) : r.value;
            const nice = Number.isFinite(Number(r.value)) && r.value !== "" ? rounded : r.value;
            return h("tr", {}, h("td", { class: "series" }, r.name), h("td", { class: "num", title: r.value }, nice));
          }),
        ),
      ),
    );
  }

  #showGraph(
    expr: string,
    result: PromiseSettledResult<Answer<RangeData>>,
    now: PromiseSettledResult<unknown>,
    grid: Grid,
  ): void {
    this.#chart?.destroy();
    this.#chart = null;
    if (result.status === "rejected") {
      const same = now.status === "rejected" && String(now.reason) === String(result.reason);
      // The same words twice on a page help nobody; they stand in the table's place alone.
      this.#graph.parentElement?.toggleAttribute("hidden", same);
      this.#graph.replaceChildren(failure(result.reason));
      return;
    }
    this.#graph.parentElement?.removeAttribute("hidden");
    const { data } = result.value;
    const capped = data.result.length > maxLines;
    const frame = frameOf({ ...data, result: data.result.slice(0, maxLines) }, grid, "");
    const extra = notes(result.value, capped);
    if (capped) extra.push(h("p", { class: "note" }, `The first ${maxLines} series are drawn; there are more.`));
    if (frame.series.length === 0) {
      this.#graph.replaceChildren(...extra, h("p", { class: "note" }, `No point in the last ${this.#range.label}.`));
      return;
    }
    this.#chart = new Chart({
      title: expr,
      unit: unitOf(expr),
      stacked: false,
      worstFirst: true,
      fromZero: false,
      height: 260,
    });
    this.#graph.replaceChildren(...extra, this.#chart.el);
    this.#chart.update(frame, grid.start, grid.end);
  }
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

export function query(ctx: Context): View {
  return new Query(ctx);
}
