// Running sums for stacked series, by group; no DOM here.

import type { Line } from "./data.ts";
import { at, str } from "./json.ts";

export interface Stacked {
  line: Line;
  /** What is drawn. */
  values: (number | null)[];
  /** Index of the series whose line is the lower edge of this one's area; null for the axis. */
  below: number | null;
}

/** Series as they are drawn. Series of a group in stacking mode stand on each other, percent ones as parts of their sum. */
export function stacks(lines: Line[]): Stacked[] {
  const tops = new Map<string, { index: number; values: (number | null)[] }>();
  const sums = percentSums(lines);
  return lines.map((line, index) => {
    const mode = str(at(line.field.custom, "stacking", "mode"), "none");
    const negative = str(line.field.custom["transform"]) === "negative-Y";
    let own = negative ? line.values.map((v) => (v === null ? null : -v)) : line.values;
    if (mode !== "normal" && mode !== "percent") return { line, values: own, below: null };
    const group = groupOf(line, negative);
    const sum = sums.get(group);
    if (mode === "percent" && sum) own = own.map((v, i) => (v === null ? null : sum[i] ? v / (sum[i] as number) : 0));
    const under = tops.get(group);
    const values = own.map((v, i) => {
      const base = under?.values[i] ?? null;
      return v === null && base === null ? null : (v ?? 0) + (base ?? 0);
    });
    tops.set(group, { index, values });
    return { line, values, below: under?.index ?? null };
  });
}

function groupOf(line: Line, negative: boolean): string {
  return `${str(at(line.field.custom, "stacking", "group"), "A")} ${line.field.unit} ${negative}`;
}

function percentSums(lines: Line[]): Map<string, number[]> {
  const out = new Map<string, number[]>();
  for (const line of lines) {
    if (str(at(line.field.custom, "stacking", "mode")) !== "percent") continue;
    const group = groupOf(line, str(line.field.custom["transform"]) === "negative-Y");
    const sum = out.get(group) ?? line.values.map(() => 0);
    line.values.forEach((v, i) => (sum[i] = (sum[i] ?? 0) + Math.abs(v ?? 0)));
    out.set(group, sum);
  }
  return out;
}
