// The page is small: what is embedded is weighed as a browser receives it.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const dist = "../pipeline/page/dist";
/** Bytes, compressed, of all scripts together. */
const most = 350_000;

test("all scripts together stay small", (t) => {
  const sizes = readdirSync(`${dist}/assets`)
    .filter((f) => f.endsWith(".js"))
    .map((f) => [f, gzipSync(readFileSync(`${dist}/assets/${f}`), { level: 9 }).length] as const);
  const index = readFileSync(`${dist}/index.html`, "utf8");
  const first = sizes.filter(([f]) => index.includes(f)).reduce((sum, [, n]) => sum + n, 0);
  const all = sizes.reduce((sum, [, n]) => sum + n, 0);
  assert.ok(sizes.length > 0 && first > 0, "the build is there: npm run build");
  t.diagnostic(`scripts, gzipped: ${(all / 1000).toFixed(1)} kB, of which ${(first / 1000).toFixed(1)} kB for the first view; at most ${most / 1000} kB`);
  assert.ok(all <= most, `${all} bytes`);
});
