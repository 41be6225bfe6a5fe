import { describe, expect, it } from "vitest";

import type { Score } from "../src/api/client";
import { composeUrl, settingsOf } from "../src/lib/settings";
import { at, looksOf, pitchName, soundings } from "../src/lib/tune";

const note = (id: string, starts_seconds: number[], word: number) => ({ id, bar: 0, pitch: 66, starts_seconds, seconds: 0.5, word });
const score: Score = {
  title: "",
  svg: "",
  words: ["key=D", "F#4:1/8", "|", "A4:1/8"],
  bars: [],
  notes: [note("n0", [0, 2], 1), note("n1", [1], 3)],
  seconds: 3,
  model: "tunes",
};

describe("a tune", () => {
  it("is followed through its repeats", () => {
    const order = soundings(score);
    expect(order.map((each) => each.note)).toEqual([0, 1, 0]);
    expect([-1, 0.2, 0.7, 1, 2.4, 9].map((seconds) => at(order, seconds))).toEqual([null, 0, null, 1, 2, null]);
  });

  it("shows what was looked at while a note was chosen, whatever comes before its words", () => {
    const map = { tokens: ["<tune>", ...score.words], weights: [[1], [0.5, 0.5], [0.2, 0.3, 0.5], [0.1, 0.2, 0.6, 0.1]] };
    expect([...looksOf(score, 1, map)]).toEqual([[0, 0.6]]);
    expect([...looksOf(score, 0, map)]).toEqual([]);
  });

  it("comes back from its address", () => {
    const url = new URL(composeUrl({ prompt: "a jig", settings: { backing: true, bars: 16, key: "F#m" } }, 4, "abc"), "http://x");
    expect(settingsOf(url.searchParams)).toEqual({ backing: true, bars: 16, key: "F#m", seed: 4 });
    expect(url.searchParams.get("item")).toBe("abc");
  });

  it("takes the bars that are kept along in its address", () => {
    const begin = "X:1\nM:6/8\nL:1/8\nK:D\nABc d2A|";
    const url = new URL(composeUrl({ prompt: "a jig", settings: { begin, bars: 16 } }, 4), "http://x");
    expect(settingsOf(url.searchParams)).toEqual({ begin, bars: 16, seed: 4 });
  });

  it("names its notes as musicians do", () => {
    expect([60, 66, 81].map(pitchName)).toEqual(["C4", "F♯4", "A5"]);
  });
});
