// A conversation with branches: a tree of turns, of which one path is shown. Nothing is ever lost by editing.

export interface Turn {
  id: number;
  parent: number | null;
  role: "user" | "assistant";
  text: string;
  /** Which task it was asked with, the pasted text that it is about, and which model answered. */
  task?: string;
  context?: string;
  model?: string;
  /** Why the answer ended before its time. */
  ended?: string;
}

export interface Tree {
  turns: Turn[];
  /** The last turn of the path that is shown. */
  leaf: number | null;
}

export const empty = (): Tree => ({ turns: [], leaf: null });

/** A tree with one turn more after `parent`, shown. */
export function add(tree: Tree, parent: number | null, turn: Omit<Turn, "id" | "parent">): Tree {
  const id = tree.turns.reduce((most, each) => Math.max(most, each.id), 0) + 1;
  return { turns: [...tree.turns, { ...turn, id, parent }], leaf: id };
}

/** A tree with a turn changed. */
export function change(tree: Tree, id: number, changes: Partial<Turn>): Tree {
  return { ...tree, turns: tree.turns.map((turn) => (turn.id === id ? { ...turn, ...changes } : turn)) };
}

/** The turns that are shown, first to last. */
export function path(tree: Tree, leaf: number | null = tree.leaf): Turn[] {
  const found: Turn[] = [];
  for (let id = leaf; id !== null; ) {
    const turn = tree.turns.find((each) => each.id === id);
    if (turn === undefined) break;
    found.unshift(turn);
    id = turn.parent;
  }
  return found;
}

/** The turns that could stand in this one's place, in the order they were made. */
export function siblings(tree: Tree, id: number): Turn[] {
  const parent = tree.turns.find((turn) => turn.id === id)?.parent;
  return tree.turns.filter((turn) => turn.parent === parent);
}

/** The tree with the path through `id` shown, down to the newest turn below it. */
export function show(tree: Tree, id: number): Tree {
  let leaf = id;
  for (;;) {
    const below = tree.turns.filter((turn) => turn.parent === leaf).at(-1);
    if (below === undefined) return { ...tree, leaf };
    leaf = below.id;
  }
}

/** What a saved chat holds, or an empty one if it is not a tree. */
export function read(body: unknown): Tree {
  const tree = body as Partial<Tree> | null;
  if (!Array.isArray(tree?.turns)) return empty();
  const turns = tree.turns.filter((turn) => Number.isInteger(turn?.id) && typeof turn.text === "string" && isOlder(turn));
  return { turns, leaf: turns.some((turn) => turn.id === tree.leaf) ? (tree.leaf ?? null) : (turns.at(-1)?.id ?? null) };
}

/** Parents come before their children: without this a bad file would have no end. */
function isOlder(turn: Turn): boolean {
  return turn.parent === null || (Number.isInteger(turn.parent) && turn.parent < turn.id);
}
