import { defineConfig } from "vite";

// The build is committed under pipeline/page/dist, so it must be the same on
// every machine: content hashes only, no time, no source paths.
export default defineConfig({
  // Relative: the Go handler writes the prefix it is served under into <base>.
  base: "./",
  build: {
    outDir: "../pipeline/page/dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    sourcemap: false,
  },
  server: {
    // `npm run dev` shows the page against a running server.
    proxy: { "/api": process.env["STRATA_URL"] ?? "http://127.0.0.1:9090" },
  },
});
