// Gauge and bar gauge panels: a value as a part of its scale.

import { arrange, h } from "../dom.ts";
import type { Body } from "./body.ts";
import { continuousColour } from "./colours.ts";
import type { Loaded } from "./data.ts";
import { at, str } from "./json.ts";
import type { Panel } from "./model.ts";
import { ends, reduced, type Reduced } from "./reduced.ts";
import { svg } from "./svg.ts";

/** The colour of a value: of a mapping, of the mode, of thresholds. */
function colourFor(r: Reduced, low: number, high: number): string {
  const { field } = r.line;
  const mapped = field.show(r.value).colour;
  if (mapped !== null) return mapped;
  if (field.colourMode.startsWith("continuous-")) return continuousColour(field.colourMode, field.part(r.value ?? 0, low, high));
  if (field.colourMode === "fixed" || field.colourMode === "palette-classic") return field.colour(r.value, low, high);
  return field.threshold(r.value ?? NaN, low, high) ?? field.colour(r.value, low, high);
}

/** A point of the arc, which goes three quarters round. */
function onArc(part: number, radius: number): string {
  const angle = ((-210 + 240 * part) * Math.PI) / 180;
  return `${(50 + radius * Math.cos(angle)).toFixed(2)} ${(52 + radius * Math.sin(angle)).toFixed(2)}`;
}

function arc(from: number, to: number, radius: number, width: number, colour: string): SVGElement {
  const large = (to - from) * 240 > 180 ? 1 : 0;
  const path = svg("path", { d: `M ${onArc(from, radius)} A ${radius} ${radius} 0 ${large} 1 ${onArc(to, radius)}`, fill: "none", "stroke-width": width });
  path.style.stroke = colour;
  return path;
}

export class Gauge implements Body {
  readonly el = h("div", { class: "d-gauge" });
  readonly #panel: Panel;

  constructor(panel: Panel) {
    this.#panel = panel;
  }

  show(data: Loaded): void {
    const { items, left } = reduced(this.#panel, data);
    const { low, high } = ends(items);
    arrange(this.el, items.map((r) => this.#one(r, low, high, items.length)));
    if (left > 0) this.el.append(h("p", { class: "d-more" }, `and ${left} more`));
  }

  destroy(): void {
    // Nothing outlives the elements.
  }

  #one(r: Reduced, low: number, high: number, count: number): HTMLElement {
    const { field } = r.line;
    const shown = field.show(r.value);
    const colour = colourFor(r, low, high);
    const part = field.part(r.value ?? low, low, high);
    const box = svg("svg", { viewBox: "0 0 100 84", "aria-hidden": "true" }, arc(0, 1, 40, 11, "var(--grid)"));
    if (r.value !== null && part > 0.001) box.append(arc(0, part, 40, 11, colour));
    if (at(this.#panel.options, "showThresholdMarkers") !== false) {
      const steps = field.steps(low, high);
      steps.forEach((t, i) => {
        const [a, b] = [field.part(t.value, low, high), field.part(steps[i + 1]?.value ?? Infinity, low, high)];
        if (b > a && steps.length > 1) box.append(arc(a, b, 47.5, 2, t.colour));
      });
    }
    const value = svg("text", { x: 50, y: 56, "text-anchor": "middle", "font-size": Math.min(19, 96 / Math.max(3, shown.text.length + shown.suffix.length)) });
    value.textContent = shown.text + shown.suffix;
    value.style.fill = colour;
    box.append(value);
    const name = h("span", { class: "d-name", title: r.name }, count > 1 || str(at(field.config, "displayName")) !== "" ? r.name : "");
    const el = h("div", { class: "d-dial" }, name, h("span", { class: "hidden" }, `${r.name}: ${shown.text}${shown.suffix}`));
    el.prepend(box);
    return el;
  }
}

export class BarGauge implements Body {
  readonly el = h("div", { class: "d-bars" });
  readonly #panel: Panel;

  constructor(panel: Panel) {
    this.#panel = panel;
  }

  show(data: Loaded): void {
    const { items, left } = reduced(this.#panel, data);
    const { low, high } = ends(items);
    const bars = items.map((r) => {
      const { field } = r.line;
      const shown = field.show(r.value);
      const colour = colourFor(r, low, high);
      const fill = h("span", { class: "d-fill" });
      fill.style.width = `${(100 * field.part(r.value ?? low, low, high)).toFixed(2)}%`;
      fill.style.background = colour;
      return h("div", { class: "d-bar" }, h("span", { class: "d-name", title: r.name }, r.name), h("span", { class: "d-track" }, fill), h("span", { class: "d-num" }, shown.text + shown.suffix));
    });
    arrange(this.el, bars);
    if (left > 0) this.el.append(h("p", { class: "d-more" }, `and ${left} more`));
  }

  destroy(): void {
    // Nothing outlives the elements.
  }
}
