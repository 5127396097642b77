// Status: what runs here, with which flags and configuration, and what fills the
// store. Each part is asked for by itself, and one that fails says so in its place.

import { APIError, type Alertmanagers, type TSDBStatus } from "./api.ts";
import { h } from "./dom.ts";
import { buildFacts, firstLines, headFacts, rankings, runtimeFacts, type Fact, type Ranking } from "./facts.ts";
import { Poller } from "./poller.ts";
import { unexpected, type Context, type View } from "./view.ts";

const refreshMs = 30_000;
const rankingRows = 10;
/** Lines of a configuration; more are for an editor. */
const maxLines = 5000;

interface Part {
  el: HTMLElement;
  body: HTMLElement;
  /** Asks and makes what the part shows. */
  load: (signal: AbortSignal) => Promise<Node[]>;
  /** Whether it changes while the server runs. */
  live: boolean;
}

class Status implements View {
  readonly title = "Status";
  readonly el: HTMLElement;
  readonly #poller: Poller;
  readonly #parts: Part[];
  readonly #flagSearch;
  #flags: [string, string][] = [];
  #flagRows = h("tbody", {});
  #all = true;

  constructor(ctx: Context) {
    const { client } = ctx;
    this.#flagSearch = h("input", { type: "search", "aria-label": "Search flags", placeholder: "Search flags", oninput: () => this.#showFlags() });
    this.#parts = [
      part("server", "Server", true, async (signal) => {
        const [build, run] = await Promise.all([
          client.get<Record<string, unknown>>("status/buildinfo", {}, signal),
          client.get<Record<string, unknown>>("status/runtimeinfo", {}, signal),
        ]);
        return [factList([...buildFacts(build), ...runtimeFacts(run, Date.now() / 1000)])];
      }),
      part("head", "Series in memory", true, async (signal) => {
        const status = await client.get<TSDBStatus>("status/tsdb", { limit: rankingRows }, signal);
        return [factList(headFacts(status)), h("div", { class: "grid" }, ...rankings(status).map(ranking))];
      }),
      part("alertmanagers", "Alertmanagers", true, async (signal) => alertmanagers(await client.get<Alertmanagers>("alertmanagers", {}, signal))),
      part("flags", "Flags", false, async (signal) => {
        this.#flags = Object.entries(await client.get<Record<string, string>>("status/flags", {}, signal)).sort(([a], [b]) => (a < b ? -1 : 1));
        this.#showFlags();
        return [this.#flagSearch, table("Flags", ["Flag", "Value"], this.#flagRows)];
      }),
      part("config", "Configuration", false, async (signal) => configuration((await client.get<{ yaml: string }>("status/config", {}, signal)).yaml)),
    ];
    this.el = h("div", { class: "status" }, h("div", { class: "bar" }, h("h1", {}, "Status")), ...this.#parts.map((p) => p.el));
    this.#poller = new Poller({ intervalMs: refreshMs, task: (signal) => this.#tick(signal), onError: unexpected, visible: () => !document.hidden });
    void this.#poller.now();
  }

  readonly refresh = (): void => {
    // What has come back may have been started with other flags.
    this.#all = true;
    void this.#poller.now();
  };

  destroy(): void {
    this.#poller.stop();
  }

  async #tick(signal: AbortSignal): Promise<void> {
    const due = this.#parts.filter((p) => p.live || this.#all);
    const results = await Promise.allSettled(due.map((p) => fill(p, signal)));
    if (signal.aborted) return;
    const failed = results.find((r) => r.status === "rejected");
    if (failed) throw failed.reason;
    this.#all = false;
    this.el.dataset["loaded"] = "true";
  }

  #showFlags(): void {
    const want = this.#flagSearch.value.trim().toLowerCase();
    const found = this.#flags.filter(([k, v]) => `${k} ${v}`.toLowerCase().includes(want));
    this.#flagRows.replaceChildren(
      ...found.map(([k, v]) => h("tr", {}, h("td", { class: "series" }, `--${k}`), h("td", { class: "series" }, v === "" ? "–" : v))),
      ...(found.length === 0 ? [h("tr", {}, h("td", { colspan: 2 }, "No flag matches."))] : []),
    );
  }
}

function part(id: string, title: string, live: boolean, load: Part["load"]): Part {
  const body = h("div", { class: "body" }, h("p", { class: "note" }, "Loading …"));
  const el = h("section", { class: "part", "data-part": id, "aria-labelledby": `part-${id}` }, h("h2", { id: `part-${id}` }, title), body);
  return { el, body, load, live };
}

/** Fills a part. An error of the API is shown in it; one of the connection is for the caller. */
async function fill(p: Part, signal: AbortSignal): Promise<void> {
  try {
    const made = await p.load(signal);
    // Typing must not lose its field to a refresh.
    if (made.length !== p.body.childNodes.length || made.some((n, i) => p.body.childNodes[i] !== n)) p.body.replaceChildren(...made);
  } catch (err) {
    if (!(err instanceof APIError) || err.failure !== "api") throw err;
    p.body.replaceChildren(h("p", { class: "error" }, `The server answers: ${err.message}`));
  }
}

function factList(facts: Fact[]): HTMLElement {
  return h("dl", { class: "card" }, ...facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
}

function table(caption: string, heads: [string, string], body: HTMLElement): HTMLElement {
  const [first, second] = heads;
  return h(
    "table",
    {},
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, first), h("th", { scope: "col" }, second))),
    body,
  );
}

function ranking(r: Ranking): HTMLElement {
  const rows = r.rows.map((row) =>
    h("tr", {}, h("td", { class: "series" }, row.href === null ? row.name : h("a", { href: row.href }, row.name)), h("td", { class: "num" }, row.text)),
  );
  const empty = h("tr", {}, h("td", { colspan: 2 }, "Nothing in memory yet."));
  const body = h("tbody", {}, ...(rows.length === 0 ? [empty] : rows));
  return h(
    "table",
    { class: "ranking" },
    h("caption", {}, r.title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col", class: "num" }, r.of))),
    body,
  );
}

function alertmanagers(a: Alertmanagers): Node[] {
  const [active, dropped] = [a.activeAlertmanagers ?? [], a.droppedAlertmanagers ?? []];
  const list = (all: { url: string }[]): HTMLElement => h("ul", { class: "plain" }, ...all.map((m) => h("li", { class: "endpoint" }, m.url)));
  if (active.length === 0) {
    return [h("p", { class: "note" }, "None: alerts are shown here and sent nowhere. The configuration names Alertmanagers under alerting.")];
  }
  return [list(active), ...(dropped.length === 0 ? [] : [h("h3", {}, "Not used, by relabeling"), list(dropped)])];
}

function configuration(yaml: string): Node[] {
  const { text, rest } = firstLines(yaml, maxLines);
  const pre = h("pre", { class: "card", tabindex: 0, "aria-label": "Configuration in YAML" }, text);
  return rest === 0 ? [pre] : [pre, h("p", { class: "note" }, `${rest} more lines are left out.`)];
}

export function status(ctx: Context): View {
  return new Status(ctx);
}
