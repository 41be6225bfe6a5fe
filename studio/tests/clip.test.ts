import { describe, expect, it } from "vitest";

import { across, nearest, part, place, spread } from "../src/lib/clip";
import { animateUrl, settingsOf } from "../src/lib/settings";

describe("a strip", () => {
  it("has its frames side by side", () => {
    expect(place(across("x", 16), 5)).toEqual({ column: 5, row: 0, rows: 1 });
  });

  it("goes on in further rows where it would be too wide", () => {
    const strip = { image: "x", count: 10, columns: 4 };
    expect(place(strip, 9)).toEqual({ column: 1, row: 2, rows: 3 });
  });
});

describe("the steps of the pad", () => {
  it("are spread evenly, and the last is among them", () => {
    expect(spread(20, 4)).toEqual([5, 10, 15, 20]);
    expect(spread(3, 8)).toEqual([1, 2, 3]);
    expect(spread(0, 8)).toEqual([]);
  });

  it("have one that is next to any step", () => {
    expect([1, 7, 8, 20].map((step) => nearest([5, 10, 15, 20], step))).toEqual([0, 0, 1, 3]);
  });
});

it("a pointer stands in one of so many parts, and never beside them", () => {
  expect([-5, 0, 49, 50, 99, 100, 500].map((at) => part(at, 0, 100, 2))).toEqual([0, 0, 0, 1, 1, 1, 1]);
});

it("the settings of a clip come back from its address", () => {
  const settings = { frames: 8, fps: 12, loop: true, steps: 4 };
  const url = new URL(animateUrl({ prompt: "a fox", settings }, 9, "abc"), "http://x");
  expect(settingsOf(url.searchParams)).toEqual({ ...settings, seed: 9 });
  expect(url.searchParams.get("item")).toBe("abc");
  expect(url.pathname).toBe("/animate");
});
