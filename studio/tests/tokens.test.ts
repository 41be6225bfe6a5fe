import { describe, expect, it } from "vitest";

import { isText, textOf } from "../src/lib/tokens";

const spelt = (text: string) => ({ bytes: [...new TextEncoder().encode(text)] });
const halves = spelt("é").bytes.map((byte) => ({ bytes: [byte] }));

describe("tokens that are parts of a character", () => {
  it("are its text together, and nothing before it is whole", () => {
    expect(textOf([spelt("caf"), ...halves])).toBe("café");
    expect(textOf([spelt("caf"), ...halves.slice(0, 1)])).toBe("caf");
  });

  it("are no text by themselves, nor is the end", () => {
    expect([spelt(" word"), spelt("é"), ...halves, spelt("")].map(isText)).toEqual([true, true, false, false, false]);
  });
});
