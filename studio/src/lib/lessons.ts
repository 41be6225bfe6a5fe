// Which lessons were read, remembered by this browser.
const KEY = "reverie.lessons";

/** The slugs of the lessons that were read. */
export function readLessons(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((each) => typeof each === "string") : [];
  } catch {
    return []; // nothing can be kept here, or it was kept by something else
  }
}

/** Remembers that a lesson was read. */
export function markRead(slug: string): void {
  try {
    localStorage.setItem(KEY, JSON.stringify([...new Set([...readLessons(), slug])]));
  } catch {
    // a private window: it is forgotten with the page
  }
}

/** A lesson's Markdown without its link to the quiz: the page has a button for that. */
export const withoutQuizLink = (text: string): string => text.replace(/\[[^\]]*\]\(quiz:[a-z0-9-]+\)/g, "");
