// Whether the server answers: one banner for the whole page, and the way back.

import type { Client } from "./api.ts";
import { clock } from "./format.ts";
import { setText } from "./dom.ts";

/** How often a server that is gone is asked again. */
const probeMs = 2000;
/** A page that asks nothing by itself is told so late that its server has gone. */
const quietMs = 15_000;

export class Connection {
  readonly #banner: HTMLElement;
  readonly #regained: () => void;
  #lostAt: number | null = null;
  #lastGood = Date.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #client: Client | undefined;

  constructor(banner: HTMLElement, regained: () => void) {
    this.#banner = banner;
    this.#regained = regained;
  }

  /** The client that asks whether the server is back. */
  probeWith(client: Client): void {
    this.#client = client;
    this.#planProbe(quietMs);
  }

  contact(ok: boolean, reason: string): void {
    if (ok) {
      this.#lastGood = Date.now();
      this.#planProbe(quietMs);
      if (this.#lostAt === null) return;
      this.#lostAt = null;
      this.#banner.hidden = true;
      this.#regained();
      return;
    }
    this.#lostAt ??= Date.now();
    setText(
      this.#banner,
      `The server does not answer (${reason}). What you see is from ${clock(this.#lastGood / 1000, true)}; trying again every ${probeMs / 1000} s.`,
    );
    this.#banner.hidden = false;
    this.#planProbe(probeMs);
  }

  #planProbe(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#probe(), ms);
  }

  async #probe(): Promise<void> {
    // Nobody looks: nothing to tell, and a fresh look asks by itself.
    if (document.hidden && this.#lostAt === null) return this.#planProbe(quietMs);
    try {
      await this.#client?.query("1");
    } catch {
      // The client has told contact() why, which plans the next try.
    }
  }
}
