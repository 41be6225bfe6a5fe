// What the studio knows of the server: what it can do, and which models there are. Asked once, and again on demand.
import { api, ApiError, data, message, type About, type Model } from "../api/client";

class Server {
  about = $state<About | null>(null);
  models = $state<Model[]>([]);
  error = $state<string | null>(null);
  /** Whether the server wants a key first. */
  locked = $state(false);

  async refresh(): Promise<void> {
    try {
      [this.about, this.models] = await Promise.all([
        data(api.GET("/api/about")),
        data(api.GET("/api/models")).then((list) => list.models),
      ]);
      [this.error, this.locked] = [null, false];
    } catch (error) {
      this.locked = error instanceof ApiError && error.status === 401;
      this.error = this.locked ? null : message(error);
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
