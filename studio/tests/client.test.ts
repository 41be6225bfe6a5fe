import { afterEach, describe, expect, it, vi } from "vitest";

import { ApiError, events, generate } from "../src/api/client";

/** A reply whose body comes in pieces that break events and characters apart. */
function stream(text: string, piece = 5, status = 200): Response {
  const data = new TextEncoder().encode(text);
  const body = new ReadableStream<Uint8Array>({
    start(control) {
      for (let i = 0; i < data.length; i += piece) control.enqueue(data.slice(i, i + piece));
      control.close();
    },
  });
  return new Response(body, { status });
}

function answer(reply: Response | Error): void {
  vi.stubGlobal("fetch", () => (reply instanceof Error ? Promise.reject(reply) : Promise.resolve(reply)));
}

afterEach(() => vi.unstubAllGlobals());

const STEP = 'event: step\ndata: {"job":"a","index":1,"total":2,"phase":"making","text":"Grüße"}\n\n';
const DONE = 'event: done\ndata: {"job":"a","state":"done","text":"Grüße"}\n\n';

describe("a stream of events", () => {
  it("is read whole, however it is cut", async () => {
    answer(stream(`${STEP}: ping\n\n${DONE}`, 3));
    const texts: unknown[] = [];
    const done = await generate({ prompt: "x" }, (step) => texts.push(step.text));
    expect(texts).toEqual(["Grüße"]);
    expect(done.state).toBe("done");
  });

  it("that tells of a mistake becomes an error with its sentence", async () => {
    answer(stream('event: error\ndata: {"error":{"message":"Choose another model.","type":"failed"}}\n\n'));
    await expect(generate({ prompt: "x" }, () => undefined)).rejects.toThrow("Choose another model.");
  });

  it("that ends too early is an error, not a result", async () => {
    answer(stream(STEP));
    await expect(generate({ prompt: "x" }, () => undefined)).rejects.toThrow("Try again");
  });

  it.each([
    ["with a sentence", '{"error":{"message":"The queue is full.","type":"full"}}', "The queue is full."],
    ["without one", "<html>", "status 429"],
  ])("that is refused %s says why", async (_, body, wanted) => {
    answer(stream(body, 100, 429));
    await expect(events("/api/x").next()).rejects.toThrow(wanted);
  });

  it("from a server that is away says what to do", async () => {
    answer(new TypeError("Failed to fetch"));
    const error = await events("/api/x").next().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect((error as Error).message).toContain("reverie studio");
  });
});
