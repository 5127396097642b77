// Why an autoscaler scaled, in the server's words: it has the answers that the
// autoscaler got, and the cluster's events.

import type { Client } from "../api.ts";

export interface HPAEvent {
  /** RFC 3339. */
  time: string;
  type: string;
  reason: string;
  message: string;
  count: number;
}

export interface Explanation {
  why: string[];
  notes: string[];
  events: HPAEvent[];
}

/** Beside Prometheus' API; null from a server that is connected to no cluster. */
export function explain(client: Client, namespace: string, name: string, seconds: number, signal: AbortSignal): Promise<Explanation | null> {
  return client.get(`../strata/v1/hpas/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`, { since: `${Math.ceil(seconds)}s` }, signal);
}
