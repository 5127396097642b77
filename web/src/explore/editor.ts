// Where a query is written: a plain text field at once, and the editor with
// completion and linting in its place as soon as that is loaded.

import type { Client } from "../api.ts";
import { h, setText } from "../dom.ts";

export interface EditingOptions {
  value: string;
  /** Characters before the caret. */
  caret: number;
  label: string;
  placeholder: string;
  onRun: () => void;
  onChange: () => void;
  /** Told what is wrong with the text, "" when nothing is known to be. */
  onLint: (text: string) => void;
}

/** One way to edit. */
export interface Editing {
  el: HTMLElement;
  readonly value: string;
  readonly focused: boolean;
  focus: () => void;
  destroy: () => void;
}

const hint = "PromQL, such as rate(node_cpu_seconds_total[1m])";

export class QueryEditor {
  readonly el = h("div", { class: "field" });
  readonly #client: Client;
  readonly #label: string;
  readonly #onRun: () => void;
  readonly #lint = h("p", { class: "lint", role: "status" });
  #editing: Editing;
  #caret: () => number;
  #state: "plain" | "loading" | "full" | "gone" = "plain";

  constructor(client: Client, value: string, label: string, onRun: () => void) {
    this.#client = client;
    this.#label = label;
    this.#onRun = onRun;
    const plain = plainText(this.#options(value, 0));
    this.#editing = plain;
    this.#caret = () => plain.el.selectionStart;
    this.el.append(plain.el, this.#lint);
    void this.load();
  }

  get value(): string {
    return this.#editing.value;
  }

  focus(): void {
    this.#editing.focus();
  }

  /** Puts the full editor in the place of the text field, keeping text, caret and focus; does nothing twice. */
  async load(): Promise<void> {
    if (this.#state !== "plain") return;
    this.#state = "loading";
    try {
      const { codeMirror } = await import("./codemirror.ts");
      if (this.#over) return;
      const old = this.#editing;
      const focused = old.focused;
      this.#editing = codeMirror(this.#client, this.#options(old.value, this.#caret()));
      old.el.replaceWith(this.#editing.el);
      old.destroy();
      if (focused) this.#editing.focus();
      this.#state = "full";
    } catch {
      // A server that is gone or of another version: the text field does it too, and a refresh tries again.
      if (!this.#over) this.#state = "plain";
    }
  }

  destroy(): void {
    this.#state = "gone";
    this.#editing.destroy();
  }

  get #over(): boolean {
    return this.#state === "gone";
  }

  #options(value: string, caret: number): EditingOptions {
    return {
      value,
      caret,
      label: this.#label,
      placeholder: hint,
      onRun: this.#onRun,
      // What was wrong with another text says nothing about this one.
      onChange: () => setText(this.#lint, ""),
      onLint: (text) => setText(this.#lint, text),
    };
  }
}

function plainText(o: EditingOptions): Editing & { el: HTMLTextAreaElement } {
  const el = h("textarea", {
    rows: 1,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    placeholder: o.placeholder,
    "aria-label": o.label,
    oninput: () => fit(el),
    onkeydown: ((e: KeyboardEvent) => {
      if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
      e.preventDefault();
      o.onRun();
    }) as EventListener,
  });
  el.value = o.value;
  // Its height is known once it is in the page.
  requestAnimationFrame(() => fit(el));
  return {
    el,
    get value() {
      return el.value;
    },
    get focused() {
      return el.getRootNode() instanceof Document && document.activeElement === el;
    },
    focus: () => el.focus(),
    destroy: () => undefined,
  };
}

function fit(el: HTMLTextAreaElement): void {
  el.style.height = "auto";
  el.style.height = `${el.scrollHeight + 2}px`;
}
