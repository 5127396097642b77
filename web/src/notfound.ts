// The view of an address that no other view has.

import { h } from "./dom.ts";
import type { View } from "./view.ts";

export function notFound(): View {
  return {
    title: "No such page",
    el: h(
      "div",
      { class: "bar" },
      h("h1", {}, "No such page"),
      h("p", {}, "This address is none of Strata's. ", h("a", { href: "./" }, "Go to the overview"), "."),
    ),
    refresh: () => undefined,
    destroy: () => undefined,
  };
}
