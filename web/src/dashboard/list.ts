// All dashboards, searched; files that are broken first, with what is wrong.

import { h, setText } from "../dom.ts";
import { Poller } from "../poller.ts";
import { unexpected, type Context, type View } from "../view.ts";
import { listDashboards, type Entry } from "./api.ts";

/** Files change rarely, and a glance at the list should still be right. */
const refreshMs = 15_000;

/** Whether each word of a search is somewhere in what is known of a dashboard. */
export function found(e: Entry, search: string): boolean {
  const text = [e.title, e.description ?? "", e.uid, e.file, e.error?.message ?? "", ...e.tags].join(" ").toLowerCase();
  return search.toLowerCase().split(/\s+/).every((w) => text.includes(w));
}

export class ListView implements View {
  readonly title = "Dashboards";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #search: HTMLInputElement;
  readonly #summary = h("p", { class: "summary", role: "status" }, "Loading …");
  readonly #problems = h("div", {});
  readonly #list = h("ul", { class: "d-list" });
  readonly #poller: Poller;
  #entries: Entry[] = [];
  #shown = "";

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#search = h("input", { type: "search", placeholder: "Search dashboards", "aria-label": "Search dashboards", value: ctx.params.get("search") ?? "", oninput: () => this.#onSearch() });
    this.el = h("div", { class: "dashboards" }, h("div", { class: "bar" }, h("h1", {}, "Dashboards"), this.#search), this.#summary, this.#problems, this.#list);
    this.#poller = new Poller({ intervalMs: refreshMs, task: (signal) => this.#load(signal), onError: unexpected, visible: () => !document.hidden });
    void this.#poller.now();
  }

  readonly refresh = (): void => {
    void this.#poller.now();
  };

  destroy(): void {
    this.#poller.stop();
  }

  async #load(signal: AbortSignal): Promise<void> {
    const { dashboards, problems } = await listDashboards(this.#ctx.client, signal);
    this.#entries = dashboards;
    this.#problems.replaceChildren(...problems.map((p) => h("p", { class: "note warn" }, p)));
    this.#show();
  }

  #onSearch(): void {
    const { params } = this.#ctx;
    if (this.#search.value === "") params.delete("search");
    else params.set("search", this.#search.value);
    this.#ctx.setParams(params, false);
    this.#show();
  }

  #show(): void {
    const hits = this.#entries.filter((e) => found(e, this.#search.value));
    const broken = this.#entries.filter((e) => e.error).length;
    const count = this.#entries.length === 1 ? "1 dashboard" : `${this.#entries.length} dashboards`;
    setText(this.#summary, count + (hits.length < this.#entries.length ? `, ${hits.length} found` : "") + (broken > 0 ? `, ${broken} cannot be shown` : ""));
    this.#summary.classList.toggle("bad", broken > 0);
    const text = JSON.stringify(hits);
    if (text === this.#shown) return;
    this.#shown = text;
    this.#list.replaceChildren(...hits.map(item));
  }
}

function item(e: Entry): HTMLElement {
  const source = e.builtin ? "built in" : e.file;
  return h(
    "li",
    { "data-uid": e.uid, class: e.error ? "bad" : undefined },
    h("h2", {}, h("a", { href: `./dashboards/${encodeURIComponent(e.uid)}` }, e.title || e.uid)),
    e.description ? h("p", { class: "d-description" }, e.description) : null,
    e.error ? h("p", { class: "error" }, `${place(e)}: ${e.error.message}. To repair: ${e.error.repair}.`) : null,
    h("p", { class: "d-meta" }, ...e.tags.map((t) => h("span", { class: "d-tag" }, t)), h("span", {}, e.note ? `${source}, ${e.note}` : source)),
  );
}

function place(e: Entry): string {
  const { file = e.file, line, column } = e.error ?? {};
  return line === undefined ? file : `${file}, line ${line}, column ${column}`;
}
