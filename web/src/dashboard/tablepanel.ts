// Table panels: rows of instant queries, merged, sorted by a click, bounded.

import { h, setText } from "../dom.ts";
import type { Body } from "./body.ts";
import type { Loaded } from "./data.ts";
import { configOf, Field } from "./field.ts";
import { rowCount, type Cell, type Column, type Table } from "./frames.ts";
import { at, list, str } from "./json.ts";
import type { Panel } from "./model.ts";
import { dateText } from "./time.ts";
import { sortTable } from "./transform.ts";

/** Rows that are put on the page. */
const most = 300;

/** A text for values that are absent fits a cell up to so many characters. */
const shortText = 12;

interface Shown {
  column: Column;
  title: string;
  field: Field;
  cell: string;
  hidden: boolean;
}

export class TablePanel implements Body {
  readonly el = h("div", { class: "d-table", tabindex: 0, role: "group" });
  readonly #panel: Panel;
  readonly #title: () => string;
  #sort: { name: string; desc: boolean } | null = null;
  #which = 0;
  #data: Loaded | null = null;

  constructor(panel: Panel, title: () => string) {
    this.#panel = panel;
    this.#title = title;
    const first = list(at(panel.options, "sortBy"))[0];
    if (first) this.#sort = { name: str(at(first, "displayName")), desc: at(first, "desc") === true };
  }

  show(data: Loaded): void {
    this.#data = data;
    this.el.setAttribute("aria-label", `Table of ${this.#title()}`);
    const table = data.tables[Math.min(this.#which, data.tables.length - 1)];
    if (!table) return this.el.replaceChildren();
    const columns = this.#columns(table);
    const total = rowCount(table);
    const sort = this.#sort && columns.find((c) => c.title === this.#sort?.name || c.column.name === this.#sort?.name);
    const sorted = sort ? sortTable(table, sort.column.name, this.#sort?.desc ?? false) : table;
    const cells = new Map(sorted.columns.map((c) => [c.name, c.values]));
    const rows = Array.from({ length: Math.min(total, most) }, (_, i) => this.#row(columns, cells, i));
    const focused = (document.activeElement as HTMLElement | null)?.dataset["column"];
    const inside = this.el.contains(document.activeElement);
    this.el.replaceChildren(
      data.tables.length > 1 ? this.#choice(data.tables) : "",
      h(
        "table",
        {},
        h("caption", { class: "hidden" }, this.#title()),
        h("thead", {}, h("tr", {}, ...columns.map((c) => this.#head(c, sort === c)))),
        h("tbody", {}, ...rows),
      ),
      total > most ? h("p", { class: "d-more" }, `Showing ${most} of ${total.toLocaleString("en")} rows.`) : "",
    );
    if (inside && focused !== undefined) [...this.el.querySelectorAll("button")].find((b) => b.dataset["column"] === focused)?.focus();
  }

  destroy(): void {
    // Nothing outlives the elements.
  }

  #columns(table: Table): Shown[] {
    return table.columns
      .map((column, i): Shown => {
        const config = configOf(this.#panel, { name: column.name, refId: column.refId, type: column.type });
        const field = new Field(config, i);
        const cell = str(at(field.custom, "cellOptions", "type")) || str(field.custom["displayMode"], "auto");
        const title = str(config["displayName"]) || column.name;
        const hidden = field.custom["hidden"] === true || at(field.custom, "hideFrom", "viz") === true;
        return { column, title, field, cell, hidden };
      })
      .filter((c) => !c.hidden);
  }

  #head(c: Shown, sorted: boolean): HTMLElement {
    const desc = this.#sort?.desc ?? false;
    const button = h(
      "button",
      {
        type: "button",
        "data-column": c.title,
        onclick: () => {
          // Numbers are looked at from the largest down.
          this.#sort = sorted ? { name: c.title, desc: !desc } : { name: c.title, desc: c.column.type === "number" };
          if (this.#data) this.show(this.#data);
        },
      },
      c.title,
      h("span", { "aria-hidden": "true" }, sorted ? (desc ? " ↓" : " ↑") : ""),
    );
    return h("th", { scope: "col", class: c.column.type === "number" ? "num" : undefined, "aria-sort": sorted ? (desc ? "descending" : "ascending") : undefined }, button);
  }

  #row(columns: Shown[], cells: ReadonlyMap<string, Cell[]>, i: number): HTMLElement {
    return h("tr", {}, ...columns.map((c) => this.#cell(c, cells.get(c.column.name)?.[i] ?? null)));
  }

  #cell(c: Shown, v: Cell): HTMLElement {
    const coloured = c.cell.startsWith("color-");
    const time = c.column.type === "time" && c.field.unit === "";
    // A text that explains an empty panel is none for a cell.
    const blank = v === null && c.field.noValue.length > shortText;
    const shown = blank ? { text: "–", suffix: "", colour: null } : time ? { text: v === null ? "–" : dateText(Number(v) / 1000), suffix: "", colour: null } : c.field.show(v, coloured);
    const td = h("td", { class: c.column.type === "number" ? "num" : undefined });
    if (typeof v === "number" && c.cell.includes("gauge")) {
      const fill = h("span", { class: "d-fill" });
      const column = c.column.values.filter((x): x is number => typeof x === "number");
      const [low, high] = [column.reduce((a, b) => Math.min(a, b), 0), column.reduce((a, b) => Math.max(a, b), 0)];
      fill.style.width = `${(100 * c.field.part(v, low, high)).toFixed(1)}%`;
      fill.style.background = c.field.threshold(v, low, high) ?? "var(--s1)";
      td.append(h("span", { class: "d-cellbar" }, h("span", { class: "d-track" }, fill), h("span", {}, shown.text + shown.suffix)));
      return td;
    }
    setText(td, shown.text + shown.suffix);
    if (shown.colour !== null && c.cell.startsWith("color-background")) {
      td.classList.add("d-back");
      td.style.setProperty("--tone", shown.colour);
    } else if (shown.colour !== null) td.style.color = shown.colour;
    return td;
  }

  /** Which of several tables is shown, as Grafana lets one choose. */
  #choice(tables: Table[]): HTMLElement {
    const select = h("select", { "aria-label": "Which result is shown" }, ...tables.map((t, i) => h("option", { value: i, selected: i === this.#which }, t.columns.at(-1)?.name ?? t.refId)));
    select.addEventListener("change", () => {
      this.#which = Number(select.value);
      if (this.#data) this.show(this.#data);
    });
    return h("div", { class: "d-which" }, select);
  }
}
