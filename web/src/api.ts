// Client of the Prometheus HTTP API v1 of the server that this page came from.

export type Labels = Record<string, string>;
/** [time in seconds, value as text: PromQL's NaN and Inf do not fit JSON] */
export type Sample = [number, string];

export interface HistogramValue {
  count: string;
  sum: string;
}

export interface InstantSeries {
  metric: Labels;
  value?: Sample;
  values?: Sample[];
  histogram?: [number, HistogramValue];
  histograms?: [number, HistogramValue][];
}

export type InstantData =
  | { resultType: "vector" | "matrix"; result: InstantSeries[] }
  | { resultType: "scalar"; result: Sample }
  | { resultType: "string"; result: Sample };

export interface RangeData {
  resultType: "matrix";
  result: { metric: Labels; values?: Sample[]; histograms?: [number, HistogramValue][] }[];
}

export interface Target {
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: "up" | "down" | "unknown";
  scrapeInterval: string;
  scrapeTimeout: string;
}

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: "firing" | "pending" | "inactive";
  /** RFC 3339. */
  activeAt?: string;
  value: string;
}

export interface Rule {
  type: "alerting" | "recording";
  name: string;
  query: string;
  labels?: Labels;
  health: "ok" | "err" | "unknown";
  lastError?: string;
  /** RFC 3339; the year 1 before the first. */
  lastEvaluation: string;
  /** Seconds. */
  evaluationTime: number;
  // What follows is of alerting rules alone.
  state?: "firing" | "pending" | "inactive" | "unknown";
  /** Seconds. */
  duration?: number;
  keepFiringFor?: number;
  annotations?: Labels;
  alerts?: Alert[] | null;
}

export interface RuleGroup {
  name: string;
  file: string;
  /** Seconds. */
  interval: number;
  lastEvaluation: string;
  /** Seconds. */
  evaluationTime: number;
  rules: Rule[];
}

export interface Metadata {
  type: string;
  help: string;
  unit: string;
}

/** A name and how much there is of it. */
export interface Stat {
  name: string;
  value: number;
}

export interface TSDBStatus {
  /** Times in milliseconds. */
  headStats: { numSeries: number; numLabelPairs?: number; chunkCount: number; minTime: number; maxTime: number };
  seriesCountByMetricName: Stat[];
  labelValueCountByLabelName: Stat[];
  memoryInBytesByLabelName: Stat[];
  seriesCountByLabelValuePair: Stat[];
}

export interface Alertmanagers {
  activeAlertmanagers: { url: string }[] | null;
  droppedAlertmanagers: { url: string }[] | null;
}

/** An answer of the API with the server's remarks about it. */
export interface Answer<T> {
  data: T;
  warnings: string[];
}

/**
 * Why a request has no answer. "unreachable": nobody answered, or only a proxy
 * or a server that is still starting did; "api": the server answered with an
 * error about this request; "aborted": this page gave it up.
 */
export type Failure = "unreachable" | "api" | "aborted";

export class APIError extends Error {
  readonly failure: Failure;
  /** The server's error type (bad_data, execution, timeout, ...), or "". */
  readonly errorType: string;

  constructor(failure: Failure, message: string, errorType = "") {
    super(message);
    this.name = "APIError";
    this.failure = failure;
    this.errorType = errorType;
  }
}

export interface ClientOptions {
  /** Where api/v1/ lives, with a slash at its end. */
  base: string;
  fetch: typeof fetch;
  /** After this long without an answer the server counts as unreachable. */
  timeoutMs: number;
  /** Told after each request whether the server answered at all, and when not, why. */
  onContact: (ok: boolean, reason: string) => void;
}

export interface RangeParams {
  start: number;
  end: number;
  step: number;
  limit?: number;
}

interface Envelope {
  status: "success" | "error";
  data?: unknown;
  errorType?: string;
  error?: string;
  warnings?: string[];
  infos?: string[];
}

export class Client {
  readonly #o: ClientOptions;

  constructor(options: ClientOptions) {
    this.#o = options;
  }

