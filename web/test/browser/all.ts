// Runs all browser tests in one process, one after the other, so that they share
// a browser and the servers.

import { readdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

// Screenshots of another run would look like this one's.
rmSync("test-output/screenshots", { recursive: true, force: true });
const here = dirname(fileURLToPath(import.meta.url));
for (const file of readdirSync(here).sort()) {
  if (file.endsWith(".test.js")) await import(`./${file}`);
}
