// Reading JSON that others wrote: a field of another type than awaited counts as absent.

export type Json = Record<string, unknown>;

export function obj(v: unknown): Json {
  return typeof v === "object" && v !== null && !Array.isArray(v) ? (v as Json) : {};
}

export function list(v: unknown): unknown[] {
  return Array.isArray(v) ? v : [];
}

export function str(v: unknown, otherwise = ""): string {
  return typeof v === "string" ? v : typeof v === "number" || typeof v === "boolean" ? String(v) : otherwise;
}

/** A finite number, also where it is written as text; else null. */
export function num(v: unknown): number | null {
  const n = typeof v === "number" ? v : typeof v === "string" && v.trim() !== "" ? Number(v) : NaN;
  return Number.isFinite(n) ? n : null;
}

export function strings(v: unknown): string[] {
  return Array.isArray(v) ? v.map((x) => str(x)) : typeof v === "string" ? [v] : [];
}

/** The value at a path of field names, undefined where it ends early. */
export function at(v: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((o, name) => obj(o)[name], v);
}
