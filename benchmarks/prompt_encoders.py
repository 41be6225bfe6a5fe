"""Which pretrained model should read prompts for the image model: what a small probe finds in the states of each.

    python benchmarks/prompt_encoders.py [--train 2048] [--steps 250] [--only minilm]

A probe learns, from captions in the words of training, what each says: subject and its colour, the other thing and its
colour, relation, place. It is tested on new captions in those words, on synonyms that it never saw, and on binding
(which of two animals has which colour): by attention pooling alone, and ("mixed") after a transformer layer of its own.
"""

from __future__ import annotations

import argparse
import random
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.engine import Placement, materialise
from reverie.hub.checkpoint import open_checkpoint
from reverie.hub.encoders import open_encoder
from reverie.lm.prompt_states import PromptEncoder

OPENINGS = ["", "", "", "a picture of ", "there is ", "an illustration of "]
SLOTS = ("subject", "colour", "thing", "its colour", "relation", "place")

Slot = list[tuple[list[str], list[str]]]  # of each concept, the words of training and those held out
States = Callable[[Tensor], Tensor]  # token ids (B, L) -> states (B, L, E)
Data = tuple[Tensor, Tensor, Tensor]  # states, mask, classes


def slot(table: str) -> Slot:
    """Reads one of the tables above."""
    sides = [concept.partition(">")[::2] for concept in table.split(";")]
    return [(words(known), words(held_out)) for known, held_out in sides]


