// A tune in the making: its words as they come, the score as it grows, and at the end its sound.
import { api, data, generate, isAbort, message, type GenerateRequest, type Score } from "../api/client";

const WHOLE_PX = 760; // of a score that is as wide as a page; in more room it is only larger
const STEP_PX = 36; // a score is laid out anew for a room that differs by so much

export interface About {
  title: string;
  rhythm: string;
  key: string;
  metre: string;
  bars: number;
  tempo_bpm: number;
  seconds: number;
  instrument: string;
  backing: boolean;
  assumed: Record<string, string>;
  corrected: number;
  asked: number;
  brought_home?: boolean; // tunes made before there was a cadence do not tell
  notes?: string[]; // older ones do not tell either
}

export class Composing {
  state = $state<"idle" | "running" | "done" | "stopped" | "failed">("idle");
  error = $state<string | null>(null);
  /** The last words that came, as the model writes them. */
  words = $state("");
  score = $state.raw<Score | null>(null);
  about = $state.raw<About | null>(null);
  item = $state<string | null>(null);
  seed = $state<number | null>(null);
  sound = $state<string | null>(null);
  #run: AbortController | null = null;
  #isDrawing = false;
  #isDue = false;
  #width = Math.min(innerWidth, WHOLE_PX); // px of the score

  get running(): boolean {
    return this.state === "running";
  }

  async compose(request: GenerateRequest): Promise<void> {
    this.stop();
    const run = (this.#run = new AbortController());
    this.#clear();
    this.state = "running";
    try {
      const done = await generate(
        request,
        (step) => {
          if (!step.text) return;
          this.words = (this.words + step.text).slice(-400);
          if (step.text.includes("|")) void this.#grow(step.job, run.signal);
        },
        run.signal,
      );
      [this.item, this.seed] = [done.item, done.seed];
      if (done.item !== null) await this.#show(done.item, run.signal);
      this.about = (done.about ?? null) as About | null;
      this.state = done.state === "done" ? "done" : "stopped";
    } catch (error) {
      if (run !== this.#run) return;
      this.state = isAbort(error) ? "stopped" : "failed";
      if (!isAbort(error)) this.error = message(error);
    }
  }

  /** Shows a tune of the gallery; gives what was asked for to get it. */
  async open(id: string): Promise<GenerateRequest> {
    this.stop();
    this.#clear();
    const run = (this.#run = new AbortController());
    const params = { params: { path: { item: id } } };
    const [item, request] = await Promise.all([
      data(api.GET("/api/gallery/{item}", params)),
      data(api.GET("/api/gallery/{item}/again", params)),
    ]);
    [this.item, this.seed, this.about] = [item.id, item.seed, (item.about ?? null) as About | null];
    await this.#show(id, run.signal);
    this.state = "done";
    return request;
  }

  stop(): void {
    this.#run?.abort();
  }

  /** Leaves nothing behind. */
  close(): void {
    this.stop();
    this.#clear();
  }

  #clear(): void {
    if (this.sound !== null) URL.revokeObjectURL(this.sound);
    [this.error, this.words, this.about, this.item, this.sound] = [null, "", null, null, null];
    [this.score, this.#isDrawing, this.#isDue] = [null, false, false];
  }

  /** Draws what there is; if more comes meanwhile, once more afterwards. */
  async #grow(job: string, signal: AbortSignal): Promise<void> {
    if (this.#isDrawing) {
      this.#isDue = true;
      return;
    }
    this.#isDrawing = true;
    do {
      this.#isDue = false;
      const params = { path: { job }, query: { width_px: this.#width } };
      const score = await data(api.GET("/api/jobs/{job}/score", { params, signal })).catch(() => null);
      if (signal.aborted || this.item !== null) break;
      if (score !== null) this.score = score;
    } while (this.#isDue);
    this.#isDrawing = false;
  }

  /** Lays the score out for the room it has. */
  fit(px: number): void {
    const width = Math.min(px, WHOLE_PX);
    if (Math.abs(width - this.#width) < STEP_PX) return;
    this.#width = width;
    const [item, run] = [this.item, this.#run];
    if (item !== null && this.state === "done" && run !== null) void this.#engrave(item, run.signal).catch(() => undefined);
  }

  async #show(item: string, signal: AbortSignal): Promise<void> {
    await this.#engrave(item, signal);
    void this.#play(item, signal);
  }

  async #engrave(item: string, signal: AbortSignal): Promise<void> {
    const params = { path: { item }, query: { width_px: this.#width } };
    const score = await data(api.GET("/api/gallery/{item}/score", { params, signal }));
    if (!signal.aborted) this.score = score;
  }

  /** Fetches the sound whole: from memory one can jump to any place in it. */
  async #play(item: string, signal: AbortSignal): Promise<void> {
    const kind = new Audio().canPlayType('audio/ogg; codecs="opus"') === "" ? "mp3" : "ogg";
    try {
      const params = { path: { item, kind } } as const;
      const blob = await data(api.GET("/api/gallery/{item}/files/{kind}", { params, parseAs: "blob", signal }));
      if (!signal.aborted) this.sound = URL.createObjectURL(blob as unknown as Blob);
    } catch (error) {
      if (!isAbort(error)) this.error = message(error);
    }
  }
}
