// The contrast of text in a page, as WCAG 2 counts it. Runs in the browser.

/** One line for each visible text under the ratio that level AA asks of its size. */
export function poorContrast(): string[] {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  // Painting a list of colours one over the other leaves the one that is seen.
  const seen = (colours: string[]): number[] => {
    context.clearRect(0, 0, 1, 1);
    for (const c of colours) {
      context.fillStyle = c;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const luminance = (rgb: number[]): number => {
    const [r = 0, g = 0, b = 0] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const out: string[] = [];
  for (const el of document.querySelectorAll<HTMLElement>("body *")) {
    const own = [...el.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent?.trim() !== "");
    if (!own || !el.checkVisibility() || el.closest(".hidden, .skip, noscript, script")) continue;
    const style = getComputedStyle(el);
    const backgrounds: string[] = [];
    for (let up: HTMLElement | null = el; up; up = up.parentElement) backgrounds.unshift(getComputedStyle(up).backgroundColor);
    const back = luminance(seen(backgrounds));
    const text = luminance(seen([...backgrounds, style.color]));
    const ratio = (Math.max(back, text) + 0.05) / (Math.min(back, text) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) out.push(`${el.tagName}.${el.className} "${el.textContent?.slice(0, 30)}": ${ratio.toFixed(2)}`);
  }
  return out;
}