def words(text: str) -> list[str]:
    """The words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


TABLES = tomllib.loads(Path(__file__).with_name("synonyms.toml").read_text(encoding="utf-8"))
WORDS = {name: slot(TABLES[name.removeprefix("its ")]) for name in SLOTS}
NUM_CLASSES = {name: len(words) + 1 for name, words in WORDS.items()}  # the last: it is not said
NUM_CLASSES["thing"] += len(WORDS["subject"])  # where the other thing is an animal


def caption(rng: random.Random, swap: str, animals: bool) -> tuple[str, list[int]]:
    """A caption, and the class of each slot.

    swap: the slot that is said with a held-out synonym. animals: the other thing is a subject too.
    """
    said, classes = {}, []
    for name in SLOTS:
        concepts = WORDS["subject" if name == "thing" and animals else name]
        place = rng.choice([i for i, words in enumerate(concepts) if words[name == swap]])
        if name in ("subject", "thing", swap) or animals or rng.random() < 0.7:
            said[name] = rng.choice(concepts[place][name == swap])
        offset = len(WORDS["thing"]) + 1 if name == "thing" and animals else 0
        classes.append(place + offset if name in said else len(concepts))
    first, second = (f"a {said.get(colour, '')} {said[thing]}" for colour, thing in (SLOTS[1::-1], SLOTS[3:1:-1]))
    text = f"{rng.choice(OPENINGS)}{first} {said.get('relation', 'and')} {second} {said.get('place', '')}"
    return " ".join(text.split()), classes


def captions(num: int, seed: int, swap: str = "", animals: float = 0.2) -> tuple[list[str], Tensor]:
    """Captions and their classes (num, slots)."""
    rng = random.Random(seed)
    texts, classes = zip(*(caption(rng, swap, rng.random() < animals) for _ in range(num)), strict=True)
    return list(texts), torch.tensor(classes)


class Probe(nn.Module):
    """States (B, T, E) -> logits for each slot: one query a slot pools the states, after some transformer layers."""

    def __init__(self, width: int, depth: int, inner: int = 128) -> None:
        super().__init__()
        self.enter = nn.Linear(width, inner)
        self.positions = nn.Parameter(torch.zeros(32, inner)) if depth else None
        layers = [nn.TransformerEncoderLayer(inner, 4, 2 * inner, 0.1, batch_first=True) for _ in range(depth)]
        self.layers = nn.ModuleList(layers)
        self.queries = nn.Parameter(torch.randn(len(SLOTS), inner) / inner**0.5)
        self.pool = nn.MultiheadAttention(inner, 4, batch_first=True)
        self.heads = nn.ModuleList(nn.Linear(inner, size) for size in NUM_CLASSES.values())

    def forward(self, states: Tensor, mask: Tensor) -> list[Tensor]:
        """The logits of each slot (B, classes)."""
        x = self.enter(F.dropout(states, 0.1, self.training))
        x = x if self.positions is None else x + self.positions[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        pooled, _ = self.pool(self.queries.expand(len(x), -1, -1), x, x, key_padding_mask=~mask, need_weights=False)
        return [head(pooled[:, i]) for i, head in enumerate(self.heads)]


def trained(data: Data, depth: int, steps: int) -> Probe:
    """A probe for these states."""
    torch.manual_seed(0)
    states, mask, classes = data
    probe = Probe(states.shape[-1], depth)
    optimizer = torch.optim.AdamW(probe.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(steps):
        rows = torch.randint(len(states), (128,))
        logits = probe(states[rows].float(), mask[rows])
        loss = torch.stack([F.cross_entropy(one, classes[rows, i]) for i, one in enumerate(logits)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


@torch.no_grad()
def accuracy(probe: Probe, data: Data) -> list[float]:
    """The share of captions whose slot is right, for each slot; and for all at once."""
    states, mask, classes = data
    right = torch.stack([logits.argmax(-1) for logits in probe(states.float(), mask)], 1) == classes
    return [*right.float().mean(0).tolist(), float(right.all(1).float().mean())]


def side_by_side(run: States, blocks: nn.ModuleList, depths: Sequence[int]) -> States:
    """`run`, but giving the states after so many blocks (0: the embeddings), each of variance 1, side by side."""
    kept: dict[int, Tensor] = {}
    blocks[0].register_forward_pre_hook(lambda _, inputs: kept.update({0: inputs[0]}))
    for depth, block in enumerate(blocks, 1):
        block.register_forward_hook(lambda _, __, output, depth=depth: kept.update({depth: output}))

    def states(tokens: Tensor) -> Tensor:
        run(tokens)
        return torch.cat([F.layer_norm(kept[depth].float(), kept[depth].shape[-1:]) for depth in depths], -1)

    return states


def minilm(depths: Sequence[int]) -> PromptEncoder:
    """MiniLM, with the states at these depths side by side."""
    core, tokenise = open_encoder("minilm", torch.bfloat16)
    core.blocks = core.blocks[: max(1, *depths)]
    return PromptEncoder(side_by_side(core, core.blocks, depths), tokenise, len(depths) * core.config.width)


def smollm2(depths: Sequence[int]) -> PromptEncoder:
    """The first blocks of SmolLM2. Its first token takes all idle attention and says nothing: it is left out."""
    found = open_checkpoint("smollm2")
    shallow = replace(found, config=replace(found.config, depth=max(1, *depths)))
    core = materialise(shallow, Placement("cpu", torch.bfloat16, packed=False))
    states = side_by_side(core.hidden, core.blocks, depths)
    (begin,) = found.tokenizer.encode_control("<|im_start|>")

    def after_first(tokens: Tensor) -> Tensor:
        return states(F.pad(tokens, (1, 0), value=begin))[:, 1:]

    return PromptEncoder(after_first, lambda text: found.tokenizer.encode(f" {text}"), len(depths) * found.config.width)


def read(encoder: PromptEncoder, texts: list[str]) -> tuple[Tensor, Tensor]:
    """States and mask of many captions, as long as the longest of them."""
    states, masks = zip(*(encoder.encode(texts[i : i + 64]) for i in range(0, len(texts), 64)), strict=True)
    mask = torch.cat(masks)
    longest = int(mask.sum(1).max())
    return torch.cat(states)[:, :longest], mask[:, :longest]


def milliseconds(encoder: PromptEncoder) -> float:
    """The least CPU time for a caption, in batches of 64."""
    texts, times = captions(64, 0)[0], []
    for _ in range(7):
        began = time.process_time()
        encoder.encode(texts)
        times.append(1000 * (time.process_time() - began) / len(texts))
    return min(times)


def scores(data: dict[str, Data], layers: int, steps: int) -> list[float]:
    """What a probe reaches: all slots on known words; each slot on synonyms, and the mean; two animals."""
    probe = trained(data["train"], layers, steps)
    synonyms = [accuracy(probe, data[slot])[i] for i, slot in enumerate(SLOTS)]
    mean, bound = sum(synonyms) / len(synonyms), accuracy(probe, data["animals"])[:4]
    return [accuracy(probe, data["seen"])[-1], *synonyms, mean, *bound]


def measure(name: str, depths: Sequence[int], num_train: int, steps: int) -> None:
    """Prints the rows of one candidate."""
    make = CANDIDATES[name]
    sets = {"train": captions(num_train, 0), "seen": captions(256, 1), "animals": captions(256, 2, animals=1.0)}
    sets |= {slot: captions(256, 3, swap=slot) for slot in SLOTS}
    encoder = make(depths)
    known = {key: (*read(encoder, texts), classes) for key, (texts, classes) in sets.items()}
    states, mask, _ = known["train"]
    std, mean = torch.std_mean(states[mask].float(), 0)
    if name == "minilm":  # its states are as a linear layer likes them; a few channels of SmolLM2's are huge
        std, mean = torch.ones_like(std), torch.zeros_like(mean)
    for place, depth in enumerate(depths):
        width = len(std) // len(depths)
        part = slice(place * width, (place + 1) * width)
        data = {key: ((s[..., part] - mean[part]) / std[part], m, c) for key, (s, m, c) in known.items()}
        time_ms = milliseconds(make([depth]))
        for layers in (0, 1):
            numbers = "".join(f"{100 * share:>8.1f}" for share in scores(data, layers, steps))
            label = f"{name} {depth}{', mixed' if layers else ''}"
            print(f"{label:<20}{numbers}{time_ms:>8.2f}", flush=True)


CANDIDATES = {"minilm": minilm, "smollm2": smollm2}
DEPTHS = {"minilm": (0, 4, 6), "smollm2": (0, 4, 8, 12, 16, 20)}


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=2048, help="captions to train each probe on")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--only", choices=list(CANDIDATES))
    options = parser.parse_args()
    print("%: all slots right on known words | each slot written with a held-out synonym, and their mean | two animals")
    heads = ["seen", *SLOTS, "mean", "animal1", "col1", "animal2", "col2", "ms"]
    print(" " * 20 + "".join(f"{head[:7]:>8}" for head in heads))
    for name in CANDIDATES if options.only is None else [options.only]:
        measure(name, DEPTHS[name], options.train, options.steps)


if __name__ == "__main__":
    main()
