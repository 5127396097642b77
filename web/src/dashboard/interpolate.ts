// Variables in texts and queries: $name, ${name:format} and [[name]].

/** What a variable stands for. */
export interface Value {
  /** Chosen values; of All without a value of its own, all options. */
  values: string[];
  /** What people see of it. */
  text: string;
  /** Written as it is, never escaped: the value that All has of its own. */
  raw: boolean;
  /** Several values are possible, so that queries match it as a regular expression. */
  regex: boolean;
}

export type Scope = (name: string) => Value | null;

/** A value that is just a text. */
export function plain(text: string): Value {
  return { values: [text], text, raw: true, regex: false };
}

const reference = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.[^:}]+)?(?::([^}]+))?\}/g;

/** Within a string of PromQL that is a regular expression: each backslash stands for itself once the string is read. */
function escapeRegex(v: string): string {
  return v.replace(/\\/g, "\\\\\\\\").replace(/[$^*{}[\]'+?.()|]/g, "\\\\$&");
}

/** Within a string of PromQL. */
function escapeString(v: string): string {
  return v.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

/** Values as a query of Prometheus wants them where nothing else is said. */
function forQuery(v: Value): string {
  if (v.raw) return v.values.join("|");
  if (!v.regex) return escapeString(v.values[0] ?? "");
  const all = v.values.map((one) => escapeRegex(one).replace(/"/g, '\\"'));
  return all.length === 1 ? (all[0] as string) : `(${all.join("|")})`;
}

const plainRegex = (v: string): string => v.replace(/[\\^$*+?.()|[\]{}/]/g, "\\$&");

function formatted(v: Value, format: string): string {
  const all = v.values;
  switch (format) {
    case "raw":
      return all.length === 1 ? (all[0] as string) : all.join(",");
    case "csv":
      return all.join(",");
    case "pipe":
      return all.join("|");
    case "regex": {
      if (v.raw) return all.join("|");
      const escaped = all.map(plainRegex);
      return escaped.length === 1 ? (escaped[0] as string) : `(${escaped.join("|")})`;
    }
    case "glob":
      return all.length === 1 ? (all[0] as string) : `{${all.join(",")}}`;
    case "json":
      return JSON.stringify(all.length === 1 ? all[0] : all);
    case "doublequote":
      return all.map((x) => `"${x.replace(/"/g, '\\"')}"`).join(",");
    case "singlequote":
      return all.map((x) => `'${x.replace(/'/g, "\\'")}'`).join(",");
    case "percentencode":
      return encodeURIComponent(all.join(","));
    case "text":
      return v.text;
    case "date":
    case "date:iso":
      return new Date(Number(all[0])).toISOString();
    case "date:seconds":
      return String(Math.floor(Number(all[0]) / 1000));
  }
  return forQuery(v);
}

function replace(text: string, scope: Scope, write: (v: Value, format: string | undefined) => string): string {
  return text.replace(reference, (whole, a?: string, b?: string, bf?: string, c?: string, cf?: string) => {
    const value = scope((a ?? b ?? c) as string);
    return value === null ? whole : write(value, bf ?? cf);
  });
}

/** A query with its variables written in. A dollar that names none stays: it may end a regular expression. */
export function inQuery(text: string, scope: Scope): string {
  return replace(text, scope, (v, format) => (format === undefined ? forQuery(v) : formatted(v, format)));
}

/** A title or legend with its variables written in. */
export function inText(text: string, scope: Scope): string {
  return replace(text, scope, (v, format) => (format === undefined ? v.text : formatted(v, format)));
}

/** Names of the variables that a text refers to, in the order of their first place. */
export function references(text: string): string[] {
  return [...new Set([...text.matchAll(reference)].map((m) => (m[1] ?? m[2] ?? m[4]) as string))];
}
