// Where the reader is: a path and what is in the URL's query, through the History API.
// Queries are replaced whole, never changed in place, so plain ones do.
/* eslint svelte/prefer-svelte-reactivity: off */

class Place {
  path = $state(location.pathname);
  query = $state(new URLSearchParams(location.search));
}

export const place = new Place();

addEventListener("popstate", read);

function read(): void {
  place.path = location.pathname;
  place.query = new URLSearchParams(location.search);
}

/** Goes to another page; the browser's "back" comes back. */
export function go(url: string): void {
  history.pushState(null, "", url);
  read();
  scrollTo(0, 0);
}

/** Changes the query of this page: null removes a name. `keep` makes a step that "back" undoes. */
export function setQuery(changes: Record<string, string | number | boolean | null>, keep = false): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  if (text === new URLSearchParams(location.search).toString()) return;
  const url = text === "" ? location.pathname : `${location.pathname}?${text}`;
  if (keep) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  read();
}

/** Turns clicks on links inside the studio into `go`; others are the browser's. */
export function followLinks(event: MouseEvent): void {
  const link = (event.target as Element | null)?.closest("a");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.target !== "" || link.hasAttribute("download")) return;
  const url = new URL(link.href, location.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/api/") || link.hash !== "") return;
  event.preventDefault();
  go(url.pathname + url.search);
}
