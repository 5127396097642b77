// The values that stat and gauge panels show: each series reduced to one number.

import { at, num, str, strings } from "./json.ts";
import type { Line, Loaded } from "./data.ts";
import { reduce } from "./reduce.ts";
import type { Panel } from "./model.ts";
import { pattern } from "./field.ts";

export interface Reduced {
  line: Line;
  name: string;
  value: number | null;
}

/** More tiles than these cannot be read. */
const most = 60;

export function reduced(panel: Panel, data: Loaded): { items: Reduced[]; left: number } {
  const o = at(panel.options, "reduceOptions");
  const calc = strings(at(o, "calcs"))[0] ?? "lastNotNull";
  const fields = str(at(o, "fields"));
  const re = /^\//.test(fields) ? pattern(fields) : null;
  const wanted = data.lines.filter((l) => (re ? re.test(l.name) : fields === "" || l.name === fields));
  const lines = wanted.length > 0 ? wanted : data.lines;
  const limit = Math.min(most, at(o, "values") === true ? (num(at(o, "limit")) ?? most) : most);
  const items = lines.slice(0, limit).map((line) => ({ line, name: line.name, value: reduce(calc, line.values) }));
  return { items, left: lines.length - items.length };
}

/** The ends of a scale for panels that show parts of a whole: as configured, else 0 to 100 for percent and over all values else. */
export function ends(items: readonly Reduced[]): { low: number; high: number } {
  const unit = items[0]?.line.field.unit;
  if (unit === "percent") return { low: 0, high: 100 };
  if (unit === "percentunit") return { low: 0, high: 1 };
  const values = items.flatMap((i) => i.line.values.filter((v): v is number => v !== null));
  const low = values.reduce((a, b) => Math.min(a, b), 0);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return { low, high: high > low ? high : low + 1 };
}
