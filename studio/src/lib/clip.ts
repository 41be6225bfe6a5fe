// A clip as it is shown: strips of frames, one for each step, and which of them to look at.

/** What the server tells of a clip. before: of its frames, those of the clip that it goes on from. */
export interface ClipAbout {
  frames: number;
  fps: number;
  seconds: number;
  size_px: number;
  columns: number;
  before: number;
  loop: boolean;
  given: string[];
}

/** A strip: frames in a picture, in rows of so many. */
export interface Strip {
  image: string;
  count: number;
  columns: number;
}

export const CLIP_FILES = ["mp4", "gif", "webp", "png"] as const;
export type ClipFile = (typeof CLIP_FILES)[number];

/** A strip as it stands beside others of its kind: of the steps of a clip. */
export const across = (image: string, count: number): Strip => ({ image, count, columns: count });

/** The address of all frames of a clip in the gallery, as they are. */
export const framesUrl = (item: string): string => `/api/gallery/${item}/frames`;

/** Where a frame is in its strip, and how many rows that has. */
export function place(strip: Strip, frame: number): { column: number; row: number; rows: number } {
  const columns = Math.max(1, Math.min(strip.columns, strip.count));
  return { column: frame % columns, row: Math.floor(frame / columns), rows: Math.ceil(strip.count / columns) };
}

/** Of so many steps (from 1), at most `most` that are spread evenly, the last among them. */
export function spread(total: number, most: number): number[] {
  const shown = Math.min(total, most);
  return Array.from({ length: shown }, (_, row) => Math.round(((row + 1) * total) / shown));
}

/** The place in `rows` of the step that is next to this one. */
export function nearest(rows: readonly number[], step: number): number {
  const away = rows.map((row) => Math.abs(row - step));
  return away.indexOf(Math.min(...away));
}

/** Where a pointer stands in a box, as one of `count` equal parts. */
export function part(at: number, start: number, length: number, count: number): number {
  const found = Math.floor(((at - start) / Math.max(length, 1)) * count);
  return Math.max(0, Math.min(count - 1, found));
}
