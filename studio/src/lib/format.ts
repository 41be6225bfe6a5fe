// Numbers and times as people read them.
import { t } from "./i18n";

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** 104857600 -> "105 MB". */
export function bytes(count: number): string {
  const power = count < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${value.toFixed(value < 10 && power > 0 ? 1 : 0)} ${UNITS[power] ?? ""}`;
}

/** 135000000 -> "135 million". */
export function count(value: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 }).format(value);
}

/** 75 -> "1 min 15 s". */
export function seconds(value: number): string {
  if (value < 10) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A time (seconds since 1970) as "today, 14:05" or a date. */
export function when(time: number): string {
  const date = new Date(time * 1000);
  const clock = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return t("time.today", { clock });
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

/** 0.37 -> "37 %". */
export const share = (part: number): string => (part < 0.01 ? "< 1 %" : `${Math.round(part * 100)} %`);

/** The logarithm of a probability -> "37 %". */
export const percent = (logprob: number): string => share(Math.exp(logprob));
