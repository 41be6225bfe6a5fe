// Pictures and clips in the making: one, several with seeds in a row, or a table of settings. One after another.
import { api, data, generate, isAbort, message, type GenerateRequest, type Item } from "../api/client";
import type { ClipAbout } from "./clip";

/** How it looked after a step; of a clip, all its frames side by side. */
export interface Frame {
  image: string;
  noisy: string | null;
}

export class Cell {
  frames = $state<Frame[]>([]);
  at = $state(0);
  total = $state(0);
  state = $state<"waiting" | "running" | "done" | "stopped" | "failed">("waiting");
  secondsLeft = $state<number | null>(null);
  error = $state<string | null>(null);
  item = $state<string | null>(null);
  seed = $state<number | null>(null);
  url = $state<string | null>(null);
  /** Of a clip: how many frames stand side by side, and once it is finished what there is to tell of it. */
  across = $state(1);
  about = $state.raw<ClipAbout | null>(null);

  constructor(readonly request: GenerateRequest) {
    this.seed = request.settings?.seed ?? null;
  }

  /** What can be seen of it now. */
  get image(): string | null {
    return this.url ?? this.frames.at(-1)?.image ?? null;
  }

  async draw(signal: AbortSignal): Promise<void> {
    this.state = "running";
    try {
      const done = await generate(
        this.request,
        (step) => {
          this.total = step.total;
          this.secondsLeft = step.seconds_left ?? null;
          if (!step.image) return;
          this.across = step.frames ?? 1;
          this.frames.push({ image: step.image, noisy: step.noisy ?? null });
          this.at = this.frames.length;
        },
        signal,
      );
      [this.item, this.seed, this.url] = [done.item, done.seed, done.url ?? null];
      this.about = (done.about ?? null) as ClipAbout | null;
      this.state = done.state === "done" ? "done" : "stopped";
    } catch (error) {
      this.state = isAbort(error) ? "stopped" : "failed";
      if (!isAbort(error)) this.error = message(error);
    }
  }
}

export class Drawing {
  cells = $state.raw<Cell[]>([]);
  shown = $state(0);
  running = $state(false);
  #run: AbortController | null = null;
  cell = $derived(this.cells[this.shown]);

  /** Draws all, and shows each as it begins. */
  async draw(requests: readonly GenerateRequest[]): Promise<void> {
    this.stop();
    const run = (this.#run = new AbortController());
    this.cells = requests.map((request) => new Cell(request));
    this.running = true;
    for (const [number, cell] of this.cells.entries()) {
      if (run.signal.aborted) cell.state = "stopped";
      else {
        this.shown = number;
        await cell.draw(run.signal);
      }
    }
    if (run === this.#run) this.running = false;
  }

  stop(): void {
    this.#run?.abort();
  }

  /** Shows something of the gallery, with its way from static if that was kept; gives what was asked for to get it. */
  async open(id: string): Promise<GenerateRequest> {
    const params = { params: { path: { item: id } } };
    const [item, request] = await Promise.all([
      data(api.GET("/api/gallery/{item}", params)),
      data(api.GET("/api/gallery/{item}/again", params)),
    ]);
    this.cells = [cellOf(item, request)];
    this.shown = 0;
    return request;
  }
}

/** The frames that the server kept of a picture. */
export function framesOf(item: Item, noisy: boolean): Frame[] {
  const base = `/api/gallery/${item.id}/steps`;
  const frame = (_: unknown, number: number): Frame => ({ image: `${base}/${number}`, noisy: noisy ? `${base}/${number}?noisy=true` : null });
  return Array.from({ length: item.num_steps }, frame);
}

/** Something of the gallery, as if it had just been made. */
export function cellOf(item: Item, request: GenerateRequest): Cell {
  const cell = new Cell(request);
  cell.frames = framesOf(item, request.noisy === true);
  cell.about = item.modality === "video" ? ((item.about ?? null) as ClipAbout | null) : null;
  if (cell.about !== null) cell.across = cell.about.frames - cell.about.before;
  else if (cell.frames.length === 0) cell.frames = [{ image: item.url, noisy: null }];
  cell.at = cell.total = cell.frames.length;
  [cell.state, cell.item, cell.seed, cell.url] = ["done", item.id, item.seed, item.url];
  return cell;
}
