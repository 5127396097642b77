// Alerts and rules: what fires first, and what each rule is made of.

import type { RuleGroup } from "../api.ts";
import { arrange, choice, h, moveByArrows, setText } from "../dom.ts";
import { formatAge, formatValue } from "../format.ts";
import { pauseAfter, Poller } from "../poller.ts";
import { unexpected, type Context, type View } from "../view.ts";
import { arrangeRules, countsOf, stateOrder, timeOf, type RuleState } from "./rules.ts";
import { RuleView } from "./ruleview.ts";

const refreshMs = 10_000;
/** Rules on the page before "show more". */
const rulesAtOnce = 200;

const filters: readonly { id: string; label: string }[] = [
  { id: "", label: "All" },
  { id: "firing", label: "Firing" },
  { id: "pending", label: "Pending" },
  { id: "broken", label: "Broken" },
  { id: "inactive", label: "Inactive" },
  { id: "recording", label: "Recording" },
];

interface GroupView {
  el: HTMLElement;
  facts: HTMLElement;
  list: HTMLElement;
  rules: Map<string, RuleView>;
}

class Alerts implements View {
  readonly title = "Alerts";
  readonly el: HTMLElement;
  readonly #ctx: Context;
  readonly #poller: Poller;
  readonly #summary = h("p", { class: "summary", role: "status" });
  readonly #list = h("div", { class: "groups" });
  readonly #more = h("button", { type: "button", hidden: true, onclick: () => this.#showMore() });
  readonly #search;
  readonly #views = new Map<string, GroupView>();
  #state: RuleState | null;
  #groups: RuleGroup[] | null = null;
  #limit = rulesAtOnce;
  #tookMs = 0;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#state = stateOrder.find((s) => s === ctx.params.get("state")) ?? null;
    this.#search = h("input", {
      type: "search",
      "aria-label": "Search rules and alerts",
      placeholder: "Search name, label, query, text",
      value: ctx.params.get("search") ?? "",
      oninput: () => this.#filtered(),
    });
    const state = choice("state", "State", filters, this.#state ?? "", (id) => {
      this.#state = stateOrder.find((s) => s === id) ?? null;
      this.#filtered();
    });
    moveByArrows(this.#list, "summary");
    this.el = h("div", { class: "rules" }, h("div", { class: "bar" }, h("h1", {}, "Alerts and rules"), this.#search, state), this.#summary, this.#list, this.#more);
    this.#poller = new Poller({
      intervalMs: () => pauseAfter(this.#tookMs, refreshMs),
      task: async (signal) => {
        const began = performance.now();
        this.#groups = await ctx.client.rules(signal);
        this.#show();
        this.#tookMs = performance.now() - began;
      },
      onError: (err) => {
        if (err instanceof Error && err.name === "APIError" && this.#groups === null) setText(this.#summary, err.message);
        unexpected(err);
      },
      visible: () => !document.hidden,
    });
    void this.#poller.now();
  }

  readonly refresh = (): void => void this.#poller.now();

  destroy(): void {
    this.#poller.stop();
  }

  #filtered(): void {
    const params = new URLSearchParams();
    if (this.#search.value !== "") params.set("search", this.#search.value);
    if (this.#state !== null) params.set("state", this.#state);
    this.#ctx.setParams(params, false);
    this.#limit = rulesAtOnce;
    this.#show();
  }

  #showMore(): void {
    this.#limit += 5 * rulesAtOnce;
    this.#show();
  }

  #show(): void {
    if (this.#groups === null) return;
    const counts = countsOf(this.#groups);
    const total = this.#groups.reduce((n, g) => n + g.rules.length, 0);
    const chosen = arrangeRules(this.#groups, this.#state, this.#search.value);
    const found = chosen.reduce((n, g) => n + g.rules.length, 0);
    const counted = `${counts.firing} firing, ${counts.pending} pending, ${counts.broken} broken of ${total} rules in ${this.#groups.length} groups`;
    const why =
      total === 0
        ? "No rules: name rule files in the configuration under rule_files; those that come with Strata are turned on with --rules.builtin."
        : found === 0
          ? `${counted}; none matches the filter.`
          : `${counted}${found === total ? "" : `, ${found} shown`}`;
    setText(this.#summary, why);
    this.#summary.classList.toggle("bad", counts.firing + counts.broken > 0);
    const now = Date.now() / 1000;
    let room = this.#limit;
    const shown: HTMLElement[] = [];
    for (const g of chosen) {
      if (room <= 0) break;
      const rules = g.rules.slice(0, room);
      shown.push(this.#group({ ...g, rules }, now));
      room -= rules.length;
    }
    arrange(this.#list, shown);
    const rest = found - (this.#limit - room);
    this.#more.hidden = rest === 0;
    setText(this.#more, `Show more of the other ${rest} rules`);
    this.el.dataset["loaded"] = "true";
  }

  #group(g: RuleGroup, now: number): HTMLElement {
    const key = `${g.file}\n${g.name}`;
    const view = this.#views.get(key) ?? newGroup(g.name);
    this.#views.set(key, view);
    const at = timeOf(g.lastEvaluation);
    const evaluated = at === null ? "not evaluated yet" : `evaluated ${formatAge(now - at)} in ${formatValue(g.evaluationTime, "seconds")}`;
    setText(view.facts, `${g.file} · every ${formatValue(g.interval, "seconds")} · ${evaluated}`);
    const seen = new Map<string, number>();
    const rules = g.rules.map((r) => {
      // Rules of one group may share name and query; they are told apart by their order.
      const same = JSON.stringify([r.name, r.query, r.labels]);
      const n = seen.get(same) ?? 0;
      seen.set(same, n + 1);
      const rule = view.rules.get(`${same}${n}`) ?? new RuleView();
      view.rules.set(`${same}${n}`, rule);
      rule.update(r, now);
      return rule.el;
    });
    arrange(view.list, rules);
    return view.el;
  }
}

function newGroup(name: string): GroupView {
  const facts = h("span", { class: "facts" });
  const list = h("div", { class: "card" });
  const el = h("section", { class: "group", "aria-label": `Group ${name}` }, h("header", {}, h("h2", {}, name), facts), list);
  return { el, facts, list, rules: new Map() };
}

export function alerts(ctx: Context): View {
  return new Alerts(ctx);
}
