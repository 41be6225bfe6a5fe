// How the studio is built: into the Python package, which serves it.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import license from "rollup-plugin-license";
import { defineConfig } from "vitest/config";

const OUT = "../src/reverie/serve/studio";
const SERVER = "http://127.0.0.1:8321";

export default defineConfig({
  plugins: [svelte(), license({ thirdParty: { output: `${OUT}/licences.txt` } })],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // data: URLs in styles would need a wider Content-Security-Policy
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": SERVER, "/v1": SERVER, "/healthz": SERVER } },
  test: { environment: "jsdom", include: ["tests/**/*.test.ts"] },
});
