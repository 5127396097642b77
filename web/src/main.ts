// The frame of the page: which view the address names, and the links between them.

import "uplot/dist/uPlot.min.css";
import "./style.css";
import { Client } from "./api.ts";
import { Connection } from "./connection.ts";
import { overview } from "./overview.ts";
import { query } from "./query.ts";
import { routeOf, type RouteName } from "./route.ts";
import { targets } from "./targets.ts";
import type { Context, View } from "./view.ts";

const base = new URL(document.baseURI);
const main = document.getElementById("main") as HTMLElement;
const banner = document.getElementById("banner") as HTMLElement;
const views: Record<RouteName, (ctx: Context) => View> = { overview, targets, query };

let view: View | null = null;

const connection = new Connection(banner, () => view?.refresh());
const client = new Client({
  base: base.href,
  fetch: (input, init) => fetch(input, init),
  timeoutMs: 30_000,
  onContact: (ok, reason) => connection.contact(ok, reason),
});
connection.probeWith(client);

function show(): void {
  const name = routeOf(location.pathname, base.pathname);
  const params = new URLSearchParams(location.search);
  view?.destroy();
  view = views[name]({
    client,
    params,
    setParams(next, push) {
      const text = next.toString();
      const url = location.pathname + (text === "" ? "" : `?${text}`);
      if (push && url !== location.pathname + location.search) history.pushState(null, "", url);
      else history.replaceState(null, "", url);
    },
  });
  document.title = `${view.title} · Strata`;
  for (const a of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
    if (a.dataset["route"] === name) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  main.replaceChildren(view.el);
}

document.addEventListener("click", (e) => {
  const a = (e.target as Element).closest("a");
  if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  if (a.classList.contains("skip")) {
    // The page has a <base>, so that the address of #main would be another page.
    e.preventDefault();
    main.focus();
    return;
  }
  const to = new URL(a.href);
  if (a.target !== "" || to.origin !== base.origin || !to.pathname.startsWith(base.pathname)) return;
  e.preventDefault();
  if (to.href !== location.href) history.pushState(null, "", to);
  show();
  main.focus();
  scrollTo(0, 0);
});
addEventListener("popstate", show);

show();
