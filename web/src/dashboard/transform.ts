// Grafana's transformations of tables, as far as dashboards commonly use them.

import { at, list, num, obj, str, strings, type Json } from "./json.ts";
import { pattern } from "./field.ts";
import { rowCount, type Cell, type Column, type Table } from "./frames.ts";
import type { Transformation } from "./model.ts";
import { reduce, reducerLabel } from "./reduce.ts";

type Step = (tables: Table[], options: Json) => Table[];

const each = (f: (t: Table, o: Json) => Table): Step => (tables, o) => tables.map((t) => f(t, o));

const find = (t: Table, name: string): Column | undefined => t.columns.find((c) => c.name === name);

function pick(t: Table, rows: number[]): Table {
  return { ...t, columns: t.columns.map((c) => ({ ...c, values: rows.map((r) => c.values[r] ?? null) })) };
}

const indexes = (t: Table): number[] => Array.from({ length: rowCount(t) }, (_, i) => i);

/** All tables as one; rows that agree in all columns the tables have in common become one row. */
const merge: Step = (tables) => {
  const filled = tables.filter((t) => rowCount(t) > 0);
  const [first] = filled;
  if (!first || filled.length === 1) return filled.length > 0 ? filled : tables.slice(0, 1);
  const names = [...new Set(filled.flatMap((t) => t.columns.map((c) => c.name)))];
  const common = names.filter((n) => filled.every((t) => find(t, n)));
  const rows: Map<string, Cell>[] = [];
  const byKey = new Map<string, Map<string, Cell>[]>();
  for (const t of filled) {
    for (const r of indexes(t)) {
      const row = new Map(t.columns.map((c) => [c.name, c.values[r] ?? null]));
      const key = JSON.stringify(common.map((n) => row.get(n)));
      const same = byKey.get(key) ?? [];
      byKey.set(key, same);
      const fits = same.find((other) => [...row].every(([n, v]) => !other.has(n) || other.get(n) === v));
      if (fits) for (const [n, v] of row) fits.set(n, v);
      else {
        same.push(row);
        rows.push(row);
      }
    }
  }
  const columns = names.map((n) => {
    const like = filled.map((t) => find(t, n)).find((c) => c !== undefined) as Column;
    return { ...like, values: rows.map((r) => r.get(n) ?? null) };
  });
  return [{ refId: first.refId, columns }];
};

/** Side by side by the values of one column; names that come twice are numbered. */
const joinByField: Step = (tables, o) => {
  const by = str(o["byField"]) || (tables[0]?.columns.find((c) => c.type === "time")?.name ?? "Time");
  const joined = tables.filter((t) => find(t, by) && rowCount(t) > 0);
  const [first] = joined;
  if (!first || joined.length < 2) return joined.length === 1 ? joined : tables;
  const places = joined.map((t) => {
    const map = new Map<Cell, number[]>();
    (find(t, by) as Column).values.forEach((v, i) => map.set(v, [...(map.get(v) ?? []), i]));
    return map;
  });
  let keys = [...new Set(places.flatMap((p) => [...p.keys()]))];
  if (str(o["mode"]) === "inner") keys = keys.filter((k) => places.every((p) => p.has(k)));
  if (find(first, by)?.type === "time") keys.sort((a, b) => Number(a) - Number(b));
  const rows = keys.flatMap((k) => {
    const n = Math.max(...places.map((p) => p.get(k)?.length ?? 0));
    return Array.from({ length: n }, (_, i) => ({ k, at: places.map((p) => p.get(k)?.[i] ?? (p.get(k)?.length === 1 ? p.get(k)?.[0] : undefined)) }));
  });
  const others = joined.flatMap((t, i) => t.columns.filter((c) => c.name !== by).map((c) => ({ i, c })));
  const columns = others.map(({ i, c }) => ({ ...c, values: rows.map((r) => (r.at[i] === undefined ? null : (c.values[r.at[i]] ?? null))) }));
  const key = { ...(find(first, by) as Column), values: rows.map((r) => r.k) };
  return [{ refId: first.refId, columns: [key, ...numbered(columns)] }];
};

function numbered(columns: Column[]): Column[] {
  const total = new Map<string, number>();
  for (const c of columns) total.set(c.name, (total.get(c.name) ?? 0) + 1);
  const seen = new Map<string, number>();
  return columns.map((c) => {
    if ((total.get(c.name) ?? 0) < 2) return c;
    const n = (seen.get(c.name) ?? 0) + 1;
    seen.set(c.name, n);
    return { ...c, name: `${c.name} ${n}` };
  });
}

