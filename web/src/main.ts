// The frame of the page: which view the address names, and the links between them.

import "uplot/dist/uPlot.min.css";
import "./style.css";
import { alerts } from "./alerting/alerts.ts";
import { Client } from "./api.ts";
import { autoscaling } from "./autoscaling/autoscaling.ts";
import { Connection } from "./connection.ts";
import { dashboard, dashboards } from "./dashboard/lazy.ts";
import { h } from "./dom.ts";
import { explore } from "./explore/explore.ts";
import { notFound } from "./notfound.ts";
import { overview } from "./overview.ts";
import { match, section, type Route } from "./route.ts";
import { status } from "./status.ts";
import { targets } from "./targets.ts";
import type { View, ViewMaker } from "./view.ts";

/** All views, in the order of the navigation. */
const routes: readonly Route<ViewMaker>[] = [
  { path: "", nav: "Overview", view: overview },
  { path: "dashboards", nav: "Dashboards", view: dashboards },
  { path: "dashboards/:uid", view: dashboard },
  { path: "explore", also: ["query", "graph"], nav: "Explore", view: explore },
  { path: "alerts", also: ["rules"], nav: "Alerts", view: alerts },
  { path: "autoscaling", nav: "Autoscaling", view: autoscaling },
  { path: "targets", nav: "Targets", view: targets },
  { path: "status", also: ["config", "flags", "runtime-info", "tsdb-status", "alertmanager-discovery"], nav: "Status", view: status },
];

const base = new URL(document.baseURI);
const main = document.getElementById("main") as HTMLElement;
const banner = document.getElementById("banner") as HTMLElement;
const nav = document.getElementById("nav") as HTMLElement;

let view: View | null = null;

const connection = new Connection(banner, () => view?.refresh());
const client = new Client({
  base: base.href,
  fetch: (input, init) => fetch(input, init),
  timeoutMs: 30_000,
  onContact: (ok, reason) => connection.contact(ok, reason),
});
connection.probeWith(client);

const links = routes
  .filter((r) => r.nav !== undefined)
  .map((r) => ({ section: section(r.path), el: h("a", { href: `./${r.path}` }, r.nav) }));
nav.append(...links.map((l) => l.el));

function show(): void {
  const found = match(routes, location.pathname, base.pathname);
  const make = found?.route.view ?? notFound;
  view?.destroy();
  view = make({
    client,
    args: found?.args ?? {},
    params: new URLSearchParams(location.search),
    setParams(next, push) {
      const text = next.toString();
      const url = location.pathname + (text === "" ? "" : `?${text}`);
      if (push && url !== location.pathname + location.search) history.pushState(null, "", url);
      else history.replaceState(null, "", url);
    },
    setTitle,
  });
  setTitle(view.title);
  for (const l of links) {
    if (found && l.section === section(found.route.path)) l.el.setAttribute("aria-current", "page");
    else l.el.removeAttribute("aria-current");
  }
  main.replaceChildren(view.el);
}

function setTitle(title: string): void {
  document.title = `${title} · Strata`;
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
