// Text panels: the common part of Markdown, built as elements and never as markup.

import { h } from "../dom.ts";

/** An address that a link may have. */
export function safeHref(href: string): string | null {
  return /^(https?:\/\/|mailto:|\.?\.?\/|#)/i.test(href) ? href : null;
}

type Inline = Node | string;

/** Code, bold, italics and links within a line. */
function inline(text: string): Inline[] {
  const out: Inline[] = [];
  const token = /`([^`]+)`|\*\*([^*]+)\*\*|__([^_]+)__|\*([^*\s][^*]*)\*|(?<!\w)_([^_\s][^_]*)_(?!\w)|\[([^\]]+)\]\(([^)\s]+)[^)]*\)|(https?:\/\/[^\s<>")]+)/g;
  let from = 0;
  for (const m of text.matchAll(token)) {
    out.push(text.slice(from, m.index));
    from = (m.index ?? 0) + m[0].length;
    const [, code, bold, bold2, em, em2, label, href, bare] = m;
    if (code !== undefined) out.push(h("code", {}, code));
    else if (bold !== undefined || bold2 !== undefined) out.push(h("strong", {}, ...inline((bold ?? bold2) as string)));
    else if (em !== undefined || em2 !== undefined) out.push(h("em", {}, ...inline((em ?? em2) as string)));
    else out.push(link(label ?? (bare as string), href ?? (bare as string)));
  }
  out.push(text.slice(from));
  return out;
}

function link(label: string, href: string): Inline {
  const safe = safeHref(href);
  return safe === null ? label : h("a", { href: safe, ...(safe.startsWith("http") ? { target: "_blank", rel: "noopener noreferrer" } : {}) }, label);
}

/** Headings, lists, quotes, code, rules, tables and paragraphs. */
export function markdown(text: string): HTMLElement[] {
  const lines = text.replace(/\r\n/g, "\n").replace(/<!--[\s\S]*?-->/g, "").split("\n");
  const out: HTMLElement[] = [];
  let i = 0;
  const run = (test: RegExp): string[] => {
    const from = i;
    while (i < lines.length && test.test(lines[i] as string)) i++;
    return lines.slice(from, i);
  };
  while (i < lines.length) {
    const line = lines[i] as string;
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (/^\s*$/.test(line)) i++;
    else if (/^\s*```/.test(line)) {
      i++;
      const code = run(/^(?!\s*```)/);
      i++;
      out.push(h("pre", { tabindex: 0 }, h("code", {}, code.join("\n"))));
    } else if (heading) {
      i++;
      // Below the panel's own heading.
      out.push(h(`h${Math.min(6, (heading[1] as string).length + 3)}` as "h4", {}, ...inline(heading[2] as string)));
    } else if (/^\s*([-*_])\s*(\1\s*){2,}$/.test(line)) {
      i++;
      out.push(h("hr"));
    } else if (/^\s*[-*+]\s+/.test(line)) out.push(h("ul", {}, ...items(run(/^\s*[-*+]\s+|^\s{2,}\S/), /^\s*[-*+]\s+/)));
    else if (/^\s*\d+[.)]\s+/.test(line)) out.push(h("ol", {}, ...items(run(/^\s*\d+[.)]\s+|^\s{2,}\S/), /^\s*\d+[.)]\s+/)));
    else if (/^\s*>/.test(line)) out.push(h("blockquote", {}, ...markdown(run(/^\s*>/).map((l) => l.replace(/^\s*> ?/, "")).join("\n"))));
    else if (/^\s*\|.*\|\s*$/.test(line) && /^\s*\|[\s:|-]+\|\s*$/.test(lines[i + 1] ?? "")) out.push(table(run(/^\s*\|.*\|\s*$/)));
    else out.push(h("p", {}, ...inline(run(/^(?!\s*$|#{1,6}\s|\s*```|\s*[-*+]\s|\s*>)/).concat(lines[i] === line ? [lines[i++] as string] : []).join(" "))));
  }
  return out;
}

function items(lines: string[], bullet: RegExp): HTMLElement[] {
  const texts: string[] = [];
  for (const l of lines) {
    if (bullet.test(l) || texts.length === 0) texts.push(l.replace(bullet, ""));
    else texts[texts.length - 1] += ` ${l.trim()}`;
  }
  return texts.map((t) => h("li", {}, ...inline(t)));
}

function table(lines: string[]): HTMLElement {
  const cells = (l: string): string[] => l.trim().replace(/^\||\|$/g, "").split("|").map((c) => c.trim());
  const [head = "", , ...rows] = lines;
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...cells(head).map((c) => h("th", { scope: "col" }, ...inline(c))))),
    h("tbody", {}, ...rows.map((r) => h("tr", {}, ...cells(r).map((c) => h("td", {}, ...inline(c)))))),
  );
}

/** The text of HTML, its tags left out: markup of a file is never run. */
export function withoutTags(html: string): string {
  return html.replace(/<(style|script)[\s\S]*?<\/\1>/gi, "").replace(/<br\s*\/?>|<\/(p|div|li|h\d|tr)>/gi, "\n\n").replace(/<[^>]*>/g, "").replace(/&nbsp;/g, " ").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
}
