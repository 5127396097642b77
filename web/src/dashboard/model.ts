// Grafana's JSON model of a dashboard, read into what is drawn here.

import { at, list, num, obj, str, strings, type Json } from "./json.ts";

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  instant: boolean;
  /** "table" gives one row a series. */
  format: string;
  /** Least step, such as 1m; "" for none. */
  interval: string;
  hide: boolean;
  /** Type of the data source when it is not Prometheus, else "". */
  foreign: string;
}

export interface GridPos {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Override {
  matcher: { id: string; options: unknown };
  properties: { id: string; value: unknown }[];
}

export interface Transformation {
  id: string;
  options: Json;
}

export interface Panel {
  id: string;
  type: string;
  title: string;
  description: string;
  grid: GridPos;
  targets: Target[];
  /** fieldConfig.defaults and fieldConfig.overrides. */
  defaults: Json;
  overrides: Override[];
  options: Json;
  transformations: Transformation[];
  /** The least step of all its queries, such as 1m; "" for none. */
  interval: string;
  /** Own time range, such as 1h; "" for the dashboard's. */
  timeFrom: string;
  transparent: boolean;
  repeat: string;
  repeatDirection: "h" | "v";
  maxPerRow: number;
  /** Values of variables that hold in this panel alone, from repeating. */
  scope: Record<string, string>;
}

export interface Row {
  title: string;
  collapsed: boolean;
  /** Without a header: the panels before the first row. */
  bare: boolean;
  repeat: string;
  scope: Record<string, string>;
  panels: Panel[];
}

export interface VariableDef {
  name: string;
  type: string;
  label: string;
  description: string;
  /** 0 shown, 1 without label, 2 not at all. */
  hide: number;
  query: string;
  regex: string;
  sort: number;
  refreshOnTime: boolean;
  multi: boolean;
  includeAll: boolean;
  allValue: string;
  current: string[];
  auto: boolean;
  autoCount: number;
  autoMin: string;
}

export interface Dashboard {
  uid: string;
  title: string;
  description: string;
  tags: string[];
  from: string;
  to: string;
  /** Such as 30s; "" for never. */
  refresh: string;
  utc: boolean;
  /** The pointer of one chart is shown on all. */
  sharedPointer: boolean;
  links: { title: string; href: string; tags: string[] }[];
  variables: VariableDef[];
  rows: Row[];
}

/** Of the kinds whose name says another store than Prometheus. */
function foreignType(datasource: unknown): string {
  const type = str(at(datasource, "type"));
  const uid = str(at(datasource, "uid"));
  if (uid.startsWith("--") && uid !== "-- Mixed --") return uid;
  if (type === "" || type === "prometheus" || type === "datasource" || type.includes("prometheus")) return "";
  return type;
}

function readTarget(raw: unknown, i: number, panelSource: unknown): Target {
  const t = obj(raw);
  const own = foreignType(t["datasource"]);
  return {
    refId: str(t["refId"], String.fromCharCode(65 + (i % 26))),
    expr: str(t["expr"]),
    legendFormat: str(t["legendFormat"]),
    instant: t["instant"] === true && t["range"] !== true,
    format: str(t["format"], "time_series"),
    interval: str(t["interval"]),
    hide: t["hide"] === true,
    foreign: t["datasource"] === undefined || t["datasource"] === null ? foreignType(panelSource) : own,
  };
}

function readOverride(raw: unknown): Override {
  return {
    matcher: { id: str(at(raw, "matcher", "id")), options: at(raw, "matcher", "options") },
    properties: list(at(raw, "properties")).map((p) => ({ id: str(at(p, "id")), value: at(p, "value") })),
  };
}

/** What older panels say in other places, as those of today say it. */
function modern(p: Json): Json {
  const yaxis = obj(list(p["yaxes"])[0]);
  if (str(p["type"]) === "graph") {
    const custom = {
      lineWidth: num(p["linewidth"]) ?? 1,
      fillOpacity: (num(p["fill"]) ?? 1) * 10,
      drawStyle: p["bars"] === true && p["lines"] === false ? "bars" : "line",
      stacking: { mode: p["stack"] === true ? (p["percentage"] === true ? "percent" : "normal") : "none" },
      spanNulls: str(p["nullPointMode"]) === "connected",
    };
    const defaults = { unit: str(yaxis["format"], "short"), min: num(yaxis["min"]), max: num(yaxis["max"]), custom };
    const legend = obj(p["legend"]);
    const calcs = Object.entries({ current: "lastNotNull", min: "min", max: "max", avg: "mean", total: "sum" });
    return {
      ...p,
      type: "timeseries",
      fieldConfig: { defaults, overrides: [] },
      options: {
        legend: {
          showLegend: legend["show"] !== false,
          displayMode: legend["alignAsTable"] === true ? "table" : "list",
          placement: legend["rightSide"] === true ? "right" : "bottom",
          calcs: legend["values"] === true ? calcs.filter(([k]) => legend[k] === true).map(([, v]) => v) : [],
        },
      },
    };
  }
  if (str(p["type"]) === "singlestat") {
    const limits = str(p["thresholds"]).split(",").map(num).filter((n) => n !== null);
    const colours = strings(p["colors"]);
    const steps = [null, ...limits].map((value, i) => ({ value, color: colours[i] ?? "text" }));
    const calc = { avg: "mean", current: "lastNotNull", total: "sum" }[str(p["valueName"])] ?? str(p["valueName"], "mean");
    const gauge = at(p, "gauge", "show") === true;
    const coloured = p["colorValue"] === true || p["colorBackground"] === true || gauge;
    return {
      ...p,
      type: gauge ? "gauge" : "stat",
      fieldConfig: {
        defaults: {
          unit: str(p["format"]),
          decimals: num(p["decimals"]),
          min: num(at(p, "gauge", "minValue")),
          max: num(at(p, "gauge", "maxValue")),
          noValue: p["nullText"],
          mappings: [
            { type: "value", options: Object.fromEntries(list(p["valueMaps"]).map((m) => [str(at(m, "value")), { text: str(at(m, "text")) }])) },
          ],
          ...(coloured ? { thresholds: { mode: "absolute", steps } } : {}),
        },
      },
      options: {
        reduceOptions: { calcs: [calc] },
        graphMode: at(p, "sparkline", "show") === true ? "area" : "none",
        colorMode: p["colorBackground"] === true ? "background" : coloured ? "value" : "none",
      },
    };
  }
  return p;
}

function readPanel(raw: unknown, i: number): Panel {
  const p = modern(obj(raw));
  const g = obj(p["gridPos"]);
  const w = Math.min(24, Math.max(1, num(g["w"]) ?? 12));
  return {
    id: str(p["id"], `n${i}`),
    type: str(p["type"]),
    title: str(p["title"]),
    description: str(p["description"]),
    grid: { x: Math.min(24 - w, Math.max(0, num(g["x"]) ?? 0)), y: num(g["y"]) ?? i * 8, w, h: Math.min(100, Math.max(1, num(g["h"]) ?? 8)) },
    targets: list(p["targets"]).map((t, n) => readTarget(t, n, p["datasource"])),
    defaults: obj(at(p, "fieldConfig", "defaults")),
    overrides: list(at(p, "fieldConfig", "overrides")).map(readOverride),
    // Text panels had it beside the options once.
    options: p["type"] === "text" ? { content: p["content"], mode: p["mode"], ...obj(p["options"]) } : obj(p["options"]),
    transformations: list(p["transformations"])
      .filter((t) => at(t, "disabled") !== true)
      .map((t) => ({ id: str(at(t, "id")), options: obj(at(t, "options")) })),
    interval: str(p["interval"]),
    timeFrom: str(p["timeFrom"]),
    transparent: p["transparent"] === true,
    repeat: str(p["repeat"]),
    repeatDirection: str(p["repeatDirection"]) === "v" ? "v" : "h",
    maxPerRow: num(p["maxPerRow"]) ?? 4,
    scope: {},
  };
}

function readVariable(raw: unknown): VariableDef {
  const v = obj(raw);
  const query = v["query"];
  const type = str(v["type"]);
  const definition = str(v["definition"]);
  const current = at(v, "current", "value");
  return {
    name: str(v["name"]),
    type,
    label: str(v["label"]) || str(v["name"]),
    description: str(v["description"]),
    hide: num(v["hide"]) ?? 0,
    query: typeof query === "object" && query !== null ? str(at(query, "query")) || str(at(query, "expr")) || definition : str(query) || definition,
    regex: str(v["regex"]),
    sort: num(v["sort"]) ?? 0,
    refreshOnTime: v["refresh"] === 2,
    multi: v["multi"] === true,
    includeAll: v["includeAll"] === true,
    allValue: str(v["allValue"]),
    current: strings(current ?? (type === "textbox" || type === "constant" ? str(query) : undefined)).filter((c) => c !== ""),
    auto: v["auto"] === true,
    autoCount: num(v["auto_count"]) ?? 30,
    autoMin: str(v["auto_min"], "10s"),
  };
}

const bareRow = (): Row => ({ title: "", collapsed: false, bare: true, repeat: "", scope: {}, panels: [] });

/** Rows by their place; a row that is open holds what stands below it up to the next. */
function readRows(d: Json): Row[] {
  if (!Array.isArray(d["panels"]) && Array.isArray(d["rows"])) return oldRows(list(d["rows"]));
  const all = list(d["panels"]).map((raw, i) => ({ raw: obj(raw), panel: readPanel(raw, i) }));
  all.sort((a, b) => a.panel.grid.y - b.panel.grid.y || a.panel.grid.x - b.panel.grid.x);
  const rows: Row[] = [bareRow()];
  for (const { raw, panel } of all) {
    if (panel.type !== "row") {
      (rows.at(-1) as Row).panels.push(panel);
      continue;
    }
    const nested = list(raw["panels"]).map((p, i) => readPanel(p, i));
    rows.push({ title: panel.title, collapsed: raw["collapsed"] === true, bare: false, repeat: panel.repeat, scope: {}, panels: nested });
  }
  return rows.filter((r) => !r.bare || r.panels.length > 0);
}

/** Rows as they were before panels had a place of their own: widths add up, heights are pixels. */
function oldRows(raw: unknown[]): Row[] {
  return raw.map((r) => {
    const row = obj(r);
    const height = Math.round((num(str(row["height"]).replace("px", "")) ?? 250) / 38);
    let x = 0;
    let y = 0;
    const panels = list(row["panels"]).map((p, i) => {
      const panel = readPanel(p, i);
      const w = Math.min(24, Math.max(1, (num(obj(p)["span"]) ?? 4) * 2));
      if (x + w > 24) {
        x = 0;
        y += height;
      }
      const grid = { x, y, w, h: height };
      x += w;
      return { ...panel, grid };
    });
    const title = str(row["title"]);
    return { title, collapsed: row["collapse"] === true, bare: row["showTitle"] !== true && row["collapse"] !== true, repeat: str(row["repeat"]), scope: {}, panels };
  });
}

/** The links that lead to another dashboard or page; lists of dashboards by tag have no address. */
function readLinks(v: unknown): { title: string; href: string; tags: string[] }[] {
  return list(v)
    .map((l) => ({ title: str(at(l, "title")), href: str(at(l, "type")) === "link" ? str(at(l, "url")) : "", tags: strings(at(l, "tags")) }))
    .filter((l) => /^https?:\/\//.test(l.href) || (l.href === "" && l.tags.length > 0));
}

export function readDashboard(raw: unknown): Dashboard {
  const d = obj(raw);
  return {
    uid: str(d["uid"]),
    title: str(d["title"], "Dashboard"),
    description: str(d["description"]),
    tags: strings(d["tags"]),
    from: str(at(d, "time", "from"), "now-6h"),
    to: str(at(d, "time", "to"), "now"),
    refresh: d["refresh"] === false ? "" : str(d["refresh"]),
    utc: str(d["timezone"]) === "utc",
    sharedPointer: (num(d["graphTooltip"]) ?? 0) > 0,
    links: readLinks(d["links"]),
    variables: list(at(d, "templating", "list")).map(readVariable).filter((v) => v.name !== ""),
    rows: readRows(d),
  };
}
