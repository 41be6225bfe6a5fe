// A tune in the making: its words as they come, the score as it grows, and at the end its sound.
import { api, data, generate, isAbort, message, type GenerateRequest, type Score } from "../api/client";

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
      const score = await data(api.GET("/api/jobs/{job}/score", { params: { path: { job } }, signal })).catch(() => null);
      if (signal.aborted || this.item !== null) break;
      if (score !== null) this.score = score;
    } while (this.#isDue);
    this.#isDrawing = false;
  }

  async #show(item: string, signal: AbortSignal): Promise<void> {
    this.score = await data(api.GET("/api/gallery/{item}/score", { params: { path: { item } }, signal }));
    void this.#play(item, signal);
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
