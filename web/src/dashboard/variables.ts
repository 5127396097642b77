// The variables of a dashboard: their options, what is chosen, and what they stand for.

import { APIError, type Client } from "../api.ts";
import { formatSeries } from "../format.ts";
import { pattern } from "./field.ts";
import { inQuery, inText, plain, references, type Scope, type Value } from "./interpolate.ts";
import type { VariableDef } from "./model.ts";
import { durationText, seconds } from "./time.ts";

export const all = "$__all";
/** Options beyond these are not offered. */
export const maxOptions = 5000;

export interface Option {
  text: string;
  value: string;
}

export interface Variable {
  def: VariableDef;
  options: Option[];
  /** Values, or just `all`. */
  chosen: string[];
  /** Why there are no options. */
  error: string;
}

/** Where options come from; one method for each of Grafana's functions. */
export interface Lookup {
  labelValues: (label: string, match: string) => Promise<string[]>;
  labelNames: (match: string) => Promise<string[]>;
  series: (match: string) => Promise<string[]>;
  result: (expr: string) => Promise<string[]>;
}

/** Looks up in the store over a span of times (seconds). */
export function storeLookup(client: Client, span: { from: number; to: number }, signal: AbortSignal): Lookup {
  const params = (match: string): Record<string, string | number | string[]> => ({
    start: span.from,
    end: span.to,
    limit: maxOptions,
    ...(match === "" ? {} : { "match[]": [match] }),
  });
  return {
    labelValues: (label, match) => client.get<string[]>(`label/${encodeURIComponent(label)}/values`, params(match), signal),
    labelNames: (match) => client.get<string[]>("labels", params(match), signal),
    series: async (match) => (await client.get<Record<string, string>[]>("series", params(match), signal)).map(formatSeries),
    result: async (expr) => {
      const { data } = await client.query(expr, { time: span.to, limit: maxOptions }, signal);
      if (data.resultType === "scalar" || data.resultType === "string") return [`scalar ${data.result[1]} ${data.result[0] * 1000}`];
      return data.result.map((s) => `${formatSeries(s.metric)} ${s.value?.[1] ?? ""} ${(s.value?.[0] ?? 0) * 1000}`);
    },
  };
}

/** Asks what a query variable asks for. */
async function ask(query: string, lookup: Lookup): Promise<string[]> {
  const q = query.trim();
  const values = /^label_values\s*\(\s*(?:(.*\S)\s*,)?\s*"?([a-zA-Z_$][\w$:.]*)"?\s*\)$/s.exec(q);
  if (values) return lookup.labelValues(values[2] as string, values[1] ?? "");
  const names = /^label_names\s*\(\s*(.*?)\s*\)$/s.exec(q);
  if (names) return lookup.labelNames(names[1] ?? "");
  const metrics = /^metrics\s*\(\s*(.*?)\s*\)$/s.exec(q);
  if (metrics) return lookup.labelValues("__name__", `{__name__=~${JSON.stringify(`.*(?:${metrics[1]}).*`)}}`);
  const result = /^query_result\s*\((.*)\)$/s.exec(q);
  if (result) return lookup.result(result[1] as string);
  return q === "" ? [] : lookup.series(q);
}

/** Keeps what the expression finds; a group in it is what counts. */
export function filtered(values: string[], regex: string): Option[] {
  const re = regex === "" ? null : pattern(regex);
  const seen = new Set<string>();
  const out: Option[] = [];
  for (const v of values) {
    const m = re ? re.exec(v) : null;
    if (re && !m) continue;
    const value = m?.groups?.["value"] ?? m?.groups?.["text"] ?? m?.[1] ?? v;
    if (seen.has(value)) continue;
    seen.add(value);
    out.push({ value, text: m?.groups?.["text"] ?? value });
  }
  return out;
}

/** Grafana's numbers for the order of options: 1 and 2 by text, 3 and 4 by the first number, 5 and 6 without case, 7 and 8 natural; even ones turn it round. */
export function sorted(options: Option[], order: number): Option[] {
  if (order < 1 || order > 8) return options;
  const first = (o: Option): number => Number(/\d+(\.\d+)?/.exec(o.text)?.[0] ?? -1);
  const natural = new Intl.Collator("en", { numeric: true });
  const by = [
    (a: Option, b: Option) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0),
    (a: Option, b: Option) => first(a) - first(b),
    (a: Option, b: Option) => a.text.toLowerCase().localeCompare(b.text.toLowerCase(), "en"),
    (a: Option, b: Option) => natural.compare(a.text, b.text),
  ][Math.ceil(order / 2) - 1] as (a: Option, b: Option) => number;
  const out = [...options].sort(by);
  return order % 2 === 0 ? out.reverse() : out;
}

