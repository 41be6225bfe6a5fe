"""How long each exhibit takes: python benchmarks/exhibit_speed.py [--rounds 5] [--threads 2]

For SmolLM2 a text of 64 tokens, for the painter a sentence; the first request of each, which may have to load or learn
something, is shown apart from the median of those after it.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from reverie import engine, explain

TEXT = (
    "The parrot stopped singing in the kitchen because it was hungry. Nobody had given it a seed since morning, and "
    "the old man who fed it was asleep in his chair. When the rain began, the parrot flew to the window, looked at the "
    "spring and said its three words that nobody had taught it, and then"
)
OPTIONS = {"what-if": {"layer": 0}}  # where there is nothing to see without a choice
PROMPT = "a red panda riding a skateboard"


def main() -> None:
    """Prints a row for each exhibit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'exhibit':24}{'first ms':>10}{'median ms':>11}")
    for name, said in (("smollm2", TEXT), ("scenes", PROMPT)):
        model = engine.load(name)
        for kind in explain.exhibits(model):
            first, *later = (timed(kind, model, said) for _ in range(options.rounds + 1))
            print(f"{name + ' ' + kind:24}{first:10.0f}{statistics.median(later):11.0f}", flush=True)


def timed(kind: str, model: engine.Model, said: str) -> float:
    """Milliseconds that an exhibit takes."""
    began = time.perf_counter()
    explain.exhibit(kind, model, said, **OPTIONS.get(kind, {}))
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
