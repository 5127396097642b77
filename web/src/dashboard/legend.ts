// The legend of a time series panel: a list, or a table of calculations; a series alone at a click.

import { arrange, h, setText } from "../dom.ts";
import type { Line, Loaded } from "./data.ts";
import { at, num, str, strings } from "./json.ts";
import type { Panel } from "./model.ts";
import { reduce, reducerLabel } from "./reduce.ts";

export interface LegendOptions {
  shown: boolean;
  table: boolean;
  right: boolean;
  calcs: string[];
  sortBy: string;
  sortDesc: boolean;
}

export function legendOptions(panel: Panel): LegendOptions {
  const l = at(panel.options, "legend");
  const mode = str(at(l, "displayMode"), "list");
  return {
    shown: at(l, "showLegend") !== false && mode !== "hidden",
    table: mode === "table",
    right: str(at(l, "placement")) === "right" && panel.grid.w >= 8,
    calcs: strings(at(l, "calcs")),
    sortBy: str(at(l, "sortBy")),
    sortDesc: at(l, "sortDesc") === true,
  };
}

interface Entry {
  el: HTMLElement;
  swatch: HTMLElement;
  button: HTMLButtonElement;
  cells: HTMLElement[];
}

export class Legend {
  readonly el: HTMLElement;
  readonly options: LegendOptions;
  /** The series that is shown alone; null for all. */
  only: string | null = null;
  readonly #list: HTMLElement;
  readonly #entries = new Map<string, Entry>();
  readonly #onChange: () => void;

  constructor(panel: Panel, onChange: () => void) {
    const o = legendOptions(panel);
    this.options = o;
    this.#onChange = onChange;
    if (o.table) {
      this.#list = h("tbody", {});
      const head = h("tr", {}, h("th", { scope: "col" }, "Name"), ...o.calcs.map((c) => h("th", { scope: "col", class: "num" }, reducerLabel(c))));
      const table = h("table", {}, h("caption", { class: "hidden" }, `Series of ${panel.title}`), h("thead", {}, head), this.#list);
      this.el = h("div", { class: "d-legend d-legend-table", tabindex: 0, role: "group", "aria-label": `Series of ${panel.title}` }, table);
    } else {
      this.#list = h("ul", {});
      this.el = h("div", { class: "d-legend", role: "group", tabindex: 0, "aria-label": `Series of ${panel.title}` }, this.#list);
    }
    this.el.hidden = !o.shown;
  }

  show(data: Loaded, colours: ReadonlyMap<string, string>): void {
    if (!this.options.shown) return;
    const lines = this.#sorted(data.lines.filter((l) => at(l.field.custom, "hideFrom", "legend") !== true));
    const live = new Set(lines.map((l) => l.key));
    for (const key of this.#entries.keys()) if (!live.has(key)) this.#entries.delete(key);
    if (this.only !== null && !live.has(this.only)) this.only = null;
    arrange(this.#list, lines.map((l) => this.#fill(l, colours.get(l.key) ?? "")));
  }

  /** The order of the table, where one is given. */
  #sorted(lines: Line[]): Line[] {
    const by = this.options.calcs.find((c) => reducerLabel(c) === this.options.sortBy);
    if (by === undefined) return lines;
    const way = this.options.sortDesc ? -1 : 1;
    return lines
      .map((l) => ({ l, v: reduce(by, l.values) ?? -Infinity }))
      .sort((a, b) => (a.v < b.v ? -way : a.v > b.v ? way : 0))
      .map(({ l }) => l);
  }

  #fill(l: Line, colour: string): HTMLElement {
    const e = this.#entries.get(l.key) ?? this.#make(l.key);
    e.swatch.style.background = colour;
    setText(e.button, l.name);
    e.button.title = l.name;
    e.button.setAttribute("aria-pressed", String(this.only === l.key));
    e.el.classList.toggle("off", this.only !== null && this.only !== l.key);
    const decimals = num(l.field.config["decimals"]);
    this.options.calcs.forEach((calc, i) => {
      const v = reduce(calc, l.values);
      const shown = calc === "count" || calc === "distinctCount" ? { text: String(v ?? 0), suffix: "" } : l.field.show(v);
      const text = shown.text + shown.suffix;
      const cell = e.cells[i];
      if (cell) setText(cell, this.options.table ? text : `${reducerLabel(calc)}: ${text}`);
      if (cell && decimals === null) cell.title = v === null ? "" : String(v);
    });
    return e.el;
  }

  #make(key: string): Entry {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    const button = h("button", {
      type: "button",
      onclick: () => {
        this.only = this.only === key ? null : key;
        this.#onChange();
      },
    });
    const cells = this.options.calcs.map(() => h(this.options.table ? "td" : "span", { class: this.options.table ? "num" : "value" }));
    const name = h("span", { class: "name" }, swatch, button);
    const el = this.options.table ? h("tr", {}, h("td", {}, name), ...cells) : h("li", {}, name, ...cells);
    const entry = { el, swatch, button, cells };
    this.#entries.set(key, entry);
    return entry;
  }
}
