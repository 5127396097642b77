// Names and values that the editor completes, from the HTTP API, each list
// bounded and kept for a while: a keystroke is no reason to ask again.

import type { Client, Metadata } from "../api.ts";

/** Longer lists are not read by anybody, and cost the server and the tab. */
const maxNames = 20_000;
const maxValues = 2_000;
const keepMs = 120_000;
const keepLists = 200;

/** A matcher as the editor's parser gives it; its type is a number of the grammar. */
export interface ParsedMatcher {
  type: number;
  name: string;
  value: string;
  matchesEmpty: () => boolean;
}

/** What the completion asks for; the interface of codemirror-promql's PrometheusClient. */
export class Names {
  readonly #client: Client;
  readonly #operator: (type: number) => string;
  readonly #abort = new AbortController();
  readonly #kept = new Map<string, { at: number; value: Promise<unknown> }>();

  /** `operator` tells how a matcher's type is written. */
  constructor(client: Client, operator: (type: number) => string) {
    this.#client = client;
    this.#operator = operator;
  }

  metricNames(): Promise<string[]> {
    return this.#list("label/__name__/values", { limit: maxNames });
  }

  labelNames(metric?: string): Promise<string[]> {
    return this.#list("labels", { limit: maxValues, ...(metric ? { "match[]": selector(metric, []) } : {}) });
  }

  labelValues(label: string, metric?: string, matchers: ParsedMatcher[] = []): Promise<string[]> {
    // The matcher that is being written must not narrow its own values.
    const others = matchers.filter((m) => m.name !== label && !m.matchesEmpty());
    const match = metric || others.length > 0 ? { "match[]": selector(metric ?? "", others.map((m) => this.#write(m))) } : {};
    return this.#list(`label/${encodeURIComponent(label)}/values`, { limit: maxValues, ...match });
  }

  metricMetadata(): Promise<Record<string, Metadata[]>> {
    return this.#keep("metadata", { limit: maxNames, limit_per_metric: 1 }, {});
  }

  series(): Promise<Map<string, string>[]> {
    return Promise.resolve([]); // of the interface; completion asks for names and values alone
  }

  flags(): Promise<Record<string, string>> {
    return this.#keep("status/flags", {}, {});
  }

  destroy(): void {
    this.#abort.abort();
  }

  #write(m: ParsedMatcher): string {
    return `${/^[a-zA-Z_]\w*$/.test(m.name) ? m.name : JSON.stringify(m.name)}${this.#operator(m.type)}${JSON.stringify(m.value)}`;
  }

  #list(path: string, params: Record<string, string | number>): Promise<string[]> {
    return this.#keep<string[]>(path, params, []);
  }

  /** What was asked lately is not asked again; what failed is, and gives nothing until then. */
  #keep<T>(path: string, params: Record<string, string | number>, none: T): Promise<T> {
    const key = `${path} ${JSON.stringify(params)}`;
    const old = this.#kept.get(key);
    if (old && Date.now() - old.at < keepMs) return old.value as Promise<T>;
    this.#kept.delete(key);
    const oldest = this.#kept.keys().next();
    if (this.#kept.size >= keepLists && !oldest.done) this.#kept.delete(oldest.value);
    const value = this.#client.get<T>(path, params, this.#abort.signal).catch(() => {
      this.#kept.delete(key);
      return none;
    });
    this.#kept.set(key, { at: Date.now(), value });
    return value;
  }
}

/** Selectors of a metric by any name that PromQL can write. */
function selector(metric: string, matchers: string[]): string {
  const name = metric === "" ? [] : [`__name__=${JSON.stringify(metric)}`];
  return `{${[...name, ...matchers].join(",")}}`;
}
