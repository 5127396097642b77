// Why a panel is empty: metric names of its queries that the store does not have.

import type { Client } from "../api.ts";

const words = new Set(["by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2"]);

/** The metric names in a query: by {__name__="..."} too, labels and functions left out. */
export function metricNames(expr: string): string[] {
  const named = [...expr.matchAll(/\{[^}]*?__name__\s*=\s*"([^"]+)"/g)].map((m) => m[1] as string);
  const bare = expr
    .replace(/#.*$/gm, "")
    .replace(/"(\\.|[^"\\])*"|'(\\.|[^'\\])*'|`[^`]*`/g, '""')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, "")
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, " ")
    .replace(/\b\d[\w.]*/g, " ");
  for (const m of bare.matchAll(/(?<![\w:.$])[a-zA-Z_:][\w:]*/g)) {
    const rest = bare.slice((m.index ?? 0) + m[0].length);
    if (!words.has(m[0].toLowerCase()) && !/^\s*\(/.test(rest)) named.push(m[0]);
  }
  return [...new Set(named)];
}

/** Names a request: an address takes so many. */
const perRequest = 150;
const keepMs = 60_000;

/** Which names the store has, asked for all queries of a dashboard at once and kept for a minute. */
export class Names {
  readonly #client: Client;
  readonly #all: () => string[];
  #asked = 0;
  #found: Promise<Set<string>> | null = null;

  constructor(client: Client, all: () => string[]) {
    this.#client = client;
    this.#all = all;
  }

  /** Those of the names that no series has between two times (seconds). */
  async missing(names: readonly string[], from: number, to: number): Promise<string[]> {
    if (this.#found === null || Date.now() - this.#asked > keepMs) {
      this.#asked = Date.now();
      this.#found = this.#ask([...new Set([...this.#all(), ...names])], from, to);
      this.#found.catch(() => (this.#found = null));
    }
    const found = await this.#found;
    return names.filter((n) => !found.has(n));
  }

  async #ask(names: string[], from: number, to: number): Promise<Set<string>> {
    const found = new Set<string>();
    for (let i = 0; i < names.length; i += perRequest) {
      const match = `{__name__=~${JSON.stringify(names.slice(i, i + perRequest).join("|"))}}`;
      for (const n of await this.#client.get<string[]>("label/__name__/values", { "match[]": [match], start: from, end: to })) found.add(n);
    }
    return found;
  }
}
