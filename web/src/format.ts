// Numbers as people read them: units, ages and times of the local zone.

/** How a value is shown; bytes are powers of 1024, a ratio is shown as percent, a percent as it is, cores below one as kubectl does (250m). */
export type Unit = "bytes" | "bytes/s" | "ratio" | "percent" | "seconds" | "cores" | "/s" | "count" | "plain";

const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const SI: [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** Three significant digits, without trailing zeros or an exponent for everyday sizes. */
function digits(v: number): string {
  const a = Math.abs(v);
  if (a === 0) return "0";
  if (a >= 100) return v.toFixed(0);
  if (a >= 0.001) return trim(v.toFixed(a >= 10 ? 1 : a >= 1 ? 2 : a >= 0.1 ? 3 : 4));
  return trim(v.toPrecision(3));
}

function trim(s: string): string {
  if (s.includes("e")) return s.replace(/\.?0+e/, "e");
  return s.includes(".") ? s.replace(/\.?0+$/, "") : s;
}

function scaled(v: number): string {
  for (const [size, suffix] of SI) {
    if (Math.abs(v) >= size) return digits(v / size) + suffix;
  }
  return digits(v);
}

function bytes(v: number): string {
  let i = 0;
  let n = v;
  while (Math.abs(n) >= 1024 && i < IEC.length - 1) {
    n /= 1024;
    i++;
  }
  return `${digits(i === 0 ? Math.round(n) : n)} ${IEC[i]}`;
}

function seconds(v: number): string {
  const a = Math.abs(v);
  if (a === 0) return "0 s";
  if (a < 1e-3) return `${digits(v * 1e6)} µs`;
  if (a < 1) return `${digits(v * 1e3)} ms`;
  if (a < 120) return `${digits(v)} s`;
  if (a < 7200) return `${digits(v / 60)} min`;
  if (a < 172800) return `${digits(v / 3600)} h`;
  return `${digits(v / 86400)} d`;
}

/** A value with its unit; what is no finite number is named, and nothing is a dash. */
export function formatValue(v: number | null | undefined, unit: Unit): string {
  if (v === null || v === undefined) return "–";
  if (Number.isNaN(v)) return "NaN";
  if (!Number.isFinite(v)) return v > 0 ? "+Inf" : "-Inf";
  switch (unit) {
    case "bytes":
      return bytes(v);
    case "bytes/s":
      return `${bytes(v)}/s`;
    case "ratio":
      return `${digits(Math.round(v * 1e4) / 100)} %`;
    case "percent":
      return `${digits(v)} %`;
    case "seconds":
      return seconds(v);
    case "cores":
      return Math.abs(v) < 1 && v !== 0 ? `${digits(Math.round(v * 1e5) / 100)}m` : digits(v);
    case "/s":
      return `${scaled(v)}/s`;
    case "count":
    case "plain":
      return scaled(v);
  }
}

/** The unit that a metric's name or a query over it promises, by the naming rules of Prometheus. */
export function unitOf(expr: string): Unit {
  const rate = /\b(rate|irate|deriv)\s*\(/.test(expr);
  if (/_bytes(_total)?\b/.test(expr) && !/[/]\s*[a-z(]/.test(expr)) return rate ? "bytes/s" : "bytes";
  if (!rate && /\w_seconds\b/.test(expr) && !/[/]\s*[a-z(]/.test(expr) && !/time_seconds\b/.test(expr)) return "seconds";
  if (/\bhistogram_quantile\s*\(/.test(expr) && /_seconds(_bucket)?\b/.test(expr)) return "seconds";
  return "plain";
}

/** How long ago, in the coarsest unit that still says something. */
export function formatAge(secs: number): string {
  if (secs < 0) return "now";
  if (secs < 90) return `${Math.round(secs)} s ago`;
  if (secs < 5400) return `${Math.round(secs / 60)} min ago`;
  if (secs < 129600) return `${Math.round(secs / 3600)} h ago`;
  return `${Math.round(secs / 86400)} d ago`;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** A local time of day, 24 hours, for a time in seconds. */
export function clock(t: number, withSeconds: boolean): string {
  const d = new Date(t * 1000);
  const hm = `${two(d.getHours())}:${two(d.getMinutes())}`;
  return withSeconds ? `${hm}:${two(d.getSeconds())}` : hm;
}

/** The local day of a time in seconds. */
export function formatDay(t: number): string {
  const d = new Date(t * 1000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

/** Labels of a time axis: seconds for short steps, the date where a day begins. */
export function axisLabels(times: number[], stepSeconds: number): string[] {
  return times.map((t) => {
    const d = new Date(t * 1000);
    const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
    if (midnight) return formatDay(t);
    return clock(t, stepSeconds < 60);
  });
}

/** A series as PromQL writes it; the metric's name first, the labels in order. */
export function formatSeries(labels: Record<string, string>): string {
  const name = labels["__name__"] ?? "";
  const rest = Object.keys(labels)
    .filter((k) => k !== "__name__")
    .sort()
    .map((k) => `${/^[a-zA-Z_]\w*$/.test(k) ? k : JSON.stringify(k)}=${JSON.stringify(labels[k])}`);
  if (rest.length === 0) return name === "" ? "{}" : name;
  return `${name}{${rest.join(", ")}}`;
}
