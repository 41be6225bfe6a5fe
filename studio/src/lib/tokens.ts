// Tokens as text. One may be a part of a character: its bytes are text only together with its neighbours'.
import type { Candidate } from "../api/client";

type Spelt = Pick<Candidate, "bytes">;

/** What tokens say together; of a character that is not whole yet, nothing. */
export function textOf(tokens: readonly Spelt[]): string {
  return new TextDecoder().decode(Uint8Array.from(tokens.flatMap((token) => token.bytes)), { stream: true });
}

/** Whether a token is some text by itself: no part of a character, no end. */
export function isText({ bytes }: Spelt): boolean {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes)) !== "";
  } catch {
    return false;
  }
}
