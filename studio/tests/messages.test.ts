// Every message is said somewhere.
import { expect, test } from "vitest";

import en from "../src/messages/en";

const sources = import.meta.glob<string>(["../src/**/*.{svelte,ts}", "!../src/messages/*"], { query: "?raw", import: "default", eager: true });

test("no message is left over", () => {
  const source = Object.values(sources).join("\n");
  const beginnings = [...source.matchAll(/`([\w.]+\.)\$\{/g)].map((found) => found[1] ?? "");
  const left = Object.keys(en).filter((key) => !source.includes(`"${key}"`) && !beginnings.some((beginning) => key.startsWith(beginning)));
  expect(left).toEqual([]);
});
