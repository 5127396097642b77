// Grafana's colours in the tones of this page, which follow the theme.

const names = ["green", "yellow", "orange", "red", "blue", "purple"];

/** CSS for a colour of Grafana: a name such as dark-red, or what CSS itself knows. */
export function colourOf(name: string): string {
  const m = /^(super-light-|light-|semi-dark-|dark-)?([a-z]+)$/.exec(name);
  const hue = m?.[2] ?? "";
  if (!names.includes(hue)) {
    if (name === "text" || name === "") return "var(--text)";
    if (name === "gray" || name === "grey") return "var(--quiet-line)";
    return /^(#[0-9a-f]{3,8}|rgba?\([\d.,%\s/]+\)|hsla?\([\d.,%\s/]+\)|[a-z]+)$/i.test(name) ? name : "var(--s1)";
  }
  const base = `var(--g-${hue})`;
  switch (m?.[1]) {
    case "dark-":
      return `color-mix(in srgb, ${base} 78%, black)`;
    case "semi-dark-":
      return `color-mix(in srgb, ${base} 90%, black)`;
    case "light-":
      return `color-mix(in srgb, ${base} 80%, white)`;
    case "super-light-":
      return `color-mix(in srgb, ${base} 60%, white)`;
  }
  return base;
}

const paletteSize = 8;

/** The palette's colour at a place; beyond its end the same hues again, lighter and darker in turn. */
export function paletteColour(i: number): string {
  const base = `var(--s${(i % paletteSize) + 1})`;
  const round = Math.floor(i / paletteSize) % 3;
  if (round === 0) return base;
  return `color-mix(in srgb, ${base} 62%, ${round === 1 ? "var(--card)" : "var(--text)"})`;
}

/** A colour for a part of a whole from 0 to 1, of Grafana's continuous modes. */
export function continuousColour(mode: string, part: number): string {
  const stops = mode.replace("continuous-", "").split("-").map((s) => ({ Gr: "green", Yl: "yellow", Rd: "red", Bl: "blue", Pu: "purple", blues: "blue", greens: "green", reds: "red", purples: "purple" })[s]).filter((s) => s !== undefined);
  const hues = stops.length === 0 ? ["green", "yellow", "red"] : stops;
  if (hues.length === 1) return `color-mix(in srgb, var(--g-${hues[0]}) ${Math.round(25 + 75 * part)}%, var(--card))`;
  const place = Math.max(0, Math.min(1, part)) * (hues.length - 1);
  const i = Math.min(hues.length - 2, Math.floor(place));
  return `color-mix(in srgb, var(--g-${hues[i + 1]}) ${Math.round((place - i) * 100)}%, var(--g-${hues[i]}))`;
}

/** The same colour, so much of it (percent) over nothing. */
export function faded(colour: string, percent: number): string {
  return `color-mix(in srgb, ${colour} ${percent}%, transparent)`;
}

/** What a canvas can paint: the colour with the theme's variables filled in. */
export function painted(colour: string, style: CSSStyleDeclaration): string {
  let out = colour;
  for (let i = 0; i < 4 && out.includes("var("); i++) {
    out = out.replace(/var\((--[\w-]+)\)/g, (_, name: string) => style.getPropertyValue(name).trim() || "gray");
  }
  return out;
}
