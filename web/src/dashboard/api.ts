// The server's API of dashboard files.

import type { Client } from "../api.ts";

export interface FileError {
  file: string;
  line?: number;
  column?: number;
  message: string;
  repair: string;
}

export interface Entry {
  uid: string;
  title: string;
  description?: string;
  tags: string[];
  file: string;
  builtin: boolean;
  note?: string;
  error?: FileError;
}

/** Beside Prometheus' API, which the client's paths are below. */
const root = "../strata/v1/dashboards";

export function listDashboards(client: Client, signal: AbortSignal): Promise<{ dashboards: Entry[]; problems: string[] }> {
  return client.get(root, {}, signal);
}

export function getDashboard(client: Client, uid: string, signal: AbortSignal): Promise<{ meta: Entry; dashboard: unknown }> {
  return client.get(`${root}/${encodeURIComponent(uid)}`, {}, signal);
}
