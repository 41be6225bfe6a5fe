// From something that was made back to the page that made it.
import type { GenerateRequest } from "../api/client";
import { server } from "./server.svelte";
import { animateUrl, composeUrl, drawUrl } from "./settings";

/** The page that shows a request as it was, to be changed or made again. */
export function editUrl(request: GenerateRequest, seed: number | null): string {
  const modality = request.modality ?? server.models.find((model) => model.name === request.model)?.modality;
  if (modality === "image") return drawUrl(request, seed);
  if (modality === "music") return composeUrl(request, seed);
  if (modality === "video") return animateUrl(request, seed);
  const query = new URLSearchParams({ prompt: request.prompt ?? request.messages?.at(-1)?.content ?? "" });
  if (request.task) query.set("task", request.task);
  return `/write?${query.toString()}`;
}
