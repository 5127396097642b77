// What a page of this site is made of, and what it gets from the frame around it.

import type { Client } from "./api.ts";

export interface Context {
  client: Client;
  /** What stands in the address for the parts of the route's path that begin with a colon. */
  args: Record<string, string>;
  /** The query part of the address as it is now. */
  params: URLSearchParams;
  /** Writes the query part of the address; `push` makes it a step of the history. */
  setParams: (params: URLSearchParams, push: boolean) => void;
  /** Names the page again, as when its name comes with the data. */
  setTitle: (title: string) => void;
}

export interface View {
  title: string;
  el: HTMLElement;
  /** Asks the server again, as when it has come back. */
  refresh: () => void;
  destroy: () => void;
}

/** Makes a view; it is destroyed when the address leaves it. */
export type ViewMaker = (ctx: Context) => View;

/** Reports what no one expected; failures of requests have been shown already. */
export function unexpected(err: unknown): void {
  if (err instanceof Error && err.name === "APIError") return;
  console.error(err);
}
