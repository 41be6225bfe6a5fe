// A tune as it is followed: what sounds when, and what was looked at.
import type { Score } from "../api/client";

/** Each sounding of each note, in the order of time. */
export interface Sounding {
  note: number;
  start: number;
  end: number;
}

export function soundings(score: Score): Sounding[] {
  const found = score.notes.flatMap((each, note) => each.starts_seconds.map((start) => ({ note, start, end: start + each.seconds })));
  return found.sort((a, b) => a.start - b.start);
}

/** What sounds at a time, its place in `order`, or null. */
export function at(order: readonly Sounding[], seconds: number): number | null {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((order[middle]?.start ?? 0) <= seconds) low = middle + 1;
    else high = middle;
  }
  const last = order[low - 1];
  return last !== undefined && seconds < last.end ? low - 1 : null;
}

const NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

/** 66 -> "F♯4". */
export const pitchName = (pitch: number): string => `${NAMES[pitch % 12] ?? ""}${Math.floor(pitch / 12) - 1}`;

/** How strongly each earlier note was looked at while a note was chosen, from a map of attention. */
export function looksOf(score: Score, note: number, map: { tokens: readonly string[]; weights: readonly (readonly number[])[] }): Map<number, number> {
  const shift = map.tokens.length - score.words.length; // tokens before the first word, or words that the map leaves out
  const place = (score.notes[note]?.word ?? -1) + shift;
  const row = map.weights[place - 1] ?? []; // a word is chosen while the one before it is read
  const found = new Map<number, number>();
  score.notes.forEach((each, index) => {
    const weight = row[each.word + shift];
    if (each.word + shift < place && weight !== undefined) found.set(index, weight);
  });
  return found;
}
