// A sweep: the same picture with two settings varied, one along each side of a table.
import type { Settings } from "../api/client";
import { t } from "./i18n";

export const AXES = ["seed", "steps", "guidance", "sampler", "strength"] as const;
export type Axis = (typeof AXES)[number];
export const MOST_VALUES = 8;

export interface Side {
  axis: Axis;
  values: readonly (number | string)[];
}

/** "1, 3, 6" -> the values of an axis; a sentence if they make no sense. */
export function read(axis: Axis, text: string, samplers: readonly string[]): Side | string {
  const words = text.split(/[\s,;]+/).filter((word) => word !== "");
  if (words.length === 0) return t("sweep.empty", { axis: t(`axis.${axis}`) });
  if (words.length > MOST_VALUES) return t("sweep.many", { most: MOST_VALUES });
  if (axis === "sampler") {
    const strange = words.find((word) => !samplers.includes(word));
    return strange === undefined ? { axis, values: words } : t("sweep.sampler", { word: strange, samplers: samplers.join(", ") });
  }
  const numbers = words.map(Number);
  const whole = axis === "seed" || axis === "steps";
  const wrong = words.find((_, i) => !Number.isFinite(numbers[i]) || (whole && !Number.isSafeInteger(numbers[i])) || (numbers[i] ?? 0) < 0);
  return wrong === undefined ? { axis, values: numbers } : t("sweep.number", { word: wrong, axis: t(`axis.${axis}`) });
}

/** The settings of every cell, row by row: y goes down, x goes across. */
export function cells(base: Settings, x: Side, y: Side | null): Settings[] {
  const rows = y === null ? [{}] : y.values.map((value) => ({ [y.axis]: value }));
  return rows.flatMap((row) => x.values.map((value) => ({ ...base, ...row, [x.axis]: value }) as Settings));
}