const organize: Step = each((t, o) => {
  const [exclude, include, index, rename] = [obj(o["excludeByName"]), obj(o["includeByName"]), obj(o["indexByName"]), obj(o["renameByName"])];
  const wanted = Object.values(include).some((v) => v === true) ? (n: string) => include[n] === true : () => true;
  const kept = t.columns.filter((c) => exclude[c.name] !== true && wanted(c.name));
  const place = (c: Column): number => num(index[c.name]) ?? Number.MAX_SAFE_INTEGER;
  const ordered = [...kept].sort((a, b) => place(a) - place(b));
  return { ...t, columns: ordered.map((c) => ({ ...c, name: str(rename[c.name]) || c.name })) };
});

const filterFields: Step = each((t, o) => {
  const hit = (side: unknown, name: string): boolean => {
    const re = str(at(side, "pattern"));
    return strings(at(side, "names")).includes(name) || (re !== "" && (pattern(re)?.test(name) ?? false));
  };
  const include = obj(o["include"]);
  const some = Object.keys(include).length > 0;
  return { ...t, columns: t.columns.filter((c) => (!some || hit(include, c.name)) && !hit(o["exclude"], c.name)) };
});

/** Numbers by size, all else by text; what is absent stands last. */
export function compareCells(a: Cell, b: Cell): number {
  const absent = (v: Cell): boolean => v === null || v === "" || (typeof v === "number" && Number.isNaN(v));
  if (absent(a) || absent(b)) return Number(absent(a)) - Number(absent(b));
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** The rows in the order of a column. */
export function sortTable(t: Table, name: string, desc: boolean): Table {
  const c = find(t, name);
  if (!c) return t;
  const rows = indexes(t).sort((a, b) => {
    const [x, y] = [c.values[a] ?? null, c.values[b] ?? null];
    const way = x === null || y === null ? 1 : desc ? -1 : 1;
    return compareCells(x, y) * way;
  });
  return pick(t, rows);
}

const sortBy: Step = each((t, o) => {
  const sort = list(o["sort"])[0];
  return sortTable(t, str(at(sort, "field")), at(sort, "desc") === true);
});

const numberColumns = (t: Table): Column[] => t.columns.filter((c) => c.type === "number");
const asNumbers = (values: Cell[]): (number | null)[] => values.map((v) => (typeof v === "number" ? v : null));

const reduceStep: Step = (tables, o) => {
  const reducers = strings(o["reducers"]);
  const calcs = reducers.length > 0 ? reducers : ["max"];
  if (str(o["mode"]) === "reduceFields") {
    return tables.map((t) => ({ ...t, columns: numberColumns(t).map((c) => ({ ...c, values: [reduce(calcs[0] as string, asNumbers(c.values))] })) }));
  }
  const fields = tables.flatMap(numberColumns);
  const refId = tables[0]?.refId ?? "A";
  const labels = o["labelsToFields"] === true ? [...new Set(fields.flatMap((f) => Object.keys(f.labels)))].sort() : [];
  const column = (name: string, type: Column["type"], values: Cell[]): Column => ({ name, type, values, refId, labels: {} });
  return [
    {
      refId,
      columns: [
        column("Field", "string", fields.map((f) => f.name)),
        ...labels.map((l) => column(l, "string", fields.map((f) => f.labels[l] ?? ""))),
        ...calcs.map((c) => column(reducerLabel(c), "number", fields.map((f) => reduce(c, asNumbers(f.values))))),
      ],
    },
  ];
};

const groupBy: Step = each((t, o) => {
  const fields = obj(o["fields"]);
  const operation = (c: Column): string => str(at(fields[c.name], "operation"));
  const keys = t.columns.filter((c) => operation(c) === "groupby");
  if (keys.length === 0) return t;
  const groups = new Map<string, number[]>();
  for (const r of indexes(t)) {
    const key = JSON.stringify(keys.map((c) => c.values[r]));
    groups.set(key, [...(groups.get(key) ?? []), r]);
  }
  const rows = [...groups.values()];
  const made = t.columns
    .filter((c) => operation(c) === "aggregate")
    .flatMap((c) =>
      strings(at(fields[c.name], "aggregations")).map((calc): Column => {
        const values = rows.map((g) => (c.type === "number" ? reduce(calc, asNumbers(g.map((r) => c.values[r] ?? null))) : calc === "count" ? g.length : (c.values[g.at(-1) as number] ?? null)));
        return { ...c, name: `${c.name} (${calc})`, values, type: calc === "count" ? "number" : c.type };
      }),
    );
  return { ...t, columns: [...keys.map((c) => ({ ...c, values: rows.map((g) => c.values[g[0] as number] ?? null) })), ...made] };
});

const operators: Record<string, (a: number, b: number) => number> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "%": (a, b) => a % b,
};

function operand(t: Table, side: unknown): (row: number) => number | null {
  const fixed = num(typeof side === "object" ? at(side, "fixed") : side);
  const name = typeof side === "string" ? side : str(at(side, "matcher", "options"));
  const c = find(t, name);
  return (row) => {
    const v = c?.values[row];
    return c ? (typeof v === "number" ? v : null) : fixed;
  };
}

