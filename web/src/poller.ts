// Repeats a task while the page is looked at.

export interface PollerOptions {
  /** Between the end of a turn and the next; asked each time when it is a function. */
  intervalMs: number | (() => number);
  /** Must settle; what it throws is reported and does not end the polling. */
  task: (signal: AbortSignal) => Promise<void>;
  onError: (err: unknown) => void;
  /** False while nobody looks; asked when a turn is due. */
  visible: () => boolean;
}

/** The longest that a slow answer puts the next one off. */
const longestPauseMs = 30_000;

/**
 * How long to wait after an answer that took so long, at least shortestMs: one
 * that was slow is dear to both sides. A single slow one, of a server that was
 * busy starting, must not leave the page behind for minutes.
 */
export function pauseAfter(tookMs: number, shortestMs: number): number {
  return Math.max(shortestMs, Math.min(20 * tookMs, longestPauseMs));
}

/** One task at a time: the next turn is counted from the end of the last. */
export class Poller {
  readonly #o: PollerOptions;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #again = false;

  constructor(options: PollerOptions) {
    this.#o = options;
  }

  /** Waits for the first turn, where now() would run it. */
  start(): void {
    this.#plan();
  }

  /** Runs the task at once; when it is running already, once more right after. */
  async now(): Promise<void> {
    if (this.#abort.signal.aborted) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#running = true;
    try {
      do {
        this.#again = false;
        await this.#o.task(this.#abort.signal);
      } while (this.#again && !this.#abort.signal.aborted);
    } catch (err) {
      this.#o.onError(err);
    } finally {
      this.#running = false;
      this.#plan();
    }
  }

  /** Ends the polling and gives up what is under way. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  #plan(): void {
    if (this.#abort.signal.aborted) return;
    const { intervalMs } = this.#o;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        if (this.#o.visible()) void this.now();
        else this.#plan();
      },
      typeof intervalMs === "number" ? intervalMs : intervalMs(),
    );
  }
}
