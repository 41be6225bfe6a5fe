"""What a tune is best told in: python benchmarks/music_words.py --steps 1500.

ABC itself, in pieces found by byte-pair encoding (as TunesFormer and others do) or letter by letter (arXiv:1604.08723),
against one word for each note. The same decoder sees as many tokens of each; then bits per note on tunes that were held
out, and how many of the bars that it writes freely add up.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from reverie import engine
from reverie.data import tunes
from reverie.evaluate.music import full_bars
from reverie.hub import datasets
from reverie.lm.chat import ChatTemplate
from reverie.lm.generate import Prompt
from reverie.lm.tokenizer import Tokenizer, byte_pairs
from reverie.modalities.music import BEGIN, DATA, FINISH, Music, Tunes
from reverie.notation import abc, words
from reverie.notation.tune import Tune
from reverie.train import Training, run
from reverie.types import LMRequest, ReverieError

SAMPLES, MOST_TOKENS = 30, 700


class Words:
    """Tunes in the words of `modalities/music.py`."""

    def __init__(self) -> None:
        self.medium, self.config = Music.fresh(DATA, Music.presets["tiny"], engine.find_data)
        self.tokenizer = self.medium.tokenizer

    def examples(self, source: str, *, held_out: bool) -> Tunes:
        """See `Music.examples`."""
        return self.medium.examples(source, held_out=held_out)

    def parts(self, tune: Tune) -> tuple[list[int], list[int]]:
        """The head and the bars as token ids."""
        ids = self.medium.vocabulary.ids
        begin = self.tokenizer.encode_control(BEGIN)
        return [*begin, *(ids[word] for word in words.head(tune))], [ids[word] for word in words.body(tune.bars)]

    def tune(self, ids: Sequence[int]) -> Tune:
        """What ids tell."""
        return words.from_text(self.tokenizer.decode(ids))


class Letters:
    """Tunes in ABC, in `size` pieces: 256 are single letters."""

    def __init__(self, size: int) -> None:
        self.kept = tunes.load(engine.find_data(DATA, 0))
        self.tokenizer = _pieces([abc_body(one.tune) for one in self.kept if not one.held_out], size)
        self.config = replace(Music.presets["tiny"], vocab_size=self.tokenizer.vocab_size)

    def examples(self, source: str, *, held_out: bool) -> Tunes:
        """Windows of tunes in every key, as those of `Music`."""
        found = [list(self._in_keys(one.tune, held_out)) for one in self.kept if one.held_out == held_out]
        return Tunes(found, 256)

    def _in_keys(self, tune: Tune, own_only: bool) -> Iterator[Tensor]:
        for shift, key in tunes.keys(tune)[: 1 if own_only else None]:
            head, body = self.parts(tune.transposed(shift, key))
            title = self.tokenizer.encode(tune.title)
            yield torch.tensor([*head, *body, *title, self.tokenizer.control[FINISH]], dtype=torch.int16)

    def parts(self, tune: Tune) -> tuple[list[int], list[int]]:
        """The head and the bars as token ids."""
        return (
            self.tokenizer.encode_control(f"{BEGIN}R:{tune.rhythm}\nM:{tune.metre}\nK:{abc.key_word(tune.key)}\n"),
            self.tokenizer.encode(abc_body(tune)),
        )

    def tune(self, ids: Sequence[int]) -> Tune:
        """What ids tell; a `ReverieError` if that is no tune."""
        text = self.tokenizer.decode(ids)
        return abc.from_abc("X:1\nL:1/8\n" + text.partition("|]")[0])


def abc_body(tune: Tune) -> str:
    """The bars of a tune in ABC; L: is 1/8."""
    return abc.to_abc(tune).partition("\nK:")[2].partition("\n")[2]


def _pieces(texts: Sequence[str], size: int) -> Tokenizer:
    plain = byte_pairs(texts, size)
    first = plain.get_vocab_size()
    control = {BEGIN: first, FINISH: first + 1}
    return Tokenizer(plain, control, first, [first + 1], eos_id=first + 1)


class Learner:
    """A way to tell tunes, as the loop wants it."""

    name, family, template = "music", Music.family, ChatTemplate(None)

    def __init__(self, told: Any) -> None:
        self.tokenizer, self.examples = told.tokenizer, told.examples

    def batch(self, examples: Any) -> Any:
        """Windows as one tensor."""
        return torch.stack([example.x for example in examples]), None


def main() -> None:
    """Trains and measures one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    datasets.build(DATA)
    ways: dict[str, Callable[[], Any]] = {
        "a word a note": Words,
        "ABC, 1,024 pieces": lambda: Letters(1024),
        "ABC, letters": lambda: Letters(256),
    }
    print(f"{'':20}{'tokens a tune':>15}{'bits per note':>15}{'readable':>10}{'whole bars':>12}")
    for name, way in ways.items():
        print(f"{name:20}" + measured(way(), options.steps), flush=True)


def measured(told: Any, steps: int) -> str:
    """One row of the table."""
    learner = Learner(told)
    training = Training(
        told.config, batch=16, max_steps=steps, decay=0.7, evaluate_every_steps=0, sample_every_steps=0,
        checkpoint_every_steps=0, checkpoint_every_minutes=0.0, weight_decay=0.1, ema=0.99,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        run(learner, training, DATA, Path(folder) / "run", lambda event: None)
        core = engine.load(str(Path(folder) / "run" / "model"), place=engine.EXACT).core
    held = [one.tune for one in tunes.load(engine.find_data(DATA, 0)) if one.held_out]
    cost = [nats(core, *told.parts(tune)) for tune in held]
    bits = sum(cost) / math.log(2) / sum(len(tune.notes) for tune in held)
    made = [sample(core, told, seed) for seed in range(SAMPLES)]
    whole, of = (sum(numbers) for numbers in zip(*(full_bars(tune) for tune in made if tune), strict=True))
    tokens = sum(len(told.parts(tune)[1]) for tune in held) / len(held)
    return f"{tokens:15.0f}{bits:15.3f}{sum(tune is not None for tune in made) / SAMPLES:10.0%}{whole / of:12.1%}"


@torch.inference_mode()
def nats(core: Any, head: list[int], body: list[int]) -> float:
    """What the bars cost the model, given the head."""
    ids = torch.tensor([[*head, *body]])
    logits = core(ids[:, :-1])[0].log_softmax(-1)  # (T, V)
    return -float(logits.gather(1, ids[0, 1:, None])[len(head) - 1 :].sum())


def sample(core: Any, told: Any, seed: int) -> Tune | None:
    """A tune as the model writes it, unless it cannot be read."""
    begin = tuple(told.tokenizer.encode_control(BEGIN))
    prompt = Prompt(begin, told.tokenizer.eos_ids)
    request = LMRequest("", seed=seed, temperature=0.9, min_p=0.03, max_tokens=MOST_TOKENS)
    *_, last = Music.family.generate(core, prompt, request, (MOST_TOKENS,))
    try:
        tune: Tune = told.tune(last.guess)
    except (ReverieError, ValueError):
        return None
    return tune if tune.bars else None


if __name__ == "__main__":
    main()
