// The settings that a request may have: their bounds on the page, and how they travel in a URL.
import type { GenerateRequest, Settings } from "../api/client";
import type { Key } from "./i18n";

export type Name = "temperature" | "top_p" | "min_p" | "top_k" | "repetition_penalty" | "max_tokens" | "steps" | "guidance" | "strength" | "frames" | "fps";

export interface Dial {
  name: Name;
  label: Key;
  help: Key;
  least: number;
  most: number;
  step: number;
  /** Where the slider stands when it is first taken from the model's hands. */
  start: number;
}

export const TEXT_DIALS: readonly Dial[] = [
  dial("temperature", 0, 2, 0.05, 0.7),
  dial("top_p", 0.05, 1, 0.05, 0.9),
  dial("min_p", 0, 0.5, 0.01, 0.05),
  dial("top_k", 0, 200, 1, 40),
  dial("repetition_penalty", 0.8, 1.6, 0.01, 1.05),
  dial("max_tokens", 16, 2048, 16, 512),
];

export const TEMPERATURE = dial("temperature", 0, 2, 0.05, 0.85);
export const KEY_GUIDANCE: Dial = { ...dial("guidance", 1, 3, 0.1, 1.5), help: "dial.guidance.key.help" };
export const STEPS = dial("steps", 1, 60, 1, 20);
export const GUIDANCE = dial("guidance", 0, 12, 0.25, 4);
export const STRENGTH = dial("strength", 0.05, 1, 0.05, 0.6);
export const FRAMES = dial("frames", 2, 16, 1, 16);
export const FPS = dial("fps", 2, 24, 1, 8);
export const PICTURE_DIALS: readonly Dial[] = [STEPS, GUIDANCE];
export const CLIP_DIALS: readonly Dial[] = [STEPS, { ...GUIDANCE, start: 3 }];

function dial(name: Name, least: number, most: number, step: number, start: number): Dial {
  return { name, label: `dial.${name}`, help: `dial.${name}.help`, least, most, step, start };
}

const NUMBERS = ["seed", "temperature", "top_p", "min_p", "top_k", "repetition_penalty", "max_tokens", "steps", "guidance", "strength", "size_px", "bars", "tempo_bpm", "frames", "fps"] as const;
/** What may be wished of a tune in a word. */
export const TUNE_WORDS = ["key", "metre", "rhythm", "instrument"] as const;
/** `begin`: the bars that a tune goes on from, as ABC; `extend`: the clip that a clip goes on from. */
const WORDS = ["sampler", "negative", "begin", "extend", ...TUNE_WORDS] as const;
const FLAGS = ["backing", "loop"] as const;

/** What the query of a URL says of settings; what is not a number is left out. */
export function settingsOf(query: URLSearchParams): Settings {
  const found: Record<string, number | string | boolean> = {};
  for (const name of FLAGS) if (query.get(name) === "1") found[name] = true;
  for (const name of NUMBERS) {
    const value = query.get(name);
    if (value !== null && value.trim() !== "" && Number.isFinite(Number(value))) found[name] = Number(value);
  }
  for (const name of WORDS) {
    const value = query.get(name);
    if (value !== null && value !== "") found[name] = value;
  }
  return found as Settings;
}

/** The same, for `setQuery`: what is not set is removed. */
export function queryOf(settings: Settings): Record<string, string | number | null> {
  const named = settings as Record<string, unknown>;
  const entries = [...NUMBERS, ...WORDS].map((name) => [name, (named[name] as string | number | null | undefined) ?? null] as const);
  const flags = FLAGS.map((name) => [name, settings[name] === true ? "1" : null] as const);
  return { ...Object.fromEntries(entries), ...Object.fromEntries(flags) };
}

/** The URL that shows a picture's request again. Pictures that it began from do not fit in a URL. */
export function drawUrl(request: GenerateRequest, seed: number | null): string {
  return url("/draw", request, seed);
}

/** The URL that shows a tune's request again; with `item`, the tune too. */
export function composeUrl(request: GenerateRequest, seed: number | null, item: string | null = null): string {
  return url("/compose", request, seed) + (item === null ? "" : `&item=${encodeURIComponent(item)}`);
}

/** Where a picture of the gallery is set in motion. */
export const fromUrl = (item: string, prompt: string): string => `/animate?${new URLSearchParams({ from: item, prompt }).toString()}`;

/** Where a clip of the gallery is gone on from. */
export const extendUrl = (item: string, prompt: string): string => `/animate?${new URLSearchParams({ extend: item, prompt }).toString()}`;

/** The URL that shows a clip's request again; with `item`, the clip too. Pictures that it began from do not fit. */
export function animateUrl(request: GenerateRequest, seed: number | null, item: string | null = null): string {
  return url("/animate", request, seed) + (item === null ? "" : `&item=${encodeURIComponent(item)}`);
}

function url(path: string, request: GenerateRequest, seed: number | null): string {
  const query = new URLSearchParams();
  if (typeof request.prompt === "string") query.set("prompt", request.prompt);
  if (typeof request.model === "string") query.set("model", request.model);
  if (seed !== null) query.set("lock", "1");
  const settings = { ...request.settings, ...(seed === null ? {} : { seed }) } as Settings;
  for (const [name, value] of Object.entries(queryOf(settings))) if (value !== null) query.set(name, String(value));
  return `${path}?${query.toString()}`;
}

/** A seed that is easy to read out. */
export function newSeed(): number {
  return Math.floor(Math.random() * 1_000_000);
}
