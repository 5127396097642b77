// Addresses of the views.

export type RouteName = "overview" | "targets" | "query";

/** The view of a path under the page's base; /graph is where Alertmanager's links to a query point. */
export function routeOf(path: string, base: string): RouteName {
  const rest = path.startsWith(base) ? path.slice(base.length) : "";
  switch (rest.replace(/\/+$/, "")) {
    case "targets":
      return "targets";
    case "query":
    case "graph":
      return "query";
    default:
      return "overview";
  }
}
