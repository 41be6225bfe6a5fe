import { describe, expect, it } from "vitest";

import { add, change, empty, path, read, show, siblings } from "../src/lib/chat";

const said = (text: string) => ({ role: "user" as const, text });
const answered = (text: string) => ({ role: "assistant" as const, text });

function twoAnswers() {
  const asked = add(empty(), null, said("Hello"));
  const question = asked.leaf;
  const first = add(asked, question, answered("Hi"));
  return { question, first, both: add(first, question, answered("Good day")) };
}

describe("a conversation", () => {
  it("shows the turns from the first to the last", () => {
    const tree = add(twoAnswers().both, 3, said("Bye"));
    expect(path(tree).map((turn) => turn.text)).toEqual(["Hello", "Good day", "Bye"]);
  });

  it("keeps an answer that was made anew beside the first", () => {
    const { both } = twoAnswers();
    expect(siblings(both, 3).map((turn) => turn.text)).toEqual(["Hi", "Good day"]);
    expect(path(show(both, 2)).map((turn) => turn.text)).toEqual(["Hello", "Hi"]);
  });

  it("keeps what followed a question when the question is edited", () => {
    const { first } = twoAnswers();
    const edited = add(first, null, said("Hallo"));
    expect(path(edited).map((turn) => turn.text)).toEqual(["Hallo"]);
    expect(path(show(edited, 1)).map((turn) => turn.text)).toEqual(["Hello", "Hi"]);
  });

  it("changes one turn and no other", () => {
    const { both } = twoAnswers();
    const changed = change(both, 2, { text: "Hi there" });
    expect(changed.turns.map((turn) => turn.text)).toEqual(["Hello", "Hi there", "Good day"]);
    expect(both.turns[1]?.text).toBe("Hi");
  });

  it("comes back from what was saved", () => {
    const { both } = twoAnswers();
    expect(read(JSON.parse(JSON.stringify(both)))).toEqual(both);
  });

  it.each([
    ["nothing", null],
    ["something else", { a: 1 }],
    ["a circle", { turns: [{ id: 1, parent: 2, role: "user", text: "a" }, { id: 2, parent: 1, role: "user", text: "b" }], leaf: 2 }],
    ["a turn that is its own parent", { turns: [{ id: 1, parent: 1, role: "user", text: "a" }], leaf: 1 }],
    ["a leaf that is not there", { turns: [], leaf: 7 }],
  ])("survives a saved file with %s", (_, body) => {
    expect(path(read(body)).length).toBeLessThan(3);
  });
});
