// Tables of columns, as transformations pass them on.

import { sampleNumber, type InstantData, type Labels } from "../api.ts";
import type { Frame } from "../frame.ts";

export type Cell = number | string | null;

export interface Column {
  name: string;
  type: "time" | "number" | "string";
  values: Cell[];
  refId: string;
  labels: Labels;
}

export interface Table {
  refId: string;
  columns: Column[];
}

export const rowCount = (t: Table): number => t.columns[0]?.values.length ?? 0;

/** One row a series: its time (milliseconds), labels and value. */
export function instantTable(data: InstantData, refId: string, several: boolean): Table {
  const valueName = several ? `Value #${refId}` : "Value";
  const column = (n: string, type: Column["type"], values: Cell[]): Column => ({ name: n, type, values, refId, labels: {} });
  if (data.resultType === "scalar" || data.resultType === "string") {
    const [t, v] = data.result;
    const text = data.resultType === "string";
    return { refId, columns: [column("Time", "time", [t * 1000]), column(valueName, text ? "string" : "number", [text ? v : sampleNumber(v)])] };
  }
  const series = data.result;
  const names = [...new Set(series.flatMap((s) => Object.keys(s.metric)))].sort();
  const last = series.map((s) => s.value ?? s.values?.at(-1));
  const value = column(valueName, "number", last.map((v) => (v ? sampleNumber(v[1]) : null)));
  if (series.length === 1 && series[0]) value.labels = series[0].metric;
  return {
    refId,
    columns: [
      column("Time", "time", last.map((v) => (v ? v[0] * 1000 : null))),
      ...names.map((n) => column(n, "string", series.map((s) => s.metric[n] ?? ""))),
      value,
    ],
  };
}

/** One table a series: times and values. */
export function seriesTables(frame: Frame, refId: string): Table[] {
  return frame.series.map((s) => ({
    refId,
    columns: [
      { name: "Time", type: "time" as const, values: frame.times.map((t) => t * 1000), refId, labels: {} },
      { name: s.label, type: "number" as const, values: s.values, refId, labels: s.labels },
    ],
  }));
}