/** a, b, "key : value" and commas written as \, */
export function customOptions(query: string): Option[] {
  return [...query.matchAll(/(?:\\,|[^,])+/g)]
    .map((m) => m[0].replace(/\\,/g, ",").trim())
    .filter((p) => p !== "")
    .map((p) => {
      const pair = /^\s*(.+)\s:\s(.+)$/.exec(p);
      return pair ? { text: (pair[1] as string).trim(), value: (pair[2] as string).trim() } : { text: p, value: p };
    });
}

/** Groups in which each variable comes after those its query names; those of a circle come last. */
export function inOrder(defs: readonly VariableDef[]): VariableDef[][] {
  const names = new Set(defs.map((d) => d.name));
  const done = new Set<string>();
  const out: VariableDef[][] = [];
  let rest = [...defs];
  while (rest.length > 0) {
    const ready = rest.filter((d) => references(`${d.query} ${d.regex}`).every((r) => r === d.name || !names.has(r) || done.has(r)));
    const next = ready.length > 0 ? ready : rest;
    out.push(next);
    for (const d of next) done.add(d.name);
    rest = rest.filter((d) => !next.includes(d));
  }
  return out;
}

async function optionsOf(def: VariableDef, scope: Scope, lookup: Lookup): Promise<Option[]> {
  switch (def.type) {
    case "query": {
      const found = await ask(inQuery(def.query, scope), lookup);
      return sorted(filtered(found, inText(def.regex, scope)), def.sort).slice(0, maxOptions);
    }
    case "custom":
      return customOptions(def.query);
    case "interval": {
      const given = def.query.split(/[\s,]+/).map((t) => t.replace(/["']/g, "")).filter((t) => t !== "" && t !== "auto");
      const options = given.map((v) => ({ text: v, value: v }));
      return def.auto ? [{ text: "auto", value: `$__auto_interval_${def.name}` }, ...options] : options;
    }
    case "datasource":
      return [{ text: "this server", value: "this" }];
  }
  return [];
}

/** What is chosen: of the address, else of the file, else All or the first. */
function choose(def: VariableDef, options: Option[], wanted: string[]): string[] {
  if (def.type === "constant") return [def.query];
  if (def.type === "datasource") return ["this"];
  if (def.type === "textbox") return [wanted[0] ?? def.current[0] ?? def.query];
  const isAll = (v: string): boolean => v === all || v === "All";
  if (wanted.length > 0) {
    if (def.includeAll && wanted.some(isAll)) return [all];
    // What the address says holds even where nothing of that name is left.
    return def.multi ? wanted : wanted.slice(0, 1);
  }
  if (def.includeAll && def.current.some(isAll)) return [all];
  const there = def.current.filter((c) => options.some((o) => o.value === c));
  if (there.length > 0) return def.multi ? there : there.slice(0, 1);
  if (def.includeAll) return [all];
  return options[0] ? [options[0].value] : [];
}

/** What a variable stands for in queries and texts; `span` is the length of the time range in seconds. */
export function valueOf(v: Variable, span: number): Value {
  const { def, chosen, options } = v;
  const regex = def.multi || def.includeAll;
  if (chosen.length === 1 && chosen[0] === all) {
    if (def.allValue !== "") return { values: [def.allValue], text: "All", raw: true, regex };
    return { values: options.map((o) => o.value), text: "All", raw: false, regex };
  }
  if (def.type === "interval" && chosen[0]?.startsWith("$__auto_interval")) {
    const secs = Math.max(span / Math.max(1, def.autoCount), seconds(def.autoMin) ?? 1);
    return plain(durationText(Math.max(1, Math.round(secs))));
  }
  const text = chosen.map((c) => options.find((o) => o.value === c)?.text ?? c).join(" + ");
  const raw = ["constant", "interval", "textbox", "custom"].includes(def.type) && !regex;
  return { values: chosen, text, raw, regex };
}

/** Finds options and choice of all variables. A query that the server refuses is the variable's error; a server that is gone is the caller's. */
export async function resolve(defs: readonly VariableDef[], params: URLSearchParams, builtin: Scope, span: number, lookup: Lookup): Promise<Variable[]> {
  const found = new Map<string, Variable>();
  const scope: Scope = (name) => {
    const v = found.get(name);
    return v ? valueOf(v, span) : builtin(name);
  };
  for (const group of inOrder(defs)) {
    const done = await Promise.all(
      group.map(async (def): Promise<Variable> => {
        const wanted = params.getAll(`var-${def.name}`);
        try {
          const options = await optionsOf(def, scope, lookup);
          return { def, options, chosen: choose(def, options, wanted), error: unsupported(def) };
        } catch (err) {
          if (!(err instanceof APIError) || err.failure !== "api") throw err;
          return { def, options: [], chosen: choose(def, [], wanted), error: err.message };
        }
      }),
    );
    for (const v of done) found.set(v.def.name, v);
  }
  return defs.map((d) => found.get(d.name) as Variable);
}

const kinds = ["query", "custom", "interval", "datasource", "constant", "textbox"];

function unsupported(def: VariableDef): string {
  return kinds.includes(def.type) ? "" : `variables of type ${def.type} are not known here`;
}
