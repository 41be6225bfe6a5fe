"""Configs survive JSON, take overrides, and refuse what they do not know."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from reverie.config import from_json, override, to_json
from reverie.lm.model import DecoderConfig, Window
from reverie.modalities.text import Text
from reverie.types import ReverieError

CONFIG = replace(Text.presets["tiny"], window=Window(8, (0, 2), 1e4), rope_factors=(1.0, 2.0))


def test_json_and_back() -> None:
    assert from_json(DecoderConfig, json.loads(json.dumps(to_json(CONFIG)))) == CONFIG


def test_overrides_reach_inside_and_read_by_type() -> None:
    changed = override(CONFIG, ["depth=6", "window.tokens=16", "tied=false", "norm=layer", "rope_theta=500"])
    assert changed.window is not None
    assert (changed.depth, changed.window.tokens, changed.tied, changed.norm) == (6, 16, False, "layer")
    assert changed.rope_theta == 500.0


@pytest.mark.parametrize("setting", ["depth", "depht=3", "depth=three", "norm=batch", "window.size=3", "tied=yes"])
def test_a_wrong_override_is_one_sentence(setting: str) -> None:
    with pytest.raises(ReverieError):
        override(CONFIG, [setting])


@pytest.mark.parametrize("change", [{"depth": "4"}, {"extra": 1}, {"norm": "batch"}, {"window": {"tokens": 1}}])
def test_wrong_json_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ReverieError):
        from_json(DecoderConfig, to_json(CONFIG) | change)


def test_one_decoder_needs_no_more_than_twenty_fields() -> None:
    assert len(fields(DecoderConfig)) <= 20
