import { describe, expect, it } from "vitest";

import { bytes, percent, seconds } from "../src/lib/format";
import { drawUrl, queryOf, settingsOf } from "../src/lib/settings";
import { cells, read, type Side } from "../src/lib/sweep";

describe("settings in a URL", () => {
  it("come back as they were", () => {
    const settings = { seed: 7, steps: 20, guidance: 3.5, sampler: "euler" as const, negative: "a cat" };
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(queryOf(settings))) if (value !== null) query.set(name, String(value));
    expect(settingsOf(query)).toEqual(settings);
  });

  it("keep a zero, and leave out what is not a number", () => {
    expect(settingsOf(new URLSearchParams("temperature=0&steps=many&seed=&guidance=NaN"))).toEqual({ temperature: 0 });
  });

  it("show a request again", () => {
    const url = new URL(drawUrl({ prompt: "a fox & a hen", settings: { steps: 4 } }, 9), "http://x");
    expect(Object.fromEntries(url.searchParams)).toEqual({ prompt: "a fox & a hen", steps: "4", seed: "9", lock: "1" });
  });
});

describe("a sweep", () => {
  const samplers = ["euler", "heun"];

  it("makes a table, row by row", () => {
    const [x, y] = [read("guidance", "1, 3 6", samplers), read("sampler", "euler;heun", samplers)] as [Side, Side];
    const table = cells({ seed: 5 }, x, y);
    expect(table).toHaveLength(6);
    expect(table[0]).toEqual({ seed: 5, guidance: 1, sampler: "euler" });
    expect(table[4]).toEqual({ seed: 5, guidance: 3, sampler: "heun" });
  });

  it.each([
    ["seed", ""],
    ["steps", "1, two"],
    ["steps", "1.5"],
    ["guidance", "-1"],
    ["sampler", "magic"],
    ["seed", "1 2 3 4 5 6 7 8 9"],
  ] as const)("says in a sentence what is wrong with %s %s", (axis, text) => {
    expect(read(axis, text, samplers)).toMatch(/\w+ .*\.$/);
  });
});

describe("numbers", () => {
  it.each([
    [bytes(0), "0 B"],
    [bytes(1500), "1.5 kB"],
    [bytes(105_000_000), "105 MB"],
    [seconds(2.34), "2.3 s"],
    [seconds(75), "1 min 15 s"],
    [seconds(3700), "1 h 1 min"],
    [percent(Math.log(0.37)), "37 %"],
    [percent(-9), "< 1 %"],
  ])("are read easily: %s", (shown, wanted) => {
    expect(shown).toBe(wanted);
  });
});
