// Times and durations as Grafana writes them.

import { parseDuration } from "../range.ts";

const unitMs: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5, M: 2592e6, y: 31536e6 };

/** Seconds of 90s, 1h, 5m or 250ms; null for anything else. */
export function seconds(text: string): number | null {
  const m = /^[<>=]*\s*(\d+(?:\.\d+)?)(ms|[smhdwMy])$/.exec(text.trim());
  if (m) return (Number(m[1]) * (unitMs[m[2] as string] as number)) / 1e3;
  return parseDuration(text.trim());
}

/** A duration as PromQL takes it: the largest unit that leaves no rest. */
export function durationText(secs: number): string {
  const ms = Math.max(1, Math.round(secs * 1000));
  for (const unit of ["d", "h", "m", "s"] as const) {
    const size = unitMs[unit] as number;
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function floor(d: Date, unit: string, end: boolean): Date {
  const [y, m, day, h, min] = [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours(), d.getMinutes()];
  const n = end ? 1 : 0;
  const starts: Record<string, Date> = {
    s: new Date(Math.floor(d.getTime() / 1000 + n) * 1000),
    m: new Date(y, m, day, h, min + n),
    h: new Date(y, m, day, h + n),
    d: new Date(y, m, day + n),
    w: new Date(y, m, day - ((d.getDay() + 6) % 7) + 7 * n),
    M: new Date(y, m + n, 1),
    y: new Date(y + n, 0, 1),
  };
  return starts[unit] ?? d;
}

function shift(d: Date, n: number, unit: string): Date {
  const out = new Date(d);
  if (unit === "M") out.setMonth(out.getMonth() + n);
  else if (unit === "y") out.setFullYear(out.getFullYear() + n);
  else if (unit === "d" || unit === "w") out.setDate(out.getDate() + n * (unit === "w" ? 7 : 1));
  else out.setTime(out.getTime() + n * (unitMs[unit] ?? 0));
  return out;
}

/** Seconds of now-6h, now/d, milliseconds since 1970 or an ISO time; null when it is none. `end` rounds up. */
export function timeOf(text: string, now: number, end: boolean): number | null {
  const t = text.trim();
  if (/^\d{10,14}$/.test(t)) return Number(t) / 1000;
  if (!t.startsWith("now")) {
    const ms = Date.parse(t);
    return Number.isNaN(ms) ? null : ms / 1000;
  }
  let d = new Date(now * 1000);
  const rest = t.slice(3).replace(/\s/g, "");
  if (!/^([+-]\d+[smhdwMy]|\/[smhdwMy])*$/.test(rest)) return null;
  for (const [, sign, n, unit, round] of rest.matchAll(/([+-])(\d+)([smhdwMy])|\/([smhdwMy])/g)) {
    d = round === undefined ? shift(d, Number(n) * (sign === "-" ? -1 : 1), unit as string) : floor(d, round, end);
  }
  return d.getTime() / 1000;
}

export interface Span {
  /** As written, such as now-1h. */
  from: string;
  to: string;
}

/** A span in seconds at this moment; the last hour where it cannot be read or is empty. */
export function resolveSpan(span: Span, now: number): { from: number; to: number } {
  const from = timeOf(span.from, now, false);
  const to = timeOf(span.to, now, true);
  if (from === null || to === null || from >= to) return { from: now - 3600, to: now };
  return { from, to };
}

/** The choices of the time range. */
export const spans: readonly { from: string; label: string }[] = [
  ["5m", "5 minutes"],
  ["15m", "15 minutes"],
  ["30m", "30 minutes"],
  ["1h", "hour"],
  ["3h", "3 hours"],
  ["6h", "6 hours"],
  ["12h", "12 hours"],
  ["24h", "24 hours"],
  ["2d", "2 days"],
  ["7d", "7 days"],
  ["30d", "30 days"],
].map(([from, label]) => ({ from: `now-${from}`, label: `Last ${label}` }));

export const refreshes: readonly string[] = ["", "5s", "10s", "30s", "1m", "5m", "15m", "1h"];

const two = (n: number): string => String(n).padStart(2, "0");

/** A local date and time. */
export function dateText(secs: number, utc = false): string {
  const d = new Date(secs * 1000);
  if (Number.isNaN(d.getTime())) return "–";
  if (utc) return d.toISOString().slice(0, 19).replace("T", " ");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** A span for people. */
export function spanText(span: Span, now: number): string {
  const known = spans.find((s) => s.from === span.from && span.to === "now");
  if (known) return known.label;
  const { from, to } = resolveSpan(span, now);
  if (span.from.startsWith("now") && span.to === "now") return span.from === "now/d" ? "Today" : `${span.from} to now`;
  return `${dateText(from).slice(0, 16)} to ${dateText(to).slice(0, 16)}`;
}

/** Where a range that nobody chose begins: a young store has little to show, so the range begins where its data does, five minutes at least. */
export function youngStart(from: number, to: number, oldest: number | null): number {
  if (oldest === null || oldest <= from) return from;
  return Math.max(from, Math.min(oldest - 10, to - 300));
}
