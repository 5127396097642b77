// SVG elements, which dom.ts does not build.

export function svg(tag: string, attributes: Record<string, string | number>, ...children: SVGElement[]): SVGElement {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, String(value));
  el.append(...children);
  return el;
}

/** A small line with the area below it, as wide as its place. */
export function sparkline(values: readonly (number | null)[], colour: string): SVGElement {
  // Before its first point a series has no history to show.
  const start = values.findIndex((v) => v !== null);
  const own = values.slice(Math.max(0, start));
  const known = own.filter((v): v is number => v !== null);
  const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
  const y = (v: number): number => (high > low ? 28 - (26 * (v - low)) / (high - low) : 15);
  const n = Math.max(1, own.length - 1);
  const points = own.flatMap((v, i) => (v === null ? [] : [`${((i / n) * 100).toFixed(2)},${y(v).toFixed(2)}`]));
  const box = svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length < 2) return box;
  const [first, last] = [points[0]?.split(",")[0], points.at(-1)?.split(",")[0]];
  const area = svg("polygon", { points: `${first},30 ${points.join(" ")} ${last},30` });
  area.style.fill = colour;
  const line = svg("polyline", { points: points.join(" ") });
  line.style.stroke = colour;
  box.append(area, line);
  return box;
}
