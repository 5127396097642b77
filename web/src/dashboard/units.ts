// Grafana's units: a number as text.

import { dateText } from "./time.ts";

export interface Formatted {
  text: string;
  /** What stands after the number, such as " MiB" or "%"; "" for none. */
  suffix: string;
}

export type Format = (v: number) => Formatted;

/** How the axis of a unit steps. */
export type Steps = "binary" | "time" | "decimal";

const si = ["", "k", "M", "G", "T", "P", "E"];
const small = ["", "m", "µ", "n", "p"];
const words = ["", " K", " Mil", " Bil", " Tri"];

/** Digits after the point that a size of number needs: three figures in all. */
function auto(v: number): number {
  const a = Math.abs(v);
  if (a === 0 || a >= 100) return 0;
  if (a >= 10) return 1;
  if (a >= 1) return 2;
  return Math.min(9, 2 - Math.floor(Math.log10(a)));
}

/** A number with so many decimals; without a number given, three figures and no zeros at the end. */
export function fixed(v: number, decimals: number | null): string {
  if (decimals !== null) return v.toFixed(Math.max(0, Math.min(20, decimals)));
  const text = v.toFixed(auto(v));
  const trimmed = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return trimmed === "-0" ? "0" : trimmed;
}

type Maker = (decimals: number | null) => Format;

/** Steps up by a factor, each with its prefix. */
function scale(factor: number, prefixes: readonly string[], unit: string, space: boolean, start = 0): Maker {
  return (decimals) => (v) => {
    let i = start;
    let n = v;
    while (Math.abs(n) >= factor * (1 - 1e-9) && i < prefixes.length - 1) {
      n /= factor;
      i++;
    }
    const suffix = (prefixes[i] ?? "") + unit;
    return { text: fixed(n, decimals), suffix: suffix === "" ? "" : (space ? " " : "") + suffix };
  };
}

/** Steps down to milli and below too, as for volts and watts. */
function both(unit: string): Maker {
  const up = scale(1000, si, unit, true);
  return (decimals) => (v) => {
    if (v === 0 || Math.abs(v) >= 1) return up(decimals)(v);
    let i = 0;
    let n = v;
    while (Math.abs(n) < 1 && i < small.length - 1) {
      n *= 1000;
      i++;
    }
    return { text: fixed(n, decimals), suffix: ` ${small[i]}${unit}` };
  };
}

const binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

function suffixed(suffix: string, times = 1): Maker {
  return (decimals) => (v) => ({ text: fixed(v * times, decimals), suffix });
}

/** A duration, given in a unit of so many seconds. */
function duration(inSeconds: number): Maker {
  const sizes: [number, string][] = [
    [31536000, " years"],
    [604800 * 4, " weeks"],
    [86400, " days"],
    [3600, " hours"],
    [60, " mins"],
    [1, " s"],
    [1e-3, " ms"],
    [1e-6, " µs"],
    [1e-9, " ns"],
  ];
  return (decimals) => (v) => {
    const secs = v * inSeconds;
    const a = Math.abs(secs);
    if (a === 0) return { text: "0", suffix: sizes.find(([s]) => s <= inSeconds * (1 + 1e-9))?.[1] ?? " s" };
    const [size, suffix] = sizes.find(([s]) => a >= s * (1 - 1e-9)) ?? [1e-9, " ns"];
    const div = suffix === " weeks" ? 604800 : size;
    return { text: fixed(secs / div, decimals), suffix: secs / div === 1 ? suffix.replace(/s$/, (m) => (suffix.length > 3 ? "" : m)) : suffix };
  };
}

/** 1 d 02:03:04, as of clocks. */
function clock(inSeconds: number): Maker {
  return () => (v) => {
    const t = Math.floor(Math.abs(v * inSeconds));
    const two = (n: number): string => String(n).padStart(2, "0");
    const days = Math.floor(t / 86400);
    const text = `${two(Math.floor((t % 86400) / 3600))}:${two(Math.floor((t % 3600) / 60))}:${two(t % 60)}`;
    return { text: (v < 0 ? "-" : "") + (days > 0 ? `${days} d ` : "") + text, suffix: "" };
  };
}

/** How long ago a time in milliseconds is. */
const fromNow: Maker = () => (v) => {
  const secs = v / 1000 - Date.now() / 1000;
  const { text, suffix } = duration(1)(0)(Math.abs(secs));
  return { text: secs <= 0 ? `${text}${suffix} ago` : `in ${text}${suffix}`, suffix: "" };
};

const date: Maker = () => (v) => ({ text: dateText(v / 1000), suffix: "" });

const perSecond = (name: string): Maker => scale(1000, si, ` ${name}`, false);

