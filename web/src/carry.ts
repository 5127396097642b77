// Range queries whose results are carried on from one moment to the next.

import type { Client } from "./api.ts";
import { carryOn, frameOf, type Frame, type Grid } from "./frame.ts";

/** Steps that are asked again, since samples of the last moments may come late. */
const overlap = 12;

export interface Ask {
  client: Client;
  expr: string;
  /** Label text of a series, {{name}} standing for a label's value. */
  legend: string;
  grid: Grid;
  signal: AbortSignal;
  /** A series that has left is dropped, as from a top list. */
  exact: boolean;
  /** The most series that the server shall send. */
  limit?: number;
}

export interface Carried {
  frame: Frame;
  /** The server's remarks about its newest answer. */
  warnings: string[];
  /** How many series that answer had. */
  series: number;
}

/** Keeps the frame of each query, and asks for no more than what is new. */
export class Carrier {
  readonly #known = new Map<string, Frame>();

  async fetch(ask: Ask): Promise<Carried> {
    const { expr, grid } = ask;
    const old = this.#known.get(expr);
    const [firstTime, lastTime] = [old?.times[0], old?.times.at(-1)];
    // Only a window that goes on from where the frame is has its first points.
    if (old && firstTime !== undefined && lastTime !== undefined && firstTime <= grid.start && lastTime <= grid.end) {
      const part = { ...grid, start: Math.max(grid.start, lastTime - overlap * grid.step) };
      const fresh = await this.#ask(ask, part);
      const carried = carryOn(old, fresh.frame, grid.end - grid.start, ask.exact);
      if (carried) {
        this.#known.set(expr, carried);
        return { ...fresh, frame: carried };
      }
    }
    const whole = await this.#ask(ask, grid);
    this.#known.set(expr, whole.frame);
    return whole;
  }

  /** Forgets all queries but these. */
  retain(exprs: readonly string[]): void {
    for (const expr of this.#known.keys()) if (!exprs.includes(expr)) this.#known.delete(expr);
  }

  async #ask({ client, expr, legend, signal, limit }: Ask, grid: Grid): Promise<Carried> {
    const params = limit === undefined ? grid : { ...grid, limit };
    const { data, warnings } = await client.queryRange(expr, params, signal);
    return { frame: frameOf(data, grid, legend), warnings, series: data.result.length };
  }
}
