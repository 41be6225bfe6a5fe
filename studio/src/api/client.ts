// The one door to the server: every route, with the types of its OpenAPI document.
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient from "openapi-fetch";

import { t } from "../lib/i18n";
import type { components, paths } from "./schema";

type Shapes = components["schemas"];
/** A shape as a reply has it: openapi-fetch takes tuples for lists. */
type Reply<T> = T extends (infer Each)[] ? Reply<Each>[] : T extends object ? { [Name in keyof T]: Reply<T[Name]> } : T;
export type About = Shapes["About"];
export type Candidate = Shapes["Candidate"];
export type ChatHead = Shapes["ChatHead"];
export type DoneEvent = Shapes["DoneEvent"];
export type Exhibit = Reply<Shapes["ExhibitReply"]>;
export type ExhibitKind = Shapes["ExhibitKind"];
export type ExhibitOption = Shapes["ExhibitOption"];
export type ExhibitRequest = Shapes["ExhibitRequest"];
export type Feedback = Shapes["Feedback"];
export type GenerateRequest = Shapes["GenerateRequest"];
export type Item = Shapes["Item"];
export type Job = Shapes["Job"];
export type JobList = Shapes["JobList"];
export type Model = Shapes["ModelView"];
export type MusicOptions = Shapes["MusicOptions"];
export type Lesson = Shapes["LessonView"];
export type Overview = Reply<Shapes["QuizOverview"]>;
export type PullEvent = Shapes["PullEvent"];
export type Question = Shapes["ShownQuestion"];
export type QuizAnswer = Shapes["QuizAnswer"]["answer"];
export type QuizRequest = Shapes["QuizRequest"];
export type QuizView = Reply<Shapes["QuizView"]>;
export type SavedChat = Shapes["SavedChat"];
export type Score = Reply<Shapes["Score"]>;
export type Settings = Shapes["GenerationSettings"];
export type StepEvent = Shapes["StepEvent"];
export type Show = Shapes["Show"];
export type TokenView = Shapes["TokenView"];
export type TrainOptions = Shapes["TrainOptions"];
export type TrainPoint = Shapes["TrainPoint"];
export type TrainRequest = Shapes["TrainRequest"];
export type TrainRun = Shapes["TrainRun"];
export type TrainSample = Shapes["TrainSample"];
export type VideoOptions = Shapes["VideoOptions"];
export type View = Exhibit["views"][number];
export type WholeLesson = Shapes["WholeLesson"];

/** A failure with a sentence for the person who reads it. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export const api = createClient<paths>({ baseUrl: "/", fetch: (request) => fetch(request) });

/** The data of a reply, or an `ApiError` that says what to do. */
export async function data<T>(reply: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await reply.catch(unreachable);
  if (error !== undefined || !response.ok) throw new ApiError(sentence(error, response.status), response.status);
  return data as T;
}

/** Whether an error only says that somebody pressed "stop" or left the page. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** What to show of whatever was thrown. */
export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type Event = { name: string; data: unknown };

/** The events that a route sends, one by one. Leaving the loop, or aborting, ends the work on the server too. */
export async function* events(path: string, options: RequestInit = {}): AsyncGenerator<Event> {
  const response = await fetch(path, options).catch(unreachable);
  if (!response.ok || response.body === null) {
    throw new ApiError(sentence(await response.json().catch(() => null), response.status), response.status);
  }
  const stream = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(unreachable);
      if (done) return;
      const event = { name: value.event ?? "message", data: JSON.parse(value.data) as unknown };
      if (event.name === "error") throw new ApiError(sentence(event.data, 500), 500);
      yield event;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Makes something: tells of each step, and gives what is known at the end. */
export async function generate(
  request: GenerateRequest,
  onStep: (step: StepEvent) => void,
  signal?: AbortSignal,
): Promise<DoneEvent> {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(request) };
  for await (const event of events("/api/generate", { ...options, signal: signal ?? null })) {
    if (event.name === "step") onStep(event.data as StepEvent);
    if (event.name === "done") return event.data as DoneEvent;
  }
  throw new ApiError(t("error.cut"), 0);
}

function unreachable(error: unknown): never {
  if (isAbort(error) || error instanceof ApiError) throw error;
  throw new ApiError(t("error.unreachable"), 0);
}

/** The sentence in the body of a failed reply. */
function sentence(body: unknown, status: number): string {
  const error = (body as { error?: { message?: unknown } } | null)?.error;
  if (typeof error?.message === "string") return error.message;
  return t("error.status", { status });
}
