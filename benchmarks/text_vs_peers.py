"""Text on a CPU, side by side with llama.cpp and transformers: the same GGUF file, the same tokens, one run.

    python benchmarks/text_vs_peers.py [--rounds 3] [--text FILE]

Each contender runs in a process of its own, in turn, `rounds` times; medians are shown, and our ratio to each peer.
The peers are installed for this alone: pip install -c constraints.txt llama-cpp-python transformers.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PROMPT_TOKENS, NEW_TOKENS = 512, 128
THREADS = 2


class Contender(Protocol):
    """A decoder with a context: forget, read a prompt, write one token after another."""

    def read(self, tokens: list[int]) -> int:
        """Starts anew with a prompt; gives the likeliest next token."""

    def step(self, token: int) -> int:
        """One more token; gives the likeliest next one."""


class Reverie:
    """This project, as `reverie write` runs it."""

    def __init__(self, path: str) -> None:
        from reverie.cli.feedback import prepare

        prepare()  # before torch is imported
        import torch

        from reverie.engine import load

        torch.set_num_threads(THREADS)
        from reverie.lm import cache, generate

        self.model, self.generate, self.cache_class, self.torch = load(path), generate, cache.Cache, torch

    def read(self, tokens: list[int]) -> int:
        """See `Contender`."""
        self.cache = self.cache_class()
        return int(self.generate.read(self.model.core, self.torch.tensor([tokens]), self.cache).argmax())

    def step(self, token: int) -> int:
        """See `Contender`."""
        return int(self.generate.decode(self.model.core, self.torch.tensor([token]), self.cache).argmax())


class LlamaCpp:
    """llama.cpp through llama-cpp-python."""

    def __init__(self, path: str) -> None:
        import llama_cpp

        self.model = llama_cpp.Llama(path, n_ctx=1024, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)

    def read(self, tokens: list[int]) -> int:
        """See `Contender`."""
        self.model.reset()
        self.model.eval(tokens)
        return int(self.model.sample(temp=0.0))

    def step(self, token: int) -> int:
        """See `Contender`."""
        self.model.eval([token])
        return int(self.model.sample(temp=0.0))


class Transformers:
    """transformers with its own cache; `dtype` by its name in torch."""

    def __init__(self, path: str, dtype: str = "float32") -> None:
        import torch
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(THREADS)
        folder, file = Path(path).parent, Path(path).name
        self.torch = torch
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=file, dtype=getattr(torch, dtype)
        ).eval()

    def read(self, tokens: list[int]) -> int:
        """See `Contender`."""
        self.past = None
        return self._forward(tokens)

    def step(self, token: int) -> int:
        """See `Contender`."""
        return self._forward([token])

    def _forward(self, tokens: list[int]) -> int:
        with self.torch.inference_mode():
            out = self.model(self.torch.tensor([tokens]), past_key_values=self.past, use_cache=True, logits_to_keep=1)
        self.past = out.past_key_values
        return int(out.logits[0, -1].argmax())


CONTENDERS: dict[str, Callable[[str], Contender]] = {
    "reverie": Reverie,
    "llama.cpp": LlamaCpp,
    "transformers": Transformers,
    "transformers bf16": lambda path: Transformers(path, "bfloat16"),
}


def measure(name: str, path: str, tokens: list[int]) -> dict[str, float]:
    """One contender in this process: when its first token came (of a 40-token prompt), speeds, peak memory."""
    contender = CONTENDERS[name](path)
    contender.read(tokens[:40])
    first_token_at = time.time()
    contender.read(tokens)  # whatever is made at first use
    began = time.perf_counter()
    token = contender.read(tokens)
    prompt_seconds = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(NEW_TOKENS):
        token = contender.step(token)
    decode_seconds = time.perf_counter() - began
    return {
        "start s": first_token_at,
        "prompt tok/s": len(tokens) / prompt_seconds,
        "decode tok/s": NEW_TOKENS / decode_seconds,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_process(name: str, path: str, text: str) -> dict[str, float]:
    """`measure` in a fresh process, so that memory is its own and the start includes Python's and all imports."""
    command = [sys.executable, __file__, "--only", name, "--model", path, "--text", text]
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["start s"] -= began
    return found


def tokens_of(path: str, text: str) -> list[int]:
    """The first tokens of a text, the same ids for all contenders."""
    from reverie.hub.checkpoint import open_checkpoint

    words = Path(text).read_text(encoding="utf-8")[:20_000]
    return open_checkpoint(path).tokenizer.encode(words)[:PROMPT_TOKENS]


def table(rows: dict[str, dict[str, float]]) -> str:
    """Medians, and below them the first row's figures as so many times each peer's."""
    columns = list(next(iter(rows.values())))
    lines = [f"{'':<20}" + "".join(f"{column:>15}" for column in columns)]
    lines += [f"{name:<20}" + "".join(f"{row[c]:>15,.1f}" for c in columns) for name, row in rows.items()]
    ours, *peers = rows
    for peer in peers:
        ratios = "".join(f"{rows[ours][c] / rows[peer][c]:>14.2f}x" for c in columns)
        lines.append(f"{'/ ' + peer:<20}{ratios}")
    return "\n".join(lines)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--text", default=str(Path(__file__).parent.parent / "LICENSE"))
    parser.add_argument("--model", help="a GGUF file; default: the installed smollm2")
    parser.add_argument("--peers", nargs="*", default=[name for name in CONTENDERS if name != "reverie"])
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        ids = json.loads(Path(options.text).read_text())
        print(json.dumps(measure(options.only, options.model, ids)))
        return
    compare(options)


def compare(options: Any) -> None:
    """Runs all contenders in turn and prints the table."""
    import tempfile

    from reverie.hub.catalogue import entry
    from reverie.hub.sources import fetch

    path = str(fetch(entry("smollm2"))) if options.model is None else options.model
    names = ["reverie", *options.peers]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as ids:
        json.dump(tokens_of(path, options.text), ids)
        ids.flush()
        rounds = [{name: in_process(name, path, ids.name) for name in names} for _ in range(options.rounds)]
    medians = {name: {c: statistics.median(r[name][c] for r in rounds) for c in rounds[0][name]} for name in names}
    print(table(medians))


if __name__ == "__main__":
    main()
