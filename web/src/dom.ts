// Building elements without a framework. Text is always set as text, never as markup.

type Child = Node | string | null | undefined | false;
type Props = Record<string, string | number | boolean | EventListener | undefined>;

/** An element: attributes, on… listeners, booleans as present or absent, and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") el.addEventListener(name.slice(2), value);
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  el.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
  return el;
}

/** Sets an element's text unless it is the same already, so that screen readers and selections stay calm. */
export function setText(el: HTMLElement, text: string): void {
  if (el.textContent !== text) el.textContent = text;
}

/** Makes `items` the children of `parent`, moving none that stands right. */
export function arrange(parent: HTMLElement, items: HTMLElement[]): void {
  items.forEach((el, i) => {
    if (parent.children[i] !== el) parent.insertBefore(el, parent.children[i] ?? null);
  });
  while (parent.children.length > items.length) parent.lastElementChild?.remove();
}

/** A group of radio buttons that looks like one control. */
export function choice(
  name: string,
  legend: string,
  options: readonly { id: string; label: string }[],
  chosen: string,
  onChange: (id: string) => void,
): HTMLFieldSetElement {
  return h(
    "fieldset",
    { class: "choice" },
    h("legend", { class: "hidden" }, legend),
    ...options.map((o) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name, value: o.id, checked: o.id === chosen, onchange: () => onChange(o.id) }),
        h("span", {}, o.label),
      ),
    ),
  );
}

/** Lets the up and down arrows move the focus along the elements of a list that a selector names. */
export function moveByArrows(list: HTMLElement, selector: string): void {
  list.addEventListener("keydown", (e) => {
    const step = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
    const from = e.target as HTMLElement;
    if (step === 0 || !from.matches(selector)) return;
    const all = [...list.querySelectorAll<HTMLElement>(selector)];
    const to = all[all.indexOf(from) + step];
    if (!to) return;
    e.preventDefault();
    to.focus();
  });
}
