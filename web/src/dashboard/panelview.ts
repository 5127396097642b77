// One panel: its frame, what it shows, and in place of that why it shows nothing.

import { APIError } from "../api.ts";
import { h, setText } from "../dom.ts";
import { exploreLink } from "../explore/address.ts";
import type { Body, BodyOptions } from "./body.ts";
import { closeByKeyboard } from "./controls.ts";
import { isTable, PanelData, withBuiltins, type Loaded, type Moment } from "./data.ts";
import { BarGauge, Gauge } from "./gauge.ts";
import { inText } from "./interpolate.ts";
import { str } from "./json.ts";
import { markdown, withoutTags } from "./markdown.ts";
import { metricNames, type Names } from "./metrics.ts";
import type { Panel } from "./model.ts";
import { Stat } from "./stat.ts";
import { TablePanel } from "./tablepanel.ts";
import { TimeSeries } from "./timeseries.ts";

const bodies: Record<string, (p: Panel, o: BodyOptions) => Body> = {
  timeseries: (p, o) => new TimeSeries(p, o),
  stat: (p) => new Stat(p),
  gauge: (p) => new Gauge(p),
  bargauge: (p) => new BarGauge(p),
  table: (p, o) => new TablePanel(p, o.title),
  "table-old": (p, o) => new TablePanel(p, o.title),
};

export interface PanelEnv {
  sync: string;
  onZoom: (from: number, to: number) => void;
  names: Names;
  /** The time range as Explore's address takes it, such as 1h; "" for its default. */
  range: () => string;
}

export class PanelView {
  readonly el: HTMLElement;
  readonly panel: Panel;
  /** The moment for which it was loaded last. */
  shownAt: Moment | null = null;
  readonly #env: PanelEnv;
  readonly #data: PanelData;
  readonly #title = h("h3");
  readonly #explore = h("a", { class: "d-icon", hidden: true }, h("span", { "aria-hidden": "true" }, "↗"));
  readonly #place = h("div", { class: "d-body" });
  readonly #say = h("div", { class: "d-say" }, "Loading …");
  readonly #notes = h("ul", { class: "d-notes", hidden: true });
  #body: Body | null = null;
  #gone = false;