const makers: Record<string, Maker> = {
  none: () => (v) => ({ text: fixed(v, Math.abs(v) >= 100 && !Number.isInteger(v) ? 1 : null), suffix: "" }),
  short: (decimals) => (v) => (Math.abs(v) < 1000 ? { text: fixed(v, decimals), suffix: "" } : scale(1000, words, "", false)(decimals)(v)),
  sishort: scale(1000, si, "", true),
  string: () => (v) => ({ text: String(v), suffix: "" }),
  percent: suffixed("%"),
  percentunit: suffixed("%", 100),
  humidity: suffixed(" %H"),
  bool: () => (v) => ({ text: v === 0 ? "False" : "True", suffix: "" }),
  bool_yes_no: () => (v) => ({ text: v === 0 ? "No" : "Yes", suffix: "" }),
  bool_on_off: () => (v) => ({ text: v === 0 ? "Off" : "On", suffix: "" }),
  bytes: scale(1024, binary, "B", true),
  kbytes: scale(1024, binary, "B", true, 1),
  mbytes: scale(1024, binary, "B", true, 2),
  gbytes: scale(1024, binary, "B", true, 3),
  decbytes: scale(1000, si, "B", true),
  deckbytes: scale(1000, si, "B", true, 1),
  decmbytes: scale(1000, si, "B", true, 2),
  decgbytes: scale(1000, si, "B", true, 3),
  bits: scale(1024, binary, "b", true),
  decbits: scale(1000, si, "b", true),
  Bps: scale(1000, si, "B/s", true),
  binBps: scale(1024, binary, "B/s", true),
  KBs: scale(1000, si, "B/s", true, 1),
  KiBs: scale(1024, binary, "B/s", true, 1),
  MBs: scale(1000, si, "B/s", true, 2),
  MiBs: scale(1024, binary, "B/s", true, 2),
  bps: scale(1000, si, "b/s", true),
  binbps: scale(1024, binary, "b/s", true),
  Kbits: scale(1000, si, "b/s", true, 1),
  Mbits: scale(1000, si, "b/s", true, 2),
  pps: scale(1000, si, " p/s", false),
  ns: duration(1e-9),
  µs: duration(1e-6),
  ms: duration(1e-3),
  s: duration(1),
  m: duration(60),
  h: duration(3600),
  d: duration(86400),
  dtdurations: duration(1),
  dtdurationms: duration(1e-3),
  dthms: clock(1),
  clocks: clock(1),
  clockms: clock(1e-3),
  hertz: both("Hz"),
  watt: both("W"),
  volt: both("V"),
  amp: both("A"),
  joule: both("J"),
  celsius: suffixed(" °C"),
  fahrenheit: suffixed(" °F"),
  kelvin: suffixed(" K"),
  rotrpm: suffixed(" rpm"),
  ops: perSecond("ops/s"),
  reqps: perSecond("req/s"),
  rps: perSecond("rd/s"),
  wps: perSecond("wr/s"),
  iops: perSecond("io/s"),
  eps: perSecond("evt/s"),
  mps: perSecond("msg/s"),
  cps: perSecond("c/s"),
  rowsps: perSecond("rows/s"),
  recps: perSecond("rec/s"),
  opm: perSecond("ops/m"),
  reqpm: perSecond("req/m"),
  cpm: perSecond("c/m"),
  dateTimeAsIso: date,
  dateTimeAsIsoNoDateIfToday: date,
  dateTimeAsUS: date,
  dateTimeAsLocal: date,
  dateTimeAsSystem: date,
  dateTimeFromNow: fromNow,
  currencyUSD: (decimals) => (v) => ({ text: `$${fixed(v, decimals ?? 2)}`, suffix: "" }),
  currencyEUR: (decimals) => (v) => ({ text: `€${fixed(v, decimals ?? 2)}`, suffix: "" }),
};
makers["dtdhms"] = clock(1);
makers["cores"] = suffixed(" cores");

/** The maker of a unit: Grafana's name, one of its custom forms, or a text that is put after the number. */
function makerOf(unit: string): Maker {
  const known = makers[unit];
  if (known && Object.hasOwn(makers, unit)) return known;
  const [kind, rest = ""] = [unit.slice(0, unit.indexOf(":")), unit.slice(unit.indexOf(":") + 1)];
  switch (kind) {
    case "suffix":
      return suffixed(rest.startsWith(" ") ? rest : ` ${rest}`);
    case "prefix":
      return (decimals) => (v) => ({ text: rest + fixed(v, decimals), suffix: "" });
    case "si": {
      const start = si.indexOf(rest.slice(0, 1));
      return start > 0 && rest.length > 1 ? scale(1000, si, rest.slice(1), true, start) : scale(1000, si, rest, true);
    }
    case "time":
      return date;
    case "count":
      return scale(1000, si, ` ${rest}`, false);
    case "currency":
      return (decimals) => (v) => ({ text: rest + fixed(v, decimals ?? 2), suffix: "" });
  }
  return suffixed(unit === "" ? "" : ` ${unit}`);
}

/** How a unit is written with so many decimals (null: as many as help). Values without a number are named. */
export function formatter(unit: string, decimals: number | null): Format {
  const format = (unit === "" ? makers["short"] : makerOf(unit)) ?? suffixed("");
  const exact = decimals !== null && unit === "none" ? suffixed("") : format;
  const write = exact(decimals);
  return (v) => {
    if (Number.isNaN(v)) return { text: "NaN", suffix: "" };
    if (!Number.isFinite(v)) return { text: v > 0 ? "+Inf" : "-Inf", suffix: "" };
    return write(v);
  };
}

export function stepsOf(unit: string): Steps {
  if (/^([kmg]?bytes|bits|bin.*|KiBs|MiBs)$/.test(unit)) return "binary";
  if (/^(s|m|h|d|dt.*|clocks)$/.test(unit)) return "time";
  return "decimal";
}
