// Results of a query as rows of a table; no DOM here.

import { sampleNumber, type InstantData, type Labels } from "./api.ts";
import { formatSeries } from "./format.ts";

export interface Row {
  name: string;
  labels: Labels;
  /** The value as the server wrote it. */
  value: string;
}

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
        : [
            ...(s.values ?? []).map(([t, v]) => `${v} @${t}`),
            ...(s.histograms ?? []).map(([t, x]) => `count ${x.count}, sum ${x.sum} @${t}`),
          ].join("\n"),
  }));
  return { rows, total: data.result.length };
}

/** Whether a value has more digits than are read at a glance, so that a rounded form helps. */
export function isLong(value: string): boolean {
  return /^-?[\d.e+-]{8,}$/.test(value) && Number.isFinite(sampleNumber(value));
}

/** The address part that keeps a query; what older links of Prometheus and Alertmanager carry is read too. */
export function queryFromParams(params: URLSearchParams): { expr: string; range: string | null } {
  return {
    expr: params.get("expr") ?? params.get("g0.expr") ?? "",
    range: params.get("range") ?? params.get("g0.range_input"),
  };
}
