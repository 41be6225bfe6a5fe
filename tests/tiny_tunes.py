"""A tiny model that composes, with weights of chance: the grammar of bars alone makes tunes of what it writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tunes
from reverie.hub import checkpoint
from reverie.lm.chat import ChatTemplate
from reverie.lm.model import DecoderConfig
from reverie.modalities.music import Music, learnt_tokenizer
from reverie.notation.tune import Tune
from tiny_models import decoder

COMPOSER = "tiny-composer"
SHAPE = DecoderConfig(
    vocab_size=0, width=32, depth=1, num_heads=2, num_kv_heads=2, head_width=16, mlp_width=64, max_tokens=512,
    mlp="relu2", qk_norm=True, tied=False,
)  # fmt: skip


def known() -> list[Tune]:
    """What its words come from: a jig of 16 bars, and something in 4/4 of 8 and of 4."""
    twice = tunes.twinkle()
    eight = replace(twice, rhythm="air", bars=(*twice.bars[:3], replace(twice.bars[3], closes="double"), *twice.bars))
    return [tunes.jig(), replace(twice, rhythm="air"), eight] * 8


def write_model(folder: Path) -> None:
    """The model in Reverie's own layout."""
    tokenizer = learnt_tokenizer(known())
    medium = Music(tokenizer, ChatTemplate(None))
    model = decoder(replace(SHAPE, vocab_size=tokenizer.vocab_size))
    checkpoint.save(folder, model, tokenizer, medium.template, "# A tiny model\n", modality="music")
