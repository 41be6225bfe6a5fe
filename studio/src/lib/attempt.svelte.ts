// What a page tried last: that it is still trying, and what then is to be told, good or bad.
import { api, data, message, type GenerateRequest } from "../api/client";
import { t } from "./i18n";

export class Attempt {
  busy = $state(false);
  told = $state<string | null>(null);
  error = $state<string | null>(null);

  forget(): void {
    this.told = this.error = null;
  }

  async make(work: () => Promise<void>): Promise<void> {
    this.forget();
    this.busy = true;
    try {
      await work();
    } catch (thrown) {
      this.error = message(thrown);
    }
    this.busy = false;
  }

  /** Puts requests in the queue, and says so. */
  async enqueue(requests: readonly GenerateRequest[]): Promise<void> {
    await this.make(async () => {
      for (const body of requests) await data(api.POST("/api/jobs", { body }));
      this.told = t("draw.queued", { count: requests.length });
    });
  }
}
