"""Parameters: the tally of the loaded model, matrix by matrix."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, family, maker
from reverie.explain.reading import percent
from reverie.hub.checkpoint import skeleton

EVERYWHERE = {  # part of a parameter's path -> what it is for
    "attention.qkv": "queries, keys and values",
    "attention.out": "from the heads back to the stream",
    "mlp.up": "MLP, wider",
    "mlp.down": "MLP, back",
    "norm.weight": "a scale for every channel",
}
WRITES = {
    "embed.weight": "a vector for every token",
    "positions.weight": "a vector for every position",
    "head.weight": "a score for every token",
}
DRAWS = {
    "through.qkv": "queries, keys and values, from frame to frame",
    "through.out": "from these heads back to the stream",
    "prompt_embed": "from a word's state, as the encoder gives it, to the stream",
    "time_embed": "from the time to the stream",
    "head_modulation": "how time shifts and scales the last step",
    "modulation": "how time shifts, scales and gates each layer",
    "embed": "from a patch of the noisy picture to the stream",
    "head": "from the stream to a patch of the guess",
}


@maker(
    "parameters",
    title="Parameters",
    question="Of what numbers does this model consist, and where are they?",
    family="both",
)
def parameters(model: Model, prompt: Prompt) -> Shown:
    """Every matrix with its shape; those that all layers have are one row.

    data: rows [{"name", "what", "shape", "num" (in one), "times", "total"}], the largest first; total; by_part
    {part of the model: total}; loaded_bytes: what the numbers take in memory as loaded; bits: that is for each.
    """
    text = family(model) == "lm"  # packed layers hold no parameters any more: a decoder's are those of its config
    rows = _rows(*((skeleton(model.core.config), WRITES) if text else (model.core, DRAWS)))
    total, loaded = sum(row["total"] for row in rows), _loaded_bytes(model.core)
    parts: dict[str, int] = {}
    for row in rows:
        part = re.sub(r"^blocks\.\*\.(\w+?)(_norm|_post_norm)?\..*", r"\1", row["name"]).split(".")[0]
        parts[part] = parts.get(part, 0) + row["total"]
    largest = max(parts, key=parts.__getitem__)
    says = [
        f"The model has {total:,} parameters in {len(rows)} kinds of matrices and vectors.",
        f"The largest part is {largest}, with {percent(parts[largest] / total)} of them.",
        f"As loaded they take {loaded / 1e6:,.1f} MB, {8 * loaded / total:.2g} bits each.",
    ]
    if text and model.core.config.tied:
        says.append("The matrix that scores tokens at the end is that of the embedding, and is counted once.")
    return {"rows": rows, "total": total, "by_part": parts, "loaded_bytes": loaded, "bits": 8 * loaded / total}, says


def _rows(core: nn.Module, own: dict[str, str]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, tuple[int, ...]], dict[str, Any]] = {}
    for path, weight in core.named_parameters():  # names a shared one once
        name, shape = re.sub(r"\.\d+\.", ".*.", path), tuple(weight.shape)
        what = next((what for part, what in (EVERYWHERE | own).items() if part in name), "")
        sizes = {"shape": shape, "num": weight.numel(), "times": 0, "total": 0}
        row = rows.setdefault((name, shape), {"name": name, "what": what, **sizes})
        row["times"] += 1
        row["total"] += weight.numel()
    return sorted(rows.values(), key=lambda row: -row["total"])


def _loaded_bytes(core: nn.Module) -> int:
    """The bytes of all parameters and buffers, each storage once."""
    tensors = [*core.parameters(), *core.buffers()]
    return sum({each.data_ptr(): each.numel() * each.element_size() for each in tensors}.values())
