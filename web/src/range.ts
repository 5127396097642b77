// The choices of how far back a chart looks.

export interface Range {
  id: string;
  seconds: number;
  label: string;
}

export const ranges: readonly Range[] = [
  { id: "15m", seconds: 900, label: "15 min" },
  { id: "1h", seconds: 3600, label: "1 h" },
  { id: "6h", seconds: 21600, label: "6 h" },
  { id: "1d", seconds: 86400, label: "1 day" },
];

/** Those of Explore, where one looks closer and further. */
export const wideRanges: readonly Range[] = [
  { id: "5m", seconds: 300, label: "5 min" },
  ...ranges,
  { id: "1w", seconds: 604800, label: "1 week" },
];

/** Any duration as a range, or null; longer than ten years is none. */
export function anyRange(id: string | null): Range | null {
  const seconds = id === null ? null : parseDuration(id);
  if (id === null || seconds === null || seconds < 1 || seconds > 315360000) return null;
  return wideRanges.find((r) => r.id === id) ?? { id, seconds, label: id };
}

/** The choice of that name, or the first one. */
export function rangeOf(id: string | null): Range {
  return ranges.find((r) => r.id === id) ?? (ranges[0] as Range);
}

/** Seconds of a Prometheus duration such as 1m30s or 500ms; null when it is none. */
export function parseDuration(text: string): number | null {
  const unit: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };
  if (!/^(\d+(ms|[smhdwy]))+$/.test(text)) return null;
  let sum = 0;
  for (const [, n, u] of text.matchAll(/(\d+)(ms|[smhdwy])/g)) sum += Number(n) * (unit[u as string] as number);
  return sum;
}
