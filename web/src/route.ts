// Addresses of the views: matched here, listed in main.ts.

export interface Route<V> {
  /** Under the page's base, without slashes at its ends; a part that begins with a colon takes any text. */
  path: string;
  /** Other addresses of the same view, such as those that Prometheus has for it. */
  also?: readonly string[];
  /** Its name in the navigation; a view without one is reached from another. */
  nav?: string;
  view: V;
}

export interface Match<V> {
  route: Route<V>;
  /** What stands in the address for the parts with a colon. */
  args: Record<string, string>;
}

/** The first route whose path, or another address of it, is this path; null when there is none. */
export function match<V>(routes: readonly Route<V>[], path: string, base: string): Match<V> | null {
  if (!`${path}/`.startsWith(base)) return null;
  const parts = split(path.slice(base.length));
  for (const route of routes) {
    for (const pattern of [route.path, ...(route.also ?? [])]) {
      const args = argsOf(split(pattern), parts);
      if (args !== null) return { route, args };
    }
  }
  return null;
}

/** The route of the navigation under which an address stands: that of its first part. */
export function section(path: string): string {
  return split(path)[0] ?? "";
}

function split(path: string): string[] {
  return path.split("/").filter((p) => p !== "");
}

function argsOf(pattern: string[], parts: string[]): Record<string, string> | null {
  if (pattern.length !== parts.length) return null;
  const args: Record<string, string> = {};
  for (const [i, want] of pattern.entries()) {
    const got = parts[i] as string;
    if (want.startsWith(":")) args[want.slice(1)] = decoded(got);
    else if (want !== got) return null;
  }
  return args;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a lone percent sign is taken as it is
  }
}
