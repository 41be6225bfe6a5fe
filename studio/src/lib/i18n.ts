// Every word that the studio says comes through here, so that it can be translated.
import en, { type Key } from "../messages/en";

const messages: Record<Key, string> = en;

/** The text of a key, with {name} replaced by what `values` says. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  return messages[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export type { Key };
