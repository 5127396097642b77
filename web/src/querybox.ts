// The box a query is written in, with metric names to choose from.

import type { Client } from "./api.ts";
import { h } from "./dom.ts";
import { suggestions, wordAt } from "./suggest.ts";

const maxNames = 20000;
const maxSuggestions = 8;

export class QueryBox {
  readonly el: HTMLFormElement;
  readonly #text: HTMLTextAreaElement;
  readonly #list: HTMLUListElement;
  readonly #abort = new AbortController();
  readonly #client: Client;
  #names: string[] | null = null;
  #at: { start: number; word: string } | null = null;
  #chosen = -1;

  constructor(client: Client, value: string, onRun: () => void) {
    this.#client = client;
    this.#list = h("ul", { id: "suggestions", role: "listbox", "aria-label": "Metric names", hidden: true });
    this.#text = h("textarea", {
      id: "expr",
      rows: 1,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      placeholder: "PromQL, such as rate(node_cpu_seconds_total[1m])",
      "aria-autocomplete": "list",
      "aria-controls": "suggestions",
      oninput: () => this.#typed(),
      onfocus: () => void this.#loadNames(),
      onblur: () => this.#close(),
      onkeydown: ((e: KeyboardEvent) => this.#key(e)) as EventListener,
    });
    this.#text.value = value;
    this.el = h(
      "form",
      {
        class: "querybox",
        onsubmit: (e) => {
          e.preventDefault();
          this.#close();
          onRun();
        },
      },
      h("label", { for: "expr", class: "hidden" }, "PromQL query"),
      h("div", { class: "field" }, this.#text, this.#list),
      h("button", { type: "submit", class: "run" }, "Run"),
    );
    // Its height is known once it is in the page.
    requestAnimationFrame(() => this.#fit());
  }

  get value(): string {
    return this.#text.value;
  }

  destroy(): void {
    this.#abort.abort();
  }

  async #loadNames(): Promise<void> {
    try {
      this.#names ??= await this.#client.metricNames(maxNames, this.#abort.signal);
    } catch {
      // Without names there are no suggestions; the next focus tries again.
    }
  }

  #fit(): void {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`;
  }

  #typed(): void {
    this.#fit();
    this.#at = wordAt(this.#text.value, this.#text.selectionStart);
    const found = this.#at && this.#names ? suggestions(this.#names, this.#at.word, maxSuggestions) : [];
    this.#chosen = -1;
    this.#list.replaceChildren(
      ...found.map((name, i) =>
        h(
          "li",
          {
            id: `suggestion-${i}`,
            role: "option",
            "aria-selected": "false",
            // Before blur takes the list away.
            onmousedown: (e) => {
              e.preventDefault();
              this.#accept(name);
            },
          },
          name,
        ),
      ),
    );
    this.#list.hidden = found.length === 0;
    this.#text.removeAttribute("aria-activedescendant");
  }

  #key(e: KeyboardEvent): void {
    const open = !this.#list.hidden;
    const chosen = this.#list.children[this.#chosen]?.textContent ?? null;
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      if (open && chosen !== null) this.#accept(chosen);
      else this.el.requestSubmit();
    } else if (open && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      e.preventDefault();
      this.#choose(this.#chosen + (e.key === "ArrowDown" ? 1 : -1));
    } else if (open && e.key === "Escape") {
      e.preventDefault();
      this.#close();
    } else if (open && e.key === "Tab" && chosen !== null) {
      e.preventDefault();
      this.#accept(chosen);
    }
  }

  #choose(i: number): void {
    const options = [...this.#list.children];
    this.#chosen = Math.max(-1, Math.min(i, options.length - 1));
    options.forEach((o, at) => o.setAttribute("aria-selected", String(at === this.#chosen)));
    if (this.#chosen < 0) this.#text.removeAttribute("aria-activedescendant");
    else this.#text.setAttribute("aria-activedescendant", `suggestion-${this.#chosen}`);
  }

  #accept(name: string): void {
    if (!this.#at) return;
    const end = this.#at.start + this.#at.word.length;
    this.#text.setRangeText(name, this.#at.start, end, "end");
    this.#close();
    this.#fit();
    this.#text.focus();
  }

  #close(): void {
    this.#list.hidden = true;
    this.#chosen = -1;
    this.#text.removeAttribute("aria-activedescendant");
  }
}
