// Grafana's calculations: a series of values as one.

export type Values = readonly (number | null)[];

const numbers = (v: Values): number[] => v.filter((x): x is number => x !== null && !Number.isNaN(x));

function percentile(v: Values, p: number): number | null {
  const sorted = numbers(v).sort((a, b) => a - b);
  return sorted.length === 0 ? null : (sorted[Math.min(sorted.length - 1, Math.max(0, Math.round((sorted.length - 1) * p)))] ?? null);
}

const sum = (v: number[]): number => v.reduce((a, b) => a + b, 0);

function variance(v: Values): number | null {
  const all = numbers(v);
  if (all.length === 0) return null;
  const mean = sum(all) / all.length;
  return sum(all.map((x) => (x - mean) ** 2)) / all.length;
}

/** The sum of all rises: a counter that starts again is taken from nothing. */
function delta(v: Values): number {
  const all = numbers(v);
  return all.reduce((total, x, i) => {
    const before = all[i - 1];
    return before === undefined ? total : total + (x >= before ? x - before : x);
  }, 0);
}

type Reducer = (v: Values) => number | null;

const ends = (v: Values, f: (first: number, last: number) => number): number | null => {
  const all = numbers(v);
  return all.length === 0 ? null : f(all[0] as number, all.at(-1) as number);
};
const least = (all: number[]): number | null => (all.length === 0 ? null : all.reduce((a, b) => Math.min(a, b)));
const most = (all: number[]): number | null => (all.length === 0 ? null : all.reduce((a, b) => Math.max(a, b)));

const reducers: Record<string, { label: string; reduce: Reducer }> = {
  lastNotNull: { label: "Last *", reduce: (v) => numbers(v).at(-1) ?? null },
  last: { label: "Last", reduce: (v) => v.at(-1) ?? null },
  firstNotNull: { label: "First *", reduce: (v) => numbers(v)[0] ?? null },
  first: { label: "First", reduce: (v) => v[0] ?? null },
  min: { label: "Min", reduce: (v) => least(numbers(v)) },
  max: { label: "Max", reduce: (v) => most(numbers(v)) },
  mean: { label: "Mean", reduce: (v) => (numbers(v).length === 0 ? null : sum(numbers(v)) / numbers(v).length) },
  median: { label: "Median", reduce: (v) => percentile(v, 0.5) },
  sum: { label: "Total", reduce: (v) => (numbers(v).length === 0 ? null : sum(numbers(v))) },
  count: { label: "Count", reduce: (v) => v.length },
  range: { label: "Range", reduce: (v) => (numbers(v).length === 0 ? null : (most(numbers(v)) ?? 0) - (least(numbers(v)) ?? 0)) },
  delta: { label: "Delta", reduce: delta },
  diff: { label: "Difference", reduce: (v) => ends(v, (a, b) => b - a) },
  diffperc: { label: "Difference percent", reduce: (v) => ends(v, (a, b) => (b - a) / a) },
  logmin: { label: "Min (above zero)", reduce: (v) => least(numbers(v).filter((x) => x > 0)) },
  variance: { label: "Variance", reduce: variance },
  stdDev: { label: "StdDev", reduce: (v) => (variance(v) === null ? null : Math.sqrt(variance(v) as number)) },
  distinctCount: { label: "Distinct Count", reduce: (v) => new Set(v).size },
  changeCount: { label: "Change Count", reduce: (v) => numbers(v).filter((x, i, all) => i > 0 && x !== all[i - 1]).length },
  allIsZero: { label: "All Zeros", reduce: (v) => Number(v.length > 0 && v.every((x) => x === 0)) },
  allIsNull: { label: "All Nulls", reduce: (v) => Number(v.every((x) => x === null)) },
};

/** Names of older files for the same. */
const aliases: Record<string, string> = { avg: "mean", current: "lastNotNull", total: "sum", stddev: "stdDev", stdvar: "variance" };

function find(id: string): { label: string; reduce: Reducer } | null {
  const name = aliases[id] ?? id;
  if (Object.hasOwn(reducers, name)) return reducers[name] ?? null;
  const p = /^p(\d{1,2})$/.exec(name);
  return p ? { label: `${p[1]}th %`, reduce: (v) => percentile(v, Number(p[1]) / 100) } : null;
}

/** What a calculation of that name makes of the values; null where there is nothing to calculate. */
export function reduce(id: string, v: Values): number | null {
  return (find(id) ?? (reducers["lastNotNull"] as { reduce: Reducer })).reduce(v);
}

/** The heading of a calculation. */
export function reducerLabel(id: string): string {
  return find(id)?.label ?? id;
}

export function isReducer(id: string): boolean {
  return find(id) !== null;
}
