"""Training: one prompt and one head through a model's checkpoints, from random weights to the model there is.

A run that can be looked back on holds RUN/model, RUN/log.jsonl and RUN/growth/step-00000050 ..., each a model folder.

T tokens
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from reverie import engine
from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import attention_weights, checked_head, checked_layer
from reverie.explain.reading import legible, likeliest, next_logits, percent, quoted, read
from reverie.hub.paths import inside
from reverie.types import ReverieError

GROWTH = "growth"  # the folder of a run's checkpoints, beside its model
MOST_CHECKPOINTS, MOST_POINTS = 24, 400
MOST_TOKENS = 48  # of the prompt: there is a map of attention for every checkpoint


@maker(
    "training",
    title="Training and time travel",
    question="How did the model come to know what it knows?",
    family="lm",
    when=lambda model: has_growth(model),  # noqa: PLW0108 - it stands below
)
def training(model: Model, prompt: Prompt, *, layer: int = 0, head: int = 0, sample_tokens: int = 40) -> Shown:
    """What each checkpoint of the model's training would say next, and where one head looked.

    Only for models from a run that kept its checkpoints (`learn.growing.grow`). sample_tokens: how far each continues
    the prompt; 0 is not at all.
    data: tokens, layer, head; steps [{"step", "top" [5 candidates], "weights" (T, T), "sample"}], oldest first; curve
    [{"step", "loss", "seconds"}]: of the run, thinned out.
    """
    if not 0 <= sample_tokens <= 100:
        raise ReverieError(f"sample_tokens is {sample_tokens}: give a number from 0 to 100.")
    checked_layer(model, layer), checked_head(model, head)
    run, reading = Path(model.checkpoint.path).parent, read(model, prompt, MOST_TOKENS)
    steps = []
    for folder in _thinned(checkpoints(run), MOST_CHECKPOINTS):
        then = _opened(str(folder), folder.stat().st_mtime_ns)
        seen = _step(then, folder, reading.tokens, (layer, head))
        steps.append(seen | {"sample": _sample(then, prompt, sample_tokens)})
    curve = _curve(run)
    first, last = steps[0]["top"][0], steps[-1]["top"][0]
    says = [
        f"After {steps[0]['step']} steps the model went on with {quoted(first['text'])} "
        f"({percent(first['probability'])}), after {steps[-1]['step']} with {quoted(last['text'])} "
        f"({percent(last['probability'])}).",
    ]
    if len(curve) > 1:
        before, after = curve[0], curve[-1]
        says.append(
            f"Its loss went from {before['loss']:.2f} to {after['loss']:.2f} in {after['seconds']:.0f} seconds."
        )
    data = {"tokens": reading.texts, "layer": layer, "head": head, "steps": steps, "curve": curve}
    return data, says + reading.notes


def has_growth(model: Model) -> bool:
    """Whether the training of a model can be looked back on."""
    run = Path(model.checkpoint.path).parent
    return (run / GROWTH).is_dir() and bool(checkpoints(run))


def checkpoints(run: Path) -> list[Path]:
    """The model folders of a run's growth, oldest first."""
    folder = inside(run, GROWTH)
    there = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in there if re.fullmatch(r"step-\d{8}", path.name))


def _step(then: Model, folder: Path, tokens: Tensor, place: tuple[int, int]) -> dict[str, Any]:
    return {
        "step": int(folder.name.removeprefix("step-")),
        "top": likeliest(then, next_logits(then, tokens).cpu(), 5),
        "weights": attention_weights(then, tokens)[place],
    }


def _sample(then: Model, prompt: Prompt, num_tokens: int) -> str:
    """How a checkpoint continues the prompt; what a beginner writes is often no whole character."""
    if not num_tokens:
        return ""
    *_, last = then.generate(prompt, max_tokens=num_tokens, seed=0, slide=True)
    return legible(b"".join(then.medium.tokenizer.token_bytes(token) for token in last.guess))


@lru_cache(maxsize=MOST_CHECKPOINTS)
def _opened(folder: str, _: int) -> Model:
    """A checkpoint; tiny, so that all of them stay in memory for scrubbing."""
    return engine.load(folder, offline=True)


def _curve(run: Path) -> list[dict[str, float]]:
    """The loss at each step, from the run's log."""
    log = inside(run, "log.jsonl")
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]  # the last may be cut off
    return [{name: row[name] for name in ("step", "loss", "seconds")} for row in _thinned(rows, MOST_POINTS)]


def _thinned(items: list[Any], most: int) -> list[Any]:
    """At most so many of them, evenly, with the first and the last."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
