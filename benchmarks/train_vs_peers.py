"""Training beside nanoGPT's CPU recipe, in one run: validation loss on tiny Shakespeare after the same wall time.

python benchmarks/train_vs_peers.py NANOGPT_CHECKOUT --data tinyshakespeare.txt [--minutes 15]

nanoGPT gets its own published command, with its own estimate of the loss. Reverie's model is then trained by its own
command until as much time has passed, starting the program included, and is judged on all of the held-out tenth.

Losses are nats a character. nanoGPT's tokens are characters; ours are pieces of text, learnt within the measured time
from the part that is not held out, so their loss is summed over the text and shared out among its characters. That is
never less than what the model gives the text by all ways to cut it into pieces. `--set model.vocab_size=256` trains on
bytes instead, which are characters here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from reverie import engine
from reverie.modalities.text import HELD_OUT

CPU_RECIPE = [
    "config/train_shakespeare_char.py",
    "--device=cpu",
    "--compile=False",
    "--eval_iters=20",
    "--log_interval=100",
    "--block_size=64",
    "--batch_size=12",
    "--n_layer=4",
    "--n_head=4",
    "--n_embd=128",
    "--max_iters=2000",
    "--lr_decay_iters=2000",
    "--dropout=0.0",
]  # from its README
START_SECONDS = 10.0  # to import torch, cut the text into tokens, write the model and end


def run(command: list[str], folder: Path) -> tuple[float, str]:
    """Seconds that a command took, and what it printed."""
    began = time.perf_counter()
    result = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    return time.perf_counter() - began, result.stdout


def nanogpt(checkout: Path, data: Path, scratch: Path) -> tuple[float, float]:
    """Seconds, and the last validation loss it printed; in a copy, so that the checkout stays as it is."""
    copy = scratch / "nanoGPT"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git"))
    shutil.copy(data, copy / "data" / "shakespeare_char" / "input.txt")
    run([sys.executable, "data/shakespeare_char/prepare.py"], copy)
    seconds, output = run([sys.executable, "train.py", *CPU_RECIPE], copy)
    return seconds, float(re.findall(r"val loss ([0-9.]+)", output)[-1])


def ours(data: Path, size: str, seconds: float, settings: list[str], folder: Path) -> float:
    """Trains for so many seconds, start and end included, and gives those it took."""
    minutes = (seconds - START_SECONDS) / 60
    quiet = ["evaluate_every_steps=0", "sample_every_steps=0", "checkpoint_every_steps=0", *settings]
    command = [sys.executable, "-m", "reverie", "train", "text", "--data", str(data.resolve()), "--size", size]
    command += ["-o", str(folder), "--max-minutes", str(minutes), "--checkpoint-every", "0"]
    return run([*command, *(word for setting in quiet for word in ("--set", setting))], folder.parent)[0]


@torch.inference_mode()
def validation_loss(model: Path, data: Path, stride_tokens: int | None = None) -> float:
    """Nats a character on the last tenth of the text, every token but the first once. Windows of the whole context,
    side by side, or `stride_tokens` apart: then only the last so many of each count, which have seen the rest of it."""
    loaded = engine.load(str(model), place=engine.EXACT)
    text = data.read_text(encoding="utf-8")
    tokenizer = loaded.medium.tokenizer
    tokens = torch.tensor(tokenizer.encode(text[int(len(text) * (1 - HELD_OUT)) :]))
    length = loaded.context_tokens
    stride = length if stride_tokens is None else stride_tokens
    total, count = 0.0, 0
    for start in range(0, len(tokens) - 1, stride):
        first = max(0, start + stride - length)  # of the window that ends with the tokens to count
        window = tokens[first : start + stride + 1]
        asked = min(stride, len(tokens) - 1 - start)
        logits = loaded.core(window[None, :-1])[0, -asked:]
        total += float(F.cross_entropy(logits, window[-asked:], reduction="sum"))
        count += asked
    assert count == len(tokens) - 1
    return total / len(tokenizer.decode(tokens[1:].tolist()))


def report(name: str, seconds: float, model: Path, data: Path) -> None:
    """One line of the table."""
    whole = validation_loss(model, data)
    half = validation_loss(model, data, engine.load(str(model), place=engine.EXACT).context_tokens // 2)
    print(f"{name:34} {seconds:7.0f} s   {whole:.3f}   {half:.3f} with at least half the context", flush=True)


def main() -> None:
    """Runs both, and prints wall times and validation losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--set", action="append", default=[], help="a setting of ours")
    parser.add_argument("--minutes", type=float, help="also train so long, with --long-size and --long-set")
    parser.add_argument("--long-size", default="tiny")
    parser.add_argument("--long-set", nargs="*", default=["dropout=0.1", "weight_decay=0.1"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; seconds, and nats a held-out character")
        seconds, loss = nanogpt(options.checkout, options.data, scratch)
        print(f"{'nanoGPT, its CPU recipe':34} {seconds:7.0f} s   {loss:.3f} (its own estimate)", flush=True)
        took = ours(options.data, options.size, seconds, options.set, scratch / "ours")
        report(f"Reverie, --size {options.size}", took, scratch / "ours" / "model", options.data)
        if options.minutes is not None:
            took = ours(options.data, options.long_size, 60 * options.minutes, options.long_set, scratch / "long")
            report(f"Reverie, --size {options.long_size}", took, scratch / "long" / "model", options.data)


if __name__ == "__main__":
    main()