const calculate: Step = each((t, o) => {
  const mode = str(o["mode"], "reduceRow");
  let values: Cell[];
  let name: string;
  if (mode === "binary") {
    const op = str(at(o["binary"], "operator"), "+");
    const [left, right] = [operand(t, at(o["binary"], "left")), operand(t, at(o["binary"], "right"))];
    values = indexes(t).map((r) => {
      const [a, b] = [left(r), right(r)];
      return a === null || b === null ? null : (operators[op]?.(a, b) ?? null);
    });
    name = `Calculation (${op})`;
  } else {
    const calc = str(at(o["reduce"], "reducer"), "sum");
    const include = strings(at(o["reduce"], "include"));
    const from = numberColumns(t).filter((c) => include.length === 0 || include.includes(c.name));
    values = indexes(t).map((r) => reduce(calc, asNumbers(from.map((c) => c.values[r] ?? null))));
    name = reducerLabel(calc);
  }
  const made: Column = { name: str(o["alias"]) || name, type: "number", values, refId: t.refId, labels: {} };
  const kept = o["replaceFields"] === true ? t.columns.filter((c) => c.type === "time") : t.columns;
  return { ...t, columns: [...kept, made] };
});

const labelsToFields: Step = (tables) =>
  tables.map((t) => {
    const labels = [...new Set(t.columns.flatMap((c) => Object.keys(c.labels)))].filter((l) => !find(t, l)).sort();
    const of = (l: string): string => t.columns.find((c) => c.labels[l] !== undefined)?.labels[l] ?? "";
    const made = labels.map((l): Column => ({ name: l, type: "string", values: indexes(t).map(() => of(l)), refId: t.refId, labels: {} }));
    return { ...t, columns: [...t.columns.filter((c) => c.type === "time"), ...made, ...t.columns.filter((c) => c.type !== "time")] };
  });

const renameByRegex: Step = each((t, o) => {
  const re = pattern(str(o["regex"]));
  const to = str(o["renamePattern"]);
  return re ? { ...t, columns: t.columns.map((c) => ({ ...c, name: c.name.replace(re, to) })) } : t;
});

const limit: Step = each((t, o) => pick(t, indexes(t).slice(0, num(o["limitField"]) ?? 10)));

function passes(v: Cell, id: string, options: unknown): boolean {
  const want = at(options, "value");
  const [a, b] = [typeof v === "number" ? v : NaN, num(want) ?? NaN];
  const tests: Record<string, () => boolean> = {
    greater: () => a > b,
    greaterOrEqual: () => a >= b,
    lower: () => a < b,
    lowerOrEqual: () => a <= b,
    equal: () => String(v) === str(want) || a === b,
    notEqual: () => String(v) !== str(want) && a !== b,
    isNull: () => v === null,
    isNotNull: () => v !== null,
    regex: () => pattern(str(want))?.test(String(v)) ?? false,
    range: () => a >= (num(at(options, "from")) ?? -Infinity) && a <= (num(at(options, "to")) ?? Infinity),
    between: () => a >= (num(at(options, "from")) ?? -Infinity) && a <= (num(at(options, "to")) ?? Infinity),
  };
  return tests[id]?.() ?? true;
}

const filterByValue: Step = each((t, o) => {
  const filters = list(o["filters"]).map((f) => ({ c: find(t, str(at(f, "fieldName"))), id: str(at(f, "config", "id")), options: at(f, "config", "options") }));
  const any = str(o["match"], "any") === "any";
  const exclude = str(o["type"]) === "exclude";
  const hit = (r: number): boolean => {
    const results = filters.map((f) => (f.c ? passes(f.c.values[r] ?? null, f.id, f.options) : false));
    return any ? results.some(Boolean) : results.every(Boolean);
  };
  return pick(t, indexes(t).filter((r) => hit(r) !== exclude));
});

const same: Step = (tables) => tables;

const steps: Record<string, Step> = {
  merge,
  organize,
  joinByField,
  seriesToColumns: joinByField,
  filterFieldsByName: filterFields,
  sortBy,
  reduce: reduceStep,
  groupBy,
  calculateField: calculate,
  labelsToFields,
  renameByRegex,
  limit,
  filterByValue,
  convertFieldType: same,
  formatTime: same,
};

/** The tables after all steps, and the names of those steps that are not known here. */
export function transform(tables: Table[], transformations: readonly Transformation[]): { tables: Table[]; unknown: string[] } {
  let out = tables;
  const unknown: string[] = [];
  for (const t of transformations) {
    const step = Object.hasOwn(steps, t.id) ? steps[t.id] : undefined;
    if (step) out = step(out, t.options);
    else unknown.push(t.id);
  }
  return { tables: out, unknown };
}
