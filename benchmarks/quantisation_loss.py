"""What packed weights cost: perplexity as the model runs by default, beside float32 weights of the same file.

python benchmarks/quantisation_loss.py FILE [--model smollm2] [--max-tokens 16384]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reverie.engine import EXACT, load, placement
from reverie.evaluate.perplexity import score


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a text in UTF-8")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--max-tokens", type=int, default=16384)
    options = parser.parse_args()
    text = options.file.read_text(encoding="utf-8")
    for label, place, window in (
        ("float32", EXACT, 512),
        ("as prompts are read (bf16)", placement(), 512),
        ("as tokens are written (4 or 8 bit)", placement(), 64),
        ("float32, windows of 64", EXACT, 64),
    ):
        model = load(options.model, place=place)
        tokens = model.medium.encode(text)[: options.max_tokens]
        found = score(model.core, tokens, len(model.medium.decode(tokens).data.encode()), window_tokens=window)
        print(f"{label:<36} perplexity {found.perplexity:8.4f}   bits per byte {found.bits_per_byte:.4f}")


if __name__ == "__main__":
    main()
