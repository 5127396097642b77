// Where panels stand: rows, repeated for the values of a variable, on a grid of 24 columns.

import type { Dashboard, GridPos, Panel, Row } from "./model.ts";

/** Copies beyond these are not made: a variable may have thousands of values. */
export const maxRepeats = 50;

/** The values for which a variable is repeated. */
export type Repeats = (variable: string) => string[];

export interface Section {
  key: string;
  row: Row;
  panels: Panel[];
  /** Values for which no copy was made. */
  left: number;
}

/** Sections with panels, in order, all repeats written out; keys are the same as long as values are. */
export function sections(d: Pick<Dashboard, "rows">, repeats: Repeats): Section[] {
  return d.rows.flatMap((row, i) => {
    const found = row.repeat === "" ? [] : repeats(row.repeat);
    // A variable without values repeats nothing: the row stands as it is.
    const repeated = found.length > 0;
    const values = repeated ? found : [""];
    const shown = values.slice(0, maxRepeats);
    return shown.map((value, n) => {
      const scope = repeated ? { ...row.scope, [row.repeat]: value } : row.scope;
      const own = row.panels.map((p) => ({ ...p, scope, id: repeated ? `${p.id}/${value}` : p.id }));
      const placed = arrangePanels(own, repeats);
      const left = placed.left + (n === shown.length - 1 ? values.length - shown.length : 0);
      return { key: `${i}/${value}`, row: { ...row, scope }, panels: placed.panels, left };
    });
  });
}

/** The panels of a row, repeated ones in the place of the first, and what is below moved down; y counts from the row's top. */
function arrangePanels(panels: Panel[], repeats: Repeats): { panels: Panel[]; left: number } {
  const top = Math.min(...panels.map((p) => p.grid.y));
  let down = -top;
  let left = 0;
  const out: Panel[] = [];
  for (const p of [...panels].sort((a, b) => a.grid.y - b.grid.y || a.grid.x - b.grid.x)) {
    const at = { ...p.grid, y: p.grid.y + down };
    const values = p.repeat === "" ? [] : repeats(p.repeat);
    if (values.length === 0) {
      out.push({ ...p, grid: at });
      continue;
    }
    const shown = values.slice(0, maxRepeats);
    left += values.length - shown.length;
    const places = p.repeatDirection === "v" ? stacked(at, shown.length) : sideBySide(at, shown.length, p.maxPerRow);
    shown.forEach((value, i) => {
      const scope = { ...p.scope, [p.repeat]: value };
      out.push({ ...p, grid: places[i] as GridPos, scope, id: `${p.id}/${value}` });
    });
    const bottom = Math.max(at.y + at.h, ...places.map((g) => g.y + g.h));
    down += bottom - (at.y + at.h);
  }
  return { panels: out, left };
}

function stacked(at: GridPos, n: number): GridPos[] {
  return Array.from({ length: n }, (_, i) => ({ ...at, y: at.y + i * at.h }));
}

function sideBySide(at: GridPos, n: number, most: number): GridPos[] {
  const perRow = Math.max(1, Math.min(n, most));
  const w = Math.max(1, Math.floor(24 / perRow));
  return Array.from({ length: n }, (_, i) => ({ x: (i % perRow) * w, y: at.y + Math.floor(i / perRow) * at.h, w, h: at.h }));
}
