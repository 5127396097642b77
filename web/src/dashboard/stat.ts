// Stat panels: one figure a series, large, with its history behind it.

import { arrange, h, setText } from "../dom.ts";
import type { Body } from "./body.ts";
import type { Loaded } from "./data.ts";
import { str } from "./json.ts";
import type { Panel } from "./model.ts";
import { reduced, type Reduced } from "./reduced.ts";
import { sparkline } from "./svg.ts";

export class Stat implements Body {
  readonly el = h("div", { class: "d-stat" });
  readonly #panel: Panel;

  constructor(panel: Panel) {
    this.#panel = panel;
    this.el.dataset["justify"] = str(panel.options["justifyMode"], "auto");
    this.el.dataset["orientation"] = str(panel.options["orientation"], "auto");
  }

  show(data: Loaded): void {
    const { items, left } = reduced(this.#panel, data);
    const tiles = items.map((r, i) => this.#tile(r, items.length, this.el.children[i] as HTMLElement | undefined));
    arrange(this.el, tiles);
    if (left > 0) this.el.append(h("p", { class: "d-more" }, `and ${left} more`));
    this.el.dataset["many"] = String(items.length > 1);
  }

  destroy(): void {
    // Nothing outlives the elements.
  }

  #tile(r: Reduced, count: number, old: HTMLElement | undefined): HTMLElement {
    const o = this.#panel.options;
    const el = old?.classList.contains("d-tile") ? old : h("div", { class: "d-tile" }, h("span", { class: "d-name" }), h("span", { class: "d-value" }, h("b"), h("small")));
    const [name, value] = [...el.children].filter((c): c is HTMLElement => c instanceof HTMLElement);
    const shown = r.line.field.show(r.value, true);
    const mode = str(o["colorMode"], "value");
    const text = str(o["textMode"], "auto");
    const named = text === "name" || text === "value_and_name" || (text === "auto" && count > 1);
    if (name) {
      setText(name, r.name);
      name.title = r.name;
      name.hidden = !named;
    }
    const colour = shown.colour ?? "var(--text)";
    const spark = str(o["graphMode"], "area") === "area" && r.line.values.filter((v) => v !== null).length > 1;
    if (value) {
      setText(value.firstElementChild as HTMLElement, shown.text);
      setText(value.lastElementChild as HTMLElement, shown.suffix);
      value.hidden = text === "name" || text === "none";
      el.style.setProperty("--chars", String(Math.max(3, shown.text.length + shown.suffix.length * 0.6)));
      value.title = r.value === null ? "" : String(r.value);
    }
    const back = mode.startsWith("background");
    el.classList.toggle("back", back && shown.colour !== null);
    el.classList.toggle("sparked", spark);
    el.style.setProperty("--tone", mode === "none" ? "var(--text)" : colour);
    for (const s of el.querySelectorAll("svg")) s.remove();
    if (spark) el.append(sparkline(r.line.values, back ? "currentColor" : colour));
    return el;
  }
}
