// Addresses of "Look inside": an exhibit, what it is of, and its options, all in the URL.
import type { ExhibitOption, Item, Show } from "../api/client";

export type Value = string | number | boolean | null;
export type Options = Record<string, Value>;

const MOST_LETTERS = 1500; // of a text in an address; exhibits look at the last 96 tokens

/** Where an exhibit is to be seen. What is null or empty is left to the page. */
export function insideUrl(exhibit: string, prompt: string, model: string | null, options: Options = {}): string {
  const query = new URLSearchParams({ exhibit });
  if (prompt !== "") query.set("prompt", prompt.slice(-MOST_LETTERS));
  if (model !== null) query.set("model", model);
  for (const [name, value] of Object.entries(options)) if (value !== null) query.set(name, String(value));
  return `/inside?${query.toString()}`;
}

/** Where the exhibit of a question or a lesson is to be seen. */
export const showUrl = (show: Show): string => insideUrl(show.name, show.prompt ?? "", null, show.options ?? {});

/** Where one sees how something in the gallery was made. words: of a tune, as its model writes them. */
export function madeUrl(item: Item, settings: Record<string, unknown> = {}, words: readonly string[] = []): string {
  if (item.modality === "music") return tuneUrl(item, words);
  if (item.text !== null) return insideUrl("flow", `${item.prompt} ${item.text}`, item.model);
  if (item.modality === "video") return animatedUrl(item.prompt, item.model, item.seed, settings);
  return drawnUrl(item.prompt, item.model, item.seed, settings);
}

/** Where one sees what its model might have written instead of each note; the words of a tune are asked for whole. */
function tuneUrl(item: Item, words: readonly string[]): string {
  return `/inside?${new URLSearchParams({ exhibit: "music-next", prompt: words.join(" "), model: item.model }).toString()}`;
}

/** Where one sees how a picture came about. */
export function drawnUrl(prompt: string, model: string | null, seed: number | null, settings: Record<string, unknown> = {}): string {
  return insideUrl("denoising", prompt, model, { ...kept(settings), seed });
}

/** Where one sees how a clip came about. */
export function animatedUrl(prompt: string, model: string | null, seed: number | null, settings: Record<string, unknown> = {}): string {
  return insideUrl("video-denoising", prompt, model, { ...kept(settings, "frames"), seed });
}

/** Those of the settings that an exhibit has as options too. */
function kept(settings: Record<string, unknown>, ...more: string[]): Options {
  return Object.fromEntries(["steps", "guidance", "sampler", ...more].map((name) => [name, (settings[name] ?? null) as Value]));
}

/** What an address says of an exhibit's options; a value that does not fit is left out. */
export function optionsOf(query: URLSearchParams, options: readonly ExhibitOption[]): Options {
  const found: Options = {};
  for (const { name, kind } of options) {
    const text = query.get(name);
    const value = text === null || text === "" ? null : read(text, kind);
    if (value !== null) found[name] = value;
  }
  return found;
}

function read(text: string, kind: ExhibitOption["kind"]): Value {
  if (kind === "str") return text;
  if (kind === "bool") return text === "true";
  const value = Number(text);
  return Number.isFinite(value) && (kind === "float" || Number.isInteger(value)) ? value : null;
}

/** A piece of text as it is shown alone: line breaks and lone spaces can be seen. */
export function piece(text: string): string {
  const told = text.replaceAll("\n", "⏎");
  return told !== "" && told.trim() === "" ? "␣" : told;
}

/** A piece of text as one speaks of it: without the space around it, where there is more. */
export const bare = (text: string): string => piece(text.trim() || text);

/** A number for people. */
export function figure(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