  /** Evaluates at one time (seconds; the server's now when absent). */
  query(expr: string, params: { time?: number; limit?: number } = {}, signal?: AbortSignal): Promise<Answer<InstantData>> {
    return this.#post<InstantData>("query", { query: expr, ...params }, signal);
  }

  queryRange(expr: string, params: RangeParams, signal?: AbortSignal): Promise<Answer<RangeData>> {
    return this.#post<RangeData>("query_range", { query: expr, ...params }, signal);
  }

  async targets(signal?: AbortSignal): Promise<Target[]> {
    const a = await this.#request<{ activeTargets: Target[] | null }>("targets?state=active", {}, signal);
    return a.data.activeTargets ?? [];
  }

  /** All groups of rules; an alerting rule carries its alerts. */
  async rules(signal?: AbortSignal): Promise<RuleGroup[]> {
    return (await this.get<{ groups: RuleGroup[] | null }>("rules", {}, signal)).groups ?? [];
  }

  /** Asks what stands under a path of the API, such as status/flags; a list gives a parameter several times. */
  async get<T>(path: string, params: Record<string, string | number | string[]> = {}, signal?: AbortSignal): Promise<T> {
    const query = new URLSearchParams();
    for (const [k, v] of Object.entries(params)) {
      for (const one of Array.isArray(v) ? v : [String(v)]) query.append(k, one);
    }
    const text = query.toString();
    return (await this.#request<T>(text === "" ? path : `${path}?${text}`, {}, signal)).data;
  }

  #post<T>(path: string, params: Record<string, string | number | undefined>, signal?: AbortSignal): Promise<Answer<T>> {
    const body = new URLSearchParams();
    for (const [k, v] of Object.entries(params)) {
      if (v !== undefined) body.set(k, String(v));
    }
    return this.#request<T>(path, { method: "POST", body }, signal);
  }

  async #request<T>(path: string, init: RequestInit, signal?: AbortSignal): Promise<Answer<T>> {
    const timeout = AbortSignal.timeout(this.#o.timeoutMs);
    try {
      const response = await this.#o.fetch(`${this.#o.base}api/v1/${path}`, {
        ...init,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      const answer = decode<T>(response.status, await response.text());
      this.#o.onContact(true, "");
      return answer;
    } catch (err) {
      const failed = this.#explain(err, signal, timeout);
      if (failed.failure === "api") this.#o.onContact(true, "");
      if (failed.failure === "unreachable") this.#o.onContact(false, failed.message);
      throw failed;
    }
  }

  #explain(err: unknown, signal: AbortSignal | undefined, timeout: AbortSignal): APIError {
    if (err instanceof APIError) return err;
    if (signal?.aborted) return new APIError("aborted", "given up");
    if (timeout.aborted) return new APIError("unreachable", `no answer within ${this.#o.timeoutMs / 1000} s`);
    // What fetch says here differs by browser and tells the reader nothing.
    return new APIError("unreachable", "connection refused or lost");
  }
}

/** Reads a response of the API: an envelope of JSON, or else something that stands before the server. */
function decode<T>(status: number, text: string): Answer<T> {
  let envelope: Envelope;
  try {
    envelope = JSON.parse(text) as Envelope;
  } catch {
    const first = text.split("\n", 1)[0]?.trim().slice(0, 200) ?? "";
    const failure = status >= 502 && status <= 504 ? "unreachable" : "api";
    throw new APIError(failure, `HTTP ${status}${first === "" || first.startsWith("<") ? "" : `: ${first}`}`);
  }
  if (envelope?.status === "success" && envelope.data !== undefined) {
    return { data: envelope.data as T, warnings: [...(envelope.warnings ?? []), ...(envelope.infos ?? [])] };
  }
  if (envelope?.status === "error") {
    throw new APIError("api", envelope.error ?? `HTTP ${status}`, envelope.errorType ?? "");
  }
  throw new APIError("api", `HTTP ${status}: the answer is not one of the Prometheus API`);
}

/** A sample's value as a number; histograms are not numbers and come out as NaN. */
export function sampleNumber(text: string): number {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  return Number(text);
}