  constructor(panel: Panel, env: PanelEnv) {
    this.panel = panel;
    this.#env = env;
    this.#data = new PanelData(panel);
    this.el = h(
      "section",
      { class: "d-panel", "data-panel-id": panel.id, "data-type": panel.type },
      h("header", {}, this.#title, this.#about(), this.#explore),
      this.#place,
      this.#notes,
    );
    this.#place.append(this.#say);
    this.el.classList.toggle("d-clear", panel.transparent || (panel.type === "text" && panel.title === ""));
    const { x, y, w, h: height } = panel.grid;
    for (const [name, v] of Object.entries({ "--x": x, "--y": y, "--w": w, "--h": height })) this.el.style.setProperty(name, String(v));
  }

  destroy(): void {
    this.#gone = true;
    this.#body?.destroy();
  }

  /** Writes the title, which needs no data. */
  name(m: Moment): void {
    const title = inText(this.panel.title, this.#scope(m));
    setText(this.#title, title);
    this.#title.hidden = title === "";
    this.#title.title = title;
    this.el.setAttribute("aria-label", title || `Panel ${this.panel.id}`);
  }

  /** Asks and shows. The engine's error is shown here; a server that is gone is for the caller, and what is shown stays. */
  async load(m: Moment): Promise<void> {
    this.name(m);
    const why = this.#unable(m);
    if (why !== null) {
      this.#empty(why);
      this.shownAt = m;
      this.el.dataset["state"] = "reason";
      return;
    }
    try {
      this.#link(this.#data.exprs(m));
      const data = await this.#data.load(m);
      await this.#show(data, m);
    } catch (err) {
      if (err instanceof APIError && err.failure === "unreachable" && this.shownAt === null) {
        this.#say.textContent = "No answer from the server; this panel is loaded when it is back.";
      }
      if (!(err instanceof APIError) || err.failure !== "api") throw err;
      this.#empty([h("p", { class: "bad", role: "alert" }, `The query fails: ${err.message}`)]);
      this.el.dataset["state"] = "error";
    }
    this.shownAt = m;
  }

  async #show(data: Loaded, m: Moment): Promise<void> {
    if (this.#gone) return;
    const has = isTable(this.panel.type) ? data.tables.length > 0 : data.lines.length > 0;
    this.#note(data.notes, data.errors);
    if (!has) {
      this.#empty(await this.#reason(data, m));
      this.el.dataset["state"] = "reason";
      return;
    }
    this.#body ??= this.#make();
    if (this.#place.firstChild !== this.#body.el) this.#place.replaceChildren(this.#body.el);
    this.#body.show(data);
    this.#reachable();
    this.el.dataset["state"] = "data";
  }

  #make(): Body {
    const make = bodies[this.panel.type] as (p: Panel, o: BodyOptions) => Body;
    return make(this.panel, { title: () => this.#title.textContent ?? "", sync: this.#env.sync, onZoom: this.#env.onZoom });
  }

  /** Why nothing is asked; null where there is a query to ask. */
  #unable(m: Moment): Node[] | null {
    const { type, targets } = this.panel;
    if (type === "text") return this.#text(m);
    const foreign = [...new Set(targets.map((t) => t.foreign).filter((f) => f !== ""))];
    const queries = this.#data.exprs(m);
    if (!Object.hasOwn(bodies, type)) {
      const links = queries.map((q) => h("li", {}, h("a", { href: this.#href([q]) }, q)));
      return [h("p", {}, `Panels of type ${type === "" ? "(none)" : type} are not shown here.`), ...(links.length > 0 ? [h("ul", { class: "d-queries" }, ...links)] : [])];
    }
    if (queries.length > 0) return null;
    return [h("p", {}, foreign.length > 0 ? `Its queries need a data source of type ${foreign.join(", ")}, which is not here.` : "This panel has no query.")];
  }

  #text(m: Moment): Node[] {
    const o = this.panel.options;
    const content = inText(str(o["content"]), this.#scope(m));
    const mode = str(o["mode"], "markdown");
    const parts = mode === "code" ? [h("pre", { tabindex: 0 }, h("code", {}, content))] : markdown(mode === "html" ? withoutTags(content) : content);
    return [h("div", { class: "d-text" }, ...parts)];
  }

  /** Why a query that the engine took has no result. */
  async #reason(data: Loaded, m: Moment): Promise<Node[]> {
    const noValue = str(this.panel.defaults["noValue"]);
    const names = [...new Set(data.exprs.flatMap(metricNames))];
    // Whether names are there is a help; that it cannot be told is no fault of the panel.
    const missing = await this.#env.names.missing(names, m.from, m.to).catch(noAnswer);
    if (missing.length === 0 && noValue !== "") return [h("p", { class: "d-novalue" }, noValue)];
    const why: (Node | string)[] = ["No series match"];
    if (missing.length === 0) why.push(names.length > 0 ? " these labels and conditions in this time range." : ".");
    else {
      why.push("; not in the store: ");
      missing.forEach((n, i) => why.push(h("code", {}, n), i < missing.length - 1 ? ", " : "."));
    }
    const reason = h("p", { class: "d-why" }, ...why);
    return noValue === "" ? [reason] : [h("p", { class: "d-novalue" }, noValue), reason];
  }

  #empty(parts: Node[]): void {
    const text = parts.every((p) => (p as HTMLElement).classList.contains("d-text"));
    this.#say.replaceChildren(...parts);
    this.#say.classList.toggle("d-top", text);
    if (this.#place.firstChild !== this.#say) this.#place.replaceChildren(this.#say);
    this.#body?.destroy();
    this.#body = null;
    this.#reachable();
  }

  /** What scrolls is reached by keyboard; what does not is no stop on the way. */
  #reachable(): void {
    const el = this.#place.firstElementChild as HTMLElement | null;
    if (!el || el.matches(".d-chart, .d-table")) return;
    if (el.scrollHeight > el.clientHeight + 1) {
      el.tabIndex = 0;
      el.setAttribute("role", "group");
      el.setAttribute("aria-label", this.#title.textContent || "Panel");
    } else for (const a of ["tabindex", "role", "aria-label"]) el.removeAttribute(a);
  }

  #note(notes: string[], errors: string[]): void {
    this.#notes.hidden = notes.length + errors.length === 0;
    this.#notes.replaceChildren(...errors.map((e) => h("li", { class: "bad", title: e }, e)), ...notes.map((n) => h("li", { title: n }, n)));
  }

  #link(exprs: string[]): void {
    const title = this.#title.textContent || "this panel";
    this.#explore.hidden = exprs.length === 0;
    this.#explore.href = this.#href(exprs);
    this.#explore.title = "Open in Explore";
    this.#explore.setAttribute("aria-label", `Open the queries of ${title} in Explore`);
  }

  #href(exprs: string[]): string {
    const range = this.#env.range();
    return exploreLink(...exprs) + (range === "" ? "" : `&range=${range}`);
  }

  /** The description behind a button that any pointer and the keyboard open. */
  #about(): HTMLElement | null {
    const text = this.panel.description.trim();
    if (text === "") return null;
    const summary = h("summary", { class: "d-icon", title: text, "aria-label": `About ${this.panel.title || "this panel"}` }, h("span", { class: "d-info", "aria-hidden": "true" }, "i"));
    const details = h("details", { class: "d-about" }, summary, h("div", { tabindex: -1 }, ...markdown(text)));
    closeByKeyboard(details, summary);
    return details;
  }

  #scope(m: Moment): Moment["scope"] {
    return withBuiltins(m.scope, m.from, m.to, 15, 60, this.panel.scope);
  }
}

function noAnswer(err: unknown): string[] {
  if (err instanceof APIError && err.failure === "api") return [];
  throw err;
}
