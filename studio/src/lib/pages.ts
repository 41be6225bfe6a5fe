// The pages: where each is, what it is called, what the server must have for it, and where its code lies.
import type { Component } from "svelte";

type Title = `nav.${"home" | "write" | "draw" | "animate" | "compose" | "queue" | "gallery" | "inside" | "learn" | "quiz" | "models" | "train"}`;

export interface Page {
  path: string;
  title: Title;
  group: "make" | "understand" | "models" | "home";
  /** A feature of the server without which the page is not shown. */
  feature: string | null;
  load: () => Promise<{ default: Component }>;
}

const HOME: Page = { path: "/", title: "nav.home", group: "home", feature: null, load: () => import("../pages/Home.svelte") };

export const PAGES: readonly Page[] = [
  { path: "/write", title: "nav.write", group: "make", feature: "generate", load: () => import("../pages/Write.svelte") },
  { path: "/draw", title: "nav.draw", group: "make", feature: "generate", load: () => import("../pages/Draw.svelte") },
  { path: "/animate", title: "nav.animate", group: "make", feature: "video", load: () => import("../pages/Animate.svelte") },
  { path: "/compose", title: "nav.compose", group: "make", feature: "music", load: () => import("../pages/Compose.svelte") },
  { path: "/queue", title: "nav.queue", group: "make", feature: "jobs", load: () => import("../pages/Queue.svelte") },
  { path: "/gallery", title: "nav.gallery", group: "make", feature: "gallery", load: () => import("../pages/Gallery.svelte") },
  { path: "/inside", title: "nav.inside", group: "understand", feature: "exhibits", load: () => import("../pages/Inside.svelte") },
  { path: "/learn", title: "nav.learn", group: "understand", feature: "lessons", load: () => import("../pages/Learn.svelte") },
  { path: "/quiz", title: "nav.quiz", group: "understand", feature: "quiz", load: () => import("../pages/Quiz.svelte") },
  { path: "/models", title: "nav.models", group: "models", feature: "models", load: () => import("../pages/Models.svelte") },
  { path: "/train", title: "nav.train", group: "models", feature: "train", load: () => import("../pages/Train.svelte") },
];

/** The page of a path, or null. */
export function pageOf(path: string): Page | null {
  const trimmed = path.replace(/\/+$/, "");
  if (trimmed === "") return HOME;
  return PAGES.find((page) => trimmed === page.path || trimmed.startsWith(`${page.path}/`)) ?? null;
}
