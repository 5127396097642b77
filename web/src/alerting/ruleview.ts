// One rule on the page: a line that opens to its query, its error and its alerts.

import type { Alert, Labels, Rule } from "../api.ts";
import { arrange, h, setText } from "../dom.ts";
import { exploreLink } from "../explore/address.ts";
import { formatAge, formatDay, clock, formatValue, unitOf } from "../format.ts";
import { ownLabels, sortedAlerts, stateOf, timeOf, webLink } from "./rules.ts";

/** Alerts of one rule before "show more"; nobody reads a thousand of the same. */
const alertsShown = 20;

const badges: Record<string, [string, string]> = {
  firing: ["firing", "down"],
  broken: ["broken", "down"],
  pending: ["pending", "unknown"],
  new: ["not yet run", "quiet"],
  inactive: ["inactive", "up"],
  recording: ["recording", "quiet"],
};

export class RuleView {
  readonly el: HTMLDetailsElement;
  readonly #badge = h("span", {});
  readonly #name = h("b", {});
  readonly #about = h("span", { class: "labels" });
  readonly #when = h("span", { class: "when" });
  readonly #query = h("a", { class: "series" });
  readonly #error = h("p", { class: "error" });
  readonly #texts = h("div", { class: "annotations" });
  readonly #alerts = h("ul", { class: "alerts" });
  readonly #more = h("button", { type: "button", onclick: () => this.#showMore() });
  readonly #rows = new Map<string, AlertRow>();
  #rule: Rule | null = null;
  #limit = alertsShown;
  #texted = "";

  constructor() {
    this.el = h(
      "details",
      { class: "rule" },
      h("summary", {}, this.#badge, h("span", { class: "what" }, this.#name, " ", this.#about), this.#when),
      h("div", { class: "body" }, this.#error, h("p", {}, this.#query), this.#texts, this.#alerts, this.#more),
    );
  }

  update(rule: Rule, now: number): void {
    const state = stateOf(rule);
    if (this.el.dataset["state"] !== state) {
      this.el.dataset["state"] = state;
      const [text, tone] = badges[state] as [string, string];
      setText(this.#badge, text);
      this.#badge.className = `health ${tone}`;
      // What matters is open; what has calmed down closes by itself.
      this.el.open = state === "firing" || state === "broken" || state === "pending";
    }
    this.#rule = rule;
    setText(this.#name, rule.name);
    const at = timeOf(rule.lastEvaluation);
    setText(this.#when, at === null ? "never evaluated" : `${formatAge(now - at)} in ${formatValue(rule.evaluationTime, "seconds")}`);
    setText(this.#error, rule.lastError ?? "");
    this.#error.hidden = !rule.lastError;
    this.#say(rule);
    this.#showAlerts(rule, now);
  }

  /** What does not change from one evaluation to the next. */
  #say(rule: Rule): void {
    const texts = JSON.stringify([rule.query, rule.labels, rule.annotations, rule.duration, rule.keepFiringFor]);
    if (texts === this.#texted) return;
    this.#texted = texts;
    setText(this.#query, rule.query);
    this.#query.href = exploreLink(rule.query);
    this.#query.setAttribute("aria-label", `Explore ${rule.query}`);
    const durations = [
      rule.duration ? `for ${formatValue(rule.duration, "seconds")}` : "",
      rule.keepFiringFor ? `keeps firing for ${formatValue(rule.keepFiringFor, "seconds")}` : "",
    ];
    const labels = Object.entries(rule.labels ?? {}).map(([k, v]) => `${k}=${v}`);
    this.#about.replaceChildren(...[...durations.filter((d) => d !== ""), ...labels].map((t) => h("code", {}, t)));
  }

  #showAlerts(rule: Rule, now: number): void {
    const alerts = sortedAlerts(rule);
    // A rule's own texts hold templates; its alerts say the same with values in them.
    this.#texts.replaceChildren(...(alerts.length === 0 ? annotations(rule.annotations ?? {}) : []));
    const shown = alerts.slice(0, this.#limit).map((a) => {
      const key = JSON.stringify(a.labels);
      const row = this.#rows.get(key) ?? new AlertRow(a, rule);
      this.#rows.set(key, row);
      row.update(a, rule, now);
      return { key, row };
    });
    const live = new Set(shown.map((s) => s.key));
    for (const key of this.#rows.keys()) if (!live.has(key)) this.#rows.delete(key);
    arrange(this.#alerts, shown.map((s) => s.row.el));
    this.#alerts.hidden = alerts.length === 0;
    const rest = alerts.length - shown.length;
    this.#more.hidden = rest === 0;
    setText(this.#more, `Show ${Math.min(rest, 10 * alertsShown)} of ${rest} more alerts`);
  }

  #showMore(): void {
    this.#limit += 10 * alertsShown;
    if (this.#rule) this.#showAlerts(this.#rule, Date.now() / 1000);
  }
}

class AlertRow {
  readonly el: HTMLLIElement;
  readonly #badge = h("span", {});
  readonly #since = h("span", {});
  readonly #value = h("span", { class: "value" });
  readonly #texts = h("div", { class: "annotations" });
  #texted = "";

  constructor(a: Alert, rule: Rule) {
    const labels = ownLabels(a, rule).map(([k, v]) => h("code", {}, `${k}=${v}`));
    this.el = h("li", {}, h("div", { class: "facts" }, this.#badge, this.#since, this.#value), this.#texts, h("div", { class: "labels" }, ...labels));
  }

  update(a: Alert, rule: Rule, now: number): void {
    this.el.dataset["alert"] = a.state;
    setText(this.#badge, a.state);
    this.#badge.className = `health ${a.state === "firing" ? "down" : "unknown"}`;
    const at = timeOf(a.activeAt);
    setText(this.#since, at === null ? "" : `active since ${formatDay(at)} ${clock(at, true)}, ${formatAge(now - at)}`);
    setText(this.#value, `value ${formatValue(Number(a.value), unitOf(rule.query))}`);
    this.#value.title = a.value;
    const texts = JSON.stringify(a.annotations);
    if (texts === this.#texted) return;
    this.#texted = texts;
    this.#texts.replaceChildren(...annotations(a.annotations));
  }
}

/** Summary, description and runbook as such, and whatever else there is by name. */
function annotations(all: Labels): HTMLElement[] {
  const { summary, description, runbook_url: runbook, ...rest } = all;
  const link = webLink(runbook);
  const out: HTMLElement[] = [];
  if (summary) out.push(h("p", { class: "lead" }, summary));
  if (description) out.push(h("p", {}, description));
  for (const [k, v] of Object.entries(rest)) out.push(h("p", {}, `${k}: ${v}`));
  if (link !== null) out.push(h("p", {}, h("a", { href: link, rel: "noreferrer", target: "_blank" }, "Runbook")));
  else if (runbook) out.push(h("p", {}, `runbook: ${runbook}`));
  return out;
}
