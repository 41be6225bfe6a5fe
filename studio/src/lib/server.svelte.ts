// What the studio knows of the server: what it can do, and which models there are. Asked once, again on demand, and
// again and again while the server is away.
import { api, ApiError, data, message, type About, type Model } from "../api/client";

const RETRY_MS = 3000;

class Server {
  about = $state<About | null>(null);
  models = $state<Model[]>([]);
  error = $state<string | null>(null);
  /** Whether the server wants a key first. */
  locked = $state(false);
  #retry: ReturnType<typeof setTimeout> | undefined;

  async refresh(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      [this.about, this.models] = await Promise.all([
        data(api.GET("/api/about")),
        data(api.GET("/api/models")).then((list) => list.models),
      ]);
      [this.error, this.locked] = [null, false];
    } catch (error) {
      this.locked = error instanceof ApiError && error.status === 401;
      this.error = this.locked ? null : message(error);
      if (!this.locked) this.#retry = setTimeout(() => void this.refresh(), RETRY_MS);
    }
  }

  has(feature: string): boolean {
    return this.about?.features.includes(feature) ?? false;
  }

  /** The models that are here and make this, the default one first. */
  making(modality: string): Model[] {
    const found = this.models.filter((model) => model.installed && model.usable && model.modality === modality);
    return found.sort((a, b) => Number(b.default) - Number(a.default));
  }
}

export const server = new Server();
