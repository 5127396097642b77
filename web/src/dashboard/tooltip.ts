// The values at the pointer's time, beside the pointer.

import { h } from "../dom.ts";
import type { Line } from "./data.ts";
import { dateText } from "./time.ts";

/** More rows than these hide the chart. */
const most = 14;

export class Tooltip {
  readonly el = h("div", { class: "d-tip", hidden: true, "aria-hidden": "true" });

  hide(): void {
    this.el.hidden = true;
  }

  /** Shows values at an index of the times; `x` and `y` in pixels of the place that is `width` wide. */
  show(time: number, index: number, lines: readonly Line[], colours: ReadonlyMap<string, string>, place: { x: number; y: number; width: number; height: number }): void {
    const rows = lines
      .map((l) => ({ l, v: l.values[index] ?? null }))
      .filter((r): r is { l: Line; v: number } => r.v !== null)
      .sort((a, b) => b.v - a.v);
    if (rows.length === 0) return this.hide();
    const more = rows.length - most;
    this.el.replaceChildren(
      h("b", {}, dateText(time)),
      ...rows.slice(0, most).map(({ l, v }) => {
        const swatch = h("span", { class: "swatch" });
        swatch.style.background = colours.get(l.key) ?? "";
        const shown = l.field.show(v);
        return h("div", {}, swatch, h("span", { class: "name" }, l.name), h("span", { class: "value" }, shown.text + shown.suffix));
      }),
      more > 0 ? h("i", {}, `and ${more} more`) : "",
    );
    this.el.hidden = false;
    const left = place.x > place.width / 2;
    this.el.style.left = left ? "" : `${place.x + 14}px`;
    this.el.style.right = left ? `${place.width - place.x + 14}px` : "";
    this.el.style.top = `${Math.max(-20, Math.min(place.y - 10, place.height - 40))}px`;
  }
}
