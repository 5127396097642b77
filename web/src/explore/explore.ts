// Explore: queries in PromQL over a time that one chooses, each with a graph and
// a table. All of it stands in the address.

import { choice, h } from "../dom.ts";
import { Poller } from "../poller.ts";
import { anyRange, wideRanges, type Range } from "../range.ts";
import { unexpected, type Context, type View } from "../view.ts";
import { askedFrom, exploreLink, fieldTime, maxPanels, paramsOf, type Asked } from "./address.ts";
import { QueryPanel } from "./querypanel.ts";

const refreshes: readonly [string, string][] = [
  ["", "Off"],
  ["5", "5 s"],
  ["15", "15 s"],
  ["60", "1 min"],
  ["300", "5 min"],
];

const examples = [
  `up`,
  `sum by (mode) (rate(node_cpu_seconds_total[1m]))`,
  `node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes`,
  `topk(5, scrape_duration_seconds)`,
];

class Explore implements View {
  readonly title = "Explore";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #asked: Asked;
  readonly #panelsEl = h("div", { class: "querypanels" });
  readonly #rangeEl = h("div", {});
  readonly #end;
  readonly #now;
  readonly #refresh;
  readonly #later;
  readonly #add;
  readonly #hint: HTMLElement;
  #panels: QueryPanel[] = [];
  #poller: Poller | null = null;
  #made = 0;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#asked = askedFrom(ctx.params);
    this.#end = h("input", { type: "datetime-local", step: 1, "aria-label": "End of the time range", onchange: () => this.#pickEnd() });
    const earlier = h("button", { type: "button", "aria-label": "Earlier by half the range", title: "Earlier", onclick: () => this.#shift(-1) }, "‹");
    this.#later = h("button", { type: "button", "aria-label": "Later by half the range", title: "Later", onclick: () => this.#shift(1) }, "›");
    this.#now = h("button", { type: "button", onclick: () => this.#moveEnd(null) }, "Now");
    this.#refresh = h(
      "select",
      { "aria-label": "Refresh", onchange: () => this.#pickRefresh() },
      ...refreshes.map(([value, label]) => h("option", { value }, label)),
    );
    this.#add = h("button", { type: "button", onclick: () => this.#append() }, "Add a query");
    this.#hint = hint();
    this.el = h(
      "div",
      { class: "explore" },
      h(
        "div",
        { class: "bar" },
        h("h1", {}, "Explore"),
        this.#rangeEl,
        h("div", { class: "end", role: "group", "aria-label": "End" }, earlier, this.#end, this.#later, this.#now),
        h("label", {}, "Refresh ", this.#refresh),
      ),
      this.#panelsEl,
      this.#hint,
      this.#add,
    );
    for (const expr of this.#asked.exprs) this.#panels.push(this.#panel(expr));
    this.#showPanels();
    this.#showTime();
    this.#poll();
    if (this.#asked.exprs.some((e) => e !== "")) this.#run(false);
  }

  readonly refresh = (): void => void this.#again();

  destroy(): void {
    this.#poller?.stop();
    for (const p of this.#panels) p.destroy();
  }

  /** Runs all panels; `push` makes what is asked a step of the history. */
  #run(push: boolean): void {
    this.#keep(push);
    this.#hint.hidden = this.#panels.some((p) => p.expr !== "");
    const { range, end } = this.#asked;
    for (const p of this.#panels) void p.run({ seconds: range.seconds, end });
  }

  /** Runs what ran last once more: by the clock, and when the server is back. */
  async #again(): Promise<void> {
    const { range, end } = this.#asked;
    await Promise.all(this.#panels.map((p) => p.again({ seconds: range.seconds, end })));
  }

  #keep(push: boolean): void {
    this.#asked.exprs = this.#panels.map((p) => p.expr);
    this.#ctx.setParams(paramsOf(this.#asked), push);
  }

  #panel(expr: string): QueryPanel {
    const panel: QueryPanel = new QueryPanel({
      client: this.#ctx.client,
      expr,
      number: ++this.#made,
      onRun: () => this.#run(true),
      onRemove: () => this.#removePanel(panel),
      onZoom: (start, end) => this.#zoom(start, end),
    });
    return panel;
  }

  #append(): void {
    const panel = this.#panel("");
    this.#panels.push(panel);
    this.#showPanels();
    panel.focus();
  }

  #removePanel(panel: QueryPanel): void {
    const at = this.#panels.indexOf(panel);
    this.#panels = this.#panels.filter((p) => p !== panel);
    panel.destroy();
    this.#showPanels();
    this.#panels[Math.max(0, at - 1)]?.focus();
    this.#keep(true);
  }

  #showPanels(): void {
    this.#panelsEl.replaceChildren(...this.#panels.map((p) => p.el));
    for (const p of this.#panels) p.removable = this.#panels.length > 1;
    this.#add.hidden = this.#panels.length >= maxPanels;
    this.#hint.hidden = this.#panels.some((p) => p.expr !== "");
  }

  #pickRange(range: Range): void {
    this.#asked.range = range;
    this.#run(true);
  }

  #pickEnd(): void {
    const ms = Date.parse(this.#end.value);
    this.#moveEnd(Number.isNaN(ms) ? null : ms / 1000);
  }

  #shift(direction: 1 | -1): void {
    const now = Date.now() / 1000;
    const end = (this.#asked.end ?? now) + (direction * this.#asked.range.seconds) / 2;
    this.#moveEnd(end >= now ? null : Math.round(end));
  }

  #moveEnd(end: number | null): void {
    this.#asked.end = end;
    this.#showTime();
    this.#poll();
    this.#run(true);
  }

  #zoom(start: number, end: number): void {
    const seconds = Math.max(10, Math.round(end - start));
    this.#asked.range = anyRange(`${seconds}s`) ?? this.#asked.range;
    this.#moveEnd(Math.round(start) + seconds);
  }

  #pickRefresh(): void {
    this.#asked.refresh = this.#refresh.value === "" ? null : Number(this.#refresh.value);
    this.#poll();
    this.#run(true);
  }

  #showTime(): void {
    const { range, end, refresh } = this.#asked;
    const known = wideRanges.some((r) => r.id === range.id);
    const options = known ? wideRanges : [...wideRanges, range];
    this.#rangeEl.replaceChildren(
      choice("range", "Time range", options, range.id, (id) => this.#pickRange(options.find((r) => r.id === id) ?? range)),
    );
    this.#end.value = end === null ? "" : fieldTime(end);
    this.#later.disabled = end === null;
    this.#now.disabled = end === null;
    // A past that is over does not change.
    this.#refresh.disabled = end !== null;
    const value = refresh === null ? "" : String(refresh);
    if (![...this.#refresh.options].some((o) => o.value === value)) this.#refresh.append(h("option", { value }, `${value} s`));
    this.#refresh.value = value;
  }

  #poll(): void {
    this.#poller?.stop();
    const { refresh, end } = this.#asked;
    if (refresh === null || end !== null) return;
    this.#poller = new Poller({
      intervalMs: refresh * 1000,
      task: () => this.#again(),
      onError: unexpected,
      visible: () => !document.hidden,
    });
    this.#poller.start();
  }
}

function hint(): HTMLElement {
  return h(
    "div",
    { class: "hint" },
    h("p", {}, "Write a query in PromQL and press Enter; Shift+Enter starts a new line, Ctrl+Space completes. To begin with:"),
    h("ul", {}, ...examples.map((e) => h("li", {}, h("a", { href: exploreLink(e) }, e)))),
  );
}

export function explore(ctx: Context): View {
  return new Explore(ctx);
}
