// The server that the browser tests look at: one that runs already
// (STRATA_URL), or `strata up` started for them (STRATA_BIN, ../bin/strata by
// default; STRATA_ARGS to start it otherwise).

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export interface Server {
  /** With a slash at its end. */
  url: string;
  stop: () => Promise<void>;
}

const startMs = 60_000;
const begunMs = 120_000;

/** The binary to start, or null with a server given and none built. */
export function binary(): string | null {
  const bin = resolve(process.env["STRATA_BIN"] ?? "../bin/strata");
  if (existsSync(bin)) return bin;
  if (process.env["STRATA_URL"]) return null;
  throw new Error(`${bin} does not exist: build it (make build), or set STRATA_BIN or STRATA_URL`);
}

/** The server under test, once it has data. */
export async function server(): Promise<Server> {
  const given = process.env["STRATA_URL"];
  if (given) return begun({ url: given.replace(/\/*$/, "/"), stop: () => Promise.resolve() }, ["up"]);
  const up = (dir: string): string[] => [
    "up",
    "--web.listen-address=127.0.0.1:0",
    "--node.listen-address=127.0.0.1:0",
    "--container.listen-address=127.0.0.1:0",
    "--app.listen-address=127.0.0.1:0",
    `--storage.tsdb.path=${join(dir, "data")}`,
  ];
  return begun(await start((dir) => process.env["STRATA_ARGS"]?.split(" ") ?? up(dir)), ["up"]);
}

/**
 * The server, once each query has a result: what a page asks once must not depend
 * on how long the first scrapes took.
 */
export async function begun(server: Server, wanted: readonly string[]): Promise<Server> {
  const deadline = Date.now() + begunMs;
  try {
    for (const query of wanted) {
      while (!(await hasResult(server.url, query))) {
        if (Date.now() > deadline) throw new Error(`no result of ${query} within ${begunMs / 1000} s`);
        await new Promise((done) => setTimeout(done, 200));
      }
    }
    return server;
  } catch (err) {
    await server.stop();
    throw err;
  }
}

/** Looks at the last point of a graph of an hour, which has one every 15 s: a younger store shows none. */
async function hasResult(url: string, query: string): Promise<boolean> {
  const time = String(Math.floor(Date.now() / 15_000) * 15);
  const answer = await fetch(`${url}api/v1/query?${new URLSearchParams({ query, time }).toString()}`);
  const { data } = (await answer.json()) as { data?: { result: unknown[] } };
  return (data?.result.length ?? 0) > 0;
}

/** Starts the binary in a fresh directory, which goes with it. */
export async function start(argsIn: (dir: string) => string[]): Promise<Server> {
  const bin = binary();
  if (bin === null) throw new Error("there is no binary to start");
  const dir = mkdtempSync(join(tmpdir(), "strata-page-"));
  const args = argsIn(dir);
  const child = spawn(bin, args, { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  const stop = async (): Promise<void> => {
    await end(child);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    return { url: await addressOf(child, `${bin} ${args.join(" ")}`), stop };
  } catch (err) {
    await stop();
    throw err;
  }
}

/** Of the addresses that the process prints, the one that serves the page. */
async function addressOf(child: ChildProcess, command: string): Promise<string> {
  let output = "";
  const keep = (chunk: Buffer): void => void (output += chunk.toString());
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const deadline = Date.now() + startMs;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${command} ended:\n${output}`);
    const addresses = new Set([...output.matchAll(/(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]|localhost):[1-9]\d*/g)].map((m) => m[0]));
    for (const a of addresses) {
      if (await servesPage(`http://${a}/`)) return `http://${a}/`;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${command} has printed no address of the page within ${startMs / 1000} s:\n${output}`);
}

async function servesPage(url: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(2000);
    const page = await fetch(url, { signal });
    if (!(await page.text()).includes('<main id="main"')) return false;
    return (await fetch(`${url}api/v1/query?query=1`, { signal })).ok;
  } catch {
    return false;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  child.kill("SIGINT");
  const hard = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await gone;
  clearTimeout(hard);
}
