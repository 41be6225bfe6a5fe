// A conversation that is going on: asking, stopping, branching, and saving after every answer.
import { ApiError, api, data, generate, isAbort, message, type GenerateRequest, type Settings, type StepEvent } from "../api/client";
import * as chat from "./chat";
import { t } from "./i18n";

export type Task = "chat" | "write" | "code" | "ask" | "summarize" | "continue";
export const TASKS: readonly Task[] = ["chat", "write", "code", "ask", "summarize", "continue"];
export const NEEDS_TEXT: readonly Task[] = ["ask", "summarize"];

export class Conversation {
  tree = $state.raw<chat.Tree>(chat.empty());
  id = $state<string | null>(null);
  answering = $state<number | null>(null);
  phase = $state<StepEvent["phase"]>("queued");
  error = $state<string | null>(null);
  /** Whether the server has not got all of it: it was away when this was to be saved. */
  unsaved = $state(false);
  turns = $derived(chat.path(this.tree));
  #run: AbortController | null = null;

  /** Asks, after the turns that are shown or after `parent`. */
  async ask(turn: { text: string; task: Task; context?: string }, model: string | null, settings: Settings, parent = this.tree.leaf): Promise<void> {
    this.tree = chat.add(this.tree, parent, { role: "user", ...turn });
    await this.answer(model, settings);
  }

  /** Answers the last thing asked; what was answered before stays as another branch. */
  async answer(model: string | null, settings: Settings): Promise<void> {
    const asked = this.turns.at(-1);
    if (asked?.role !== "user" || this.answering !== null) return;
    this.tree = chat.add(this.tree, asked.id, { role: "assistant", text: "" });
    const id = (this.answering = this.tree.leaf ?? 0);
    this.error = null;
    this.phase = "queued";
    this.#run = new AbortController();
    try {
      const done = await generate(request(chat.path(this.tree, asked.id), model, settings), (step) => this.#grow(id, step), this.#run.signal);
      this.tree = chat.change(this.tree, id, { model: done.model, ...(done.text === null ? {} : { text: done.text }), ...ending(done.finish_reason) });
    } catch (error) {
      this.#fail(id, error);
    }
    this.answering = null;
    await this.save();
  }

  /** Answers a question once more, beside the answer that is there. */
  async again(id: number, model: string | null, settings: Settings): Promise<void> {
    const parent = this.tree.turns.find((turn) => turn.id === id)?.parent ?? null;
    this.tree = { ...this.tree, leaf: parent };
    await this.answer(model, settings);
  }

  stop(): void {
    this.#run?.abort();
  }

  show(id: number): void {
    this.tree = chat.show(this.tree, id);
  }

  async open(id: string): Promise<void> {
    this.stop();
    const saved = await data(api.GET("/api/chats/{chat}", { params: { path: { chat: id } } }));
    this.tree = chat.read(saved.body);
    this.id = id;
    this.error = null;
    this.unsaved = false;
  }

  reset(): void {
    this.stop();
    this.tree = chat.empty();
    this.id = null;
    this.error = null;
    this.unsaved = false;
  }

  async save(): Promise<void> {
    const title = (this.tree.turns[0]?.text ?? "").slice(0, 80) || t("write.untitled");
    const body = { title, body: JSON.parse(JSON.stringify(this.tree)) };
    try {
      const chat = this.id ?? newId();
      await data(api.PUT("/api/chats/{chat}", { params: { path: { chat } }, body }));
      this.id = chat;
      if (this.unsaved) this.error = null;
      this.unsaved = false;
    } catch (error) {
      this.unsaved = true;
      this.error = t("write.unsaved", { message: message(error) });
    }
  }

  #grow(id: number, step: StepEvent): void {
    this.phase = step.phase;
    if (!step.text) return;
    const before = this.tree.turns.find((turn) => turn.id === id)?.text ?? "";
    this.tree = chat.change(this.tree, id, { text: before + step.text });
  }

  #fail(id: number, error: unknown): void {
    this.tree = chat.change(this.tree, id, { ended: isAbort(error) ? "stopped" : "failed" });
    if (!isAbort(error)) this.error = error instanceof ApiError ? error.message : message(error);
  }
}

/** A name for a conversation; on pages that are not on this machine there is no crypto.randomUUID. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function ending(reason: string | null | undefined): Partial<chat.Turn> {
  return reason === "length" || reason === "cancelled" ? { ended: reason } : {};
}

/** What the server is asked: a chat with all that was said, any other task with the last words alone. */
function request(turns: chat.Turn[], model: string | null, settings: Settings): GenerateRequest {
  const last = turns.at(-1);
  const task = (last?.task ?? "chat") as Task;
  const common = { model, modality: model === null ? "text" : null, settings, keep: false, keep_steps: false, noisy: false };
  if (task === "chat") return { ...common, task, messages: turns.map(({ role, text }) => ({ role, content: text })) };
  if (task === "ask") return { ...common, task, prompt: last?.text ?? "", context: last?.context ?? null };
  if (task === "summarize") return { ...common, task, prompt: last?.context ?? "" };
  if (task === "continue") return { ...common, prompt: last?.text ?? "" };
  return { ...common, task, prompt: last?.text ?? "" };
}
