// fieldConfig: how a series or column is named, written and coloured.

import { at, list, num, obj, str, type Json } from "./json.ts";
import { colourOf, continuousColour, paletteColour } from "./colours.ts";
import type { Override, Panel } from "./model.ts";
import { formatter } from "./units.ts";

/** What overrides match on. */
export interface Subject {
  name: string;
  refId: string;
  type: "number" | "string" | "time";
}

export interface Threshold {
  /** -Infinity for the first. */
  value: number;
  colour: string;
}

export interface Shown {
  text: string;
  suffix: string;
  /** CSS; null where nothing says one. */
  colour: string | null;
}

/** "/pattern/flags" or a bare pattern; null when it is not one. */
export function pattern(text: string): RegExp | null {
  const m = /^\/(.*)\/([a-z]*)$/s.exec(text);
  try {
    return m ? new RegExp(m[1] as string, (m[2] as string).replace(/[gy]/g, "")) : new RegExp(text);
  } catch {
    return null;
  }
}

function matches(o: Override, s: Subject): boolean {
  const { id, options } = o.matcher;
  switch (id) {
    case "byName":
      return str(options) === s.name;
    case "byRegexp":
      return pattern(str(options))?.test(s.name) ?? false;
    case "byFrameRefID":
      return str(options) === s.refId;
    case "byType":
      return str(options) === s.type;
    case "byNames": {
      const listed = list(at(options, "names")).map((n) => str(n)).includes(s.name);
      return str(at(options, "mode")) === "exclude" ? !listed : listed;
    }
  }
  return false;
}

/** The configuration of one field: the defaults with the overrides that match, custom.x as x of custom. */
export function configOf(panel: Pick<Panel, "defaults" | "overrides">, s: Subject): Json {
  const out: Json = { ...panel.defaults, custom: { ...obj(panel.defaults["custom"]) } };
  for (const o of panel.overrides) {
    if (!matches(o, s)) continue;
    for (const p of o.properties) {
      if (p.id.startsWith("custom.")) setPath(out["custom"] as Json, p.id.slice(7).split("."), p.value);
      else setPath(out, p.id.split("."), p.value);
    }
  }
  return out;
}

function setPath(target: Json, path: string[], value: unknown): void {
  const [first, ...rest] = path;
  if (first === undefined || first === "__proto__") return;
  if (rest.length === 0) target[first] = value;
  else setPath((target[first] = { ...obj(target[first]) }), rest, value);
}

export class Field {
  readonly config: Json;
  readonly custom: Json;
  readonly unit: string;
  readonly min: number | null;
  readonly max: number | null;
  readonly thresholds: Threshold[];
  readonly noValue: string;
  readonly #write: (v: number) => { text: string; suffix: string };
  readonly #index: number;

  /** `index` is the series' place, for the palette. */
  constructor(config: Json, index: number) {
    this.config = config;
    this.custom = obj(config["custom"]);
    this.unit = str(config["unit"]);
    this.min = num(config["min"]);
    this.max = num(config["max"]);
    this.noValue = str(config["noValue"]);
    this.#index = index;
    this.#write = formatter(this.unit, num(config["decimals"]));
    this.thresholds = list(at(config, "thresholds", "steps")).map((t) => ({ value: num(at(t, "value")) ?? -Infinity, colour: colourOf(str(at(t, "color"))) }));
    if (this.thresholds[0]) this.thresholds[0] = { ...this.thresholds[0], value: -Infinity };
  }

  get colourMode(): string {
    return str(at(this.config, "color", "mode"), "");
  }

  /** The colour of a line or bar as a whole, of its newest value where the mode goes by values. */
  colour(last: number | null, low = 0, high = 100): string {
    const mode = this.colourMode;
    if (mode === "fixed" || mode === "shades") return colourOf(str(at(this.config, "color", "fixedColor"), "green"));
    if (mode === "thresholds") return this.threshold(last ?? NaN, low, high) ?? paletteColour(this.#index);
    if (mode.startsWith("continuous-")) return continuousColour(mode, this.part(last ?? 0, low, high));
    return paletteColour(this.#index);
  }

  /** Where a value lies between the ends of the scale, from 0 to 1. */
  part(v: number, low: number, high: number): number {
    const [min, max] = [this.min ?? low, this.max ?? high];
    return max > min ? Math.max(0, Math.min(1, (v - min) / (max - min))) : 0;
  }

  /** The steps in values, also where they are given in percent of the scale. */
  steps(low: number, high: number): Threshold[] {
    if (str(at(this.config, "thresholds", "mode")) !== "percentage") return this.thresholds;
    const [min, max] = [this.min ?? low, this.max ?? high];
    return this.thresholds.map((t) => ({ ...t, value: min + ((max - min) * t.value) / 100 }));
  }

  /** The colour of the highest threshold that a value has reached; null without thresholds. */
  threshold(v: number, low = 0, high = 100): string | null {
    const steps = this.steps(low, high);
    let colour = steps[0]?.colour ?? null;
    for (const t of steps) if (v >= t.value) colour = t.colour;
    return colour;
  }

  /** A value by its mappings, else with its unit; the colour by mapping or, where asked, thresholds. */
  show(v: number | string | null, byThreshold = false): Shown {
    const mapped = this.#mapped(v);
    const n = typeof v === "number" ? v : null;
    const written = n !== null ? this.#write(n) : { text: v === null ? this.noValue || "–" : String(v), suffix: "" };
    const own = byThreshold && n !== null ? (this.colourMode === "fixed" ? this.colour(n) : this.threshold(n)) : null;
    const colour = mapped?.colour ?? own;
    if (mapped && mapped.text !== "") return { text: mapped.text, suffix: "", colour };
    return { ...written, colour };
  }

  #mapped(v: number | string | null): { text: string; colour: string | null } | null {
    for (const raw of list(this.config["mappings"])) {
      const options = obj(at(raw, "options"));
      const result = mapping(str(at(raw, "type")), options, v);
      if (result === undefined) continue;
      const colour = str(at(result, "color"));
      return { text: str(at(result, "text")), colour: colour === "" ? null : colourOf(colour) };
    }
    return null;
  }
}

function mapping(type: string, options: Json, v: number | string | null): unknown {
  switch (type) {
    case "value":
      return v !== null && Object.hasOwn(options, String(v)) ? options[String(v)] : undefined;
    case "range": {
      const [from, to] = [num(options["from"]) ?? -Infinity, num(options["to"]) ?? Infinity];
      return typeof v === "number" && v >= from && v <= to ? options["result"] : undefined;
    }
    case "regex":
      return v !== null && pattern(str(options["pattern"]))?.test(String(v)) ? options["result"] : undefined;
    case "special": {
      const nan = typeof v === "number" && Number.isNaN(v);
      const hit = { null: v === null, nan, "null+nan": v === null || nan, true: v === "true", false: v === "false", empty: v === "" }[str(options["match"])];
      return hit === true ? options["result"] : undefined;
    }
  }
  return undefined;
}
