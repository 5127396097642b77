// What the kinds of panels have in common.

import type { Loaded } from "./data.ts";

export interface BodyOptions {
  /** The panel's title as shown. */
  title: () => string;
  /** Charts of one key show one pointer; "" for each its own. */
  sync: string;
  /** Told the times (seconds) over which the pointer was drawn. */
  onZoom: (from: number, to: number) => void;
}

/** What stands below a panel's title. */
export interface Body {
  el: HTMLElement;
  show: (data: Loaded) => void;
  destroy: () => void;
}
