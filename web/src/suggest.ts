// Metric names for the word under the cursor of a query.

/** The metric name being typed at `caret`, or null inside quotes or where none is. */
export function wordAt(text: string, caret: number): { start: number; word: string } | null {
  const before = text.slice(0, caret);
  let quoteOpen = "";
  for (let i = 0; i < before.length; i++) {
    const c = before[i] as string;
    if (quoteOpen === "") {
      if (c === '"' || c === "'" || c === "`") quoteOpen = c;
    } else if (c === "\\" && quoteOpen !== "`") i++;
    else if (c === quoteOpen) quoteOpen = "";
  }
  if (quoteOpen !== "") return null;
  // Between braces and brackets stand labels and durations, not metrics.
  if (/[{[][^}\]]*$/.test(before)) return null;
  const word = /[a-zA-Z_:][\w:]*$/.exec(before)?.[0];
  return word === undefined ? null : { start: caret - word.length, word };
}

/** Names for a word: those that begin with it before those that contain all its parts. */
export function suggestions(names: readonly string[], word: string, limit: number): string[] {
  const want = word.toLowerCase();
  const parts = want.split("_").filter((p) => p !== "");
  const begins: string[] = [];
  const contains: string[] = [];
  for (const name of names) {
    const n = name.toLowerCase();
    if (n === want) continue;
    if (n.startsWith(want)) begins.push(name);
    else if (parts.length > 0 && parts.every((p) => n.includes(p))) contains.push(name);
    if (begins.length >= limit) break;
  }
  return [...begins, ...contains].slice(0, limit);
}
