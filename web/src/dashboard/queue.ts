// A few tasks at a time, first come first served.

export class Queue {
  readonly #most: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Runs the task when its turn comes; one given up while it waits is not run. */
  async run(signal: AbortSignal, task: () => Promise<void>): Promise<void> {
    if (this.#running >= this.#most) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#running++;
    try {
      if (!signal.aborted) await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }
}
