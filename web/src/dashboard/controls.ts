// The controls above a dashboard: variables, time range, refresh.

import { h, setText } from "../dom.ts";
import { all, type Variable } from "./variables.ts";
import { refreshes, spans, spanText, type Span } from "./time.ts";

type Choose = (name: string, values: string[]) => void;

/** The controls of all variables that are shown. */
export function variableControls(variables: readonly Variable[], choose: Choose): HTMLElement[] {
  return variables.filter((v) => v.def.hide !== 2 && !["datasource", "constant"].includes(v.def.type)).map((v) => control(v, choose));
}

function control(v: Variable, choose: Choose): HTMLElement {
  const { def } = v;
  const name = h("span", { class: def.hide === 1 ? "hidden" : "d-label", title: def.description || undefined }, def.label);
  const broken = v.error === "" ? null : h("span", { class: "d-broken", title: v.error }, v.error);
  if (def.type === "textbox") {
    const input = h("input", { type: "text", "aria-label": def.label, value: v.chosen[0] ?? "", size: 14, onchange: () => choose(def.name, [input.value]) });
    return h("label", { class: "d-var", "data-variable": def.name }, name, input, broken);
  }
  if (def.multi) return h("div", { class: "d-var", "data-variable": def.name, role: "group", "aria-label": def.label }, name, multi(v, choose), broken);
  const options = withChosen(v);
  const select = h("select", { "aria-label": def.label, onchange: () => choose(def.name, [select.value]) }, ...options.map((o) => h("option", { value: o.value, selected: o.value === v.chosen[0] }, o.text)));
  if (options.length === 0) {
    select.append(h("option", { value: "" }, "none"));
    select.disabled = true;
  }
  return h("label", { class: "d-var", "data-variable": def.name }, name, select, broken);
}

/** All first, and what is chosen though it is not offered any more. */
function withChosen(v: Variable): { text: string; value: string }[] {
  const lost = v.chosen.filter((c) => c !== all && !v.options.some((o) => o.value === c)).map((c) => ({ text: c, value: c }));
  return [...(v.def.includeAll ? [{ text: "All", value: all }] : []), ...lost, ...v.options];
}

/** More boxes than these are found by typing. */
const mostBoxes = 200;

/** Several values: a list of boxes behind a button, applied when it closes. */
function multi(v: Variable, choose: Choose): HTMLElement {
  const { def } = v;
  const chosen = new Set(v.chosen);
  const before = [...chosen].sort().join("\n");
  const options = withChosen(v);
  const text = (): string => (chosen.has(all) ? "All" : options.filter((o) => chosen.has(o.value)).map((o) => o.text).join(", ") || "none");
  const summary = h("summary", { "aria-label": `${def.label}: ${text()}`, title: text() }, h("span", {}, text()));
  const list = h("div", { class: "d-boxes" });
  const more = h("p", { class: "d-more", hidden: true });
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": `Search ${def.label}`, oninput: () => fill() });
  const toggle = (value: string, on: boolean): void => {
    if (value === all || chosen.has(all)) chosen.clear();
    if (on) chosen.add(value);
    else chosen.delete(value);
    if (chosen.size === 0) chosen.add(def.includeAll ? all : (v.options[0]?.value ?? ""));
    for (const box of list.querySelectorAll("input")) box.checked = chosen.has(box.value);
    setText(summary.firstElementChild as HTMLElement, text());
  };
  const fill = (): void => {
    const words = search.value.toLowerCase();
    const found = options.filter((o) => o.text.toLowerCase().includes(words));
    list.replaceChildren(
      ...found.slice(0, mostBoxes).map((o) => {
        const box = h("input", { type: "checkbox", value: o.value, checked: chosen.has(o.value), onchange: () => toggle(o.value, box.checked) });
        return h("label", {}, box, h("span", {}, o.text));
      }),
    );
    more.hidden = found.length <= mostBoxes;
    setText(more, `and ${found.length - mostBoxes} more; search to find them`);
  };
  const details = h("details", { class: "d-multi" }, summary, h("div", { class: "d-pop", tabindex: -1 }, options.length > 8 ? search : null, list, more));
  const apply = (): void => {
    if ([...chosen].sort().join("\n") !== before) choose(def.name, [...chosen]);
  };
  details.addEventListener("toggle", () => (details.open ? fill() : apply()));
  closeByKeyboard(details, summary);
  const outside = (e: Event): void => {
    if (!details.isConnected) document.removeEventListener("pointerdown", outside);
    else if (details.open && !details.contains(e.target as Node)) details.open = false;
  };
  document.addEventListener("pointerdown", outside);
  return details;
}

/** Closes what is open at Escape, and when the focus has gone elsewhere; what is inside keeps it if it takes focus (tabindex). */
export function closeByKeyboard(details: HTMLDetailsElement, summary: HTMLElement): void {
  details.addEventListener("keydown", (e) => {
    if (e.key !== "Escape") return;
    details.open = false;
    summary.focus();
  });
  // Looked at afterwards: what closes while the pointer goes down takes its own target away.
  details.addEventListener("focusout", () => {
    setTimeout(() => {
      const now = document.activeElement;
      if (now !== null && now !== document.body && !details.contains(now)) details.open = false;
    });
  });
}

/** The choice of the time range; one that is not among the choices is added. */
export function spanControl(span: Span, onChange: (span: Span) => void): HTMLElement {
  const known = spans.some((s) => s.from === span.from) && span.to === "now";
  const select = h(
    "select",
    { "aria-label": "Time range", onchange: () => onChange({ from: select.value, to: "now" }) },
    ...(known ? [] : [h("option", { value: "", selected: true, disabled: true }, spanText(span, Date.now() / 1000))]),
    ...spans.map((s) => h("option", { value: s.from, selected: known && s.from === span.from }, s.label)),
  );
  return select;
}

export function refreshControl(refresh: string, onChange: (refresh: string) => void): HTMLElement {
  const choices = refreshes.includes(refresh) ? refreshes : [...refreshes, refresh];
  const select = h(
    "select",
    { "aria-label": "Refresh", onchange: () => onChange(select.value) },
    ...choices.map((r) => h("option", { value: r, selected: r === refresh }, r === "" ? "Refresh off" : `Every ${r}`)),
  );
  return select;
}
