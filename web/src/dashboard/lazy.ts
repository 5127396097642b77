// Dashboards are drawn by a chunk of their own, so that the first view stays small.

import { h } from "../dom.ts";
import type { Context, View, ViewMaker } from "../view.ts";

type Chunk = typeof import("./views.ts");

class Lazy implements View {
  readonly title = "Dashboards";
  readonly el = h("div", {}, h("p", { class: "note" }, "Loading …"));
  readonly #ctx: Context;
  readonly #pick: (chunk: Chunk) => ViewMaker;
  #view: View | null = null;
  #gone = false;

  constructor(ctx: Context, pick: (chunk: Chunk) => ViewMaker) {
    this.#ctx = ctx;
    this.#pick = pick;
    void this.#load();
  }

  readonly refresh = (): void => {
    if (this.#view) this.#view.refresh();
    else void this.#load();
  };

  destroy(): void {
    this.#gone = true;
    this.#view?.destroy();
  }

  async #load(): Promise<void> {
    try {
      const chunk = await import("./views.ts");
      if (this.#gone || this.#view) return;
      this.#view = this.#pick(chunk)(this.#ctx);
      this.el.replaceChildren(this.#view.el);
    } catch {
      // Gone, or replaced by a version whose files have other names.
      const again = h("button", { type: "button", onclick: () => location.reload() }, "Load the page again");
      this.el.replaceChildren(h("p", { class: "error", role: "alert" }, "This part of the page cannot be loaded: the server is gone, or has another version now."), again);
    }
  }
}

export const dashboards: ViewMaker = (ctx) => new Lazy(ctx, (chunk) => chunk.list);
export const dashboard: ViewMaker = (ctx) => new Lazy(ctx, (chunk) => chunk.dashboard);
