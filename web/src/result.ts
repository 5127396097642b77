// Results of a query as rows of a table; no DOM here.

import { sampleNumber, type InstantData, type InstantSeries, type Labels } from "./api.ts";
import { formatSeries } from "./format.ts";

export interface Row {
  name: string;
  labels: Labels;
  /** The value as the server wrote it. */
  value: string;
}

/** Samples of one row; a range vector of a day has thousands in each. */
const maxSamples = 60;

/** The first `limit` rows of an instant result, and how many there are. */
export function rowsOf(data: InstantData, limit: number): { rows: Row[]; total: number } {
  if (data.resultType === "scalar" || data.resultType === "string") {
    return { rows: [{ name: data.resultType, labels: {}, value: data.result[1] }], total: 1 };
  }
  const rows = data.result.slice(0, limit).map((s) => ({
    name: formatSeries(s.metric),
    labels: s.metric,
    value: s.value
      ? s.value[1]
      : s.histogram
        ? `count ${s.histogram[1].count}, sum ${s.histogram[1].sum}`
        : samplesOf(s),
  }));
  return { rows, total: data.result.length };
}

/** The newest samples of a range, each on its line. */
function samplesOf(s: InstantSeries): string {
  const floats = s.values ?? [];
  const histograms = s.histograms ?? [];
  const lines = [
    ...floats.slice(-maxSamples).map(([t, v]) => `${v} @${t}`),
    ...histograms.slice(-maxSamples).map(([t, x]) => `count ${x.count}, sum ${x.sum} @${t}`),
  ];
  const rest = floats.length + histograms.length - lines.length;
  return rest > 0 ? [`… ${rest} earlier`, ...lines].join("\n") : lines.join("\n");
}

/** Whether a value has more digits than are read at a glance, so that a rounded form helps. */
export function isLong(value: string): boolean {
  return /^-?[\d.e+-]{8,}$/.test(value) && Number.isFinite(sampleNumber(value));
}

/** What a bounded list leaves out; the number of all is null when nobody knows it. */
export function leftOut(done: "shown" | "drawn" | "listed", limit: number, total: number | null): string {
  const advice = "Aggregate or select to see fewer.";
  if (total === null || total <= limit) return `The first ${limit} series are ${done}; there are more. ${advice}`;
  const n = (v: number): string => v.toLocaleString("en");
  return `The first ${n(limit)} of ${n(total)} series are ${done}; ${n(total - limit)} are left out. ${advice}`;
}
