"""Tokenizers and chat templates out of model files, and into them: GGUF metadata, and Hugging Face's folders."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from reverie.hub import files, gguf_tokenizer
from reverie.hub.added_tokens import assembled, is_control
from reverie.hub.gguf_tokenizer import from_gguf
from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError

__all__ = ["chat_template", "from_folder", "from_gguf", "save"]

MAX_FILE_BYTES = 200_000_000  # Gemma's tokenizer.json has 33 MB


def from_folder(folder: Path) -> Tokenizer:
    """The tokenizer of a folder in Hugging Face's layout, which `save` also writes. Errors are a `ReverieError`."""
    if not (folder / "tokenizer.json").is_file():
        raise ReverieError(f"{folder} has no tokenizer.json: use a model that has one.")
    data = read_json(folder / "tokenizer.json")
    config = read_json(folder / "special_tokens_map.json") | read_json(folder / "tokenizer_config.json")
    try:
        return _from_json(data, config, chat_template(folder), _listed_ends(folder))
    except ReverieError:
        raise
    except Exception as error:  # of ours where the structure is wrong, and bare ones of the library
        raise ReverieError(f"The tokenizer.json in {folder} is broken ({error}): fetch the model again.") from error


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes a tokenizer in Hugging Face's layout. Its chat template belongs beside it, as chat_template.jinja."""
    data = json.loads(tokenizer.plain.to_str())
    added = tokenizer.shorthand | tokenizer.control
    hidden = {text for text, token in tokenizer.control.items() if token not in tokenizer.shown}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    data["added_tokens"] = [
        {"id": token, "content": text, **flags, "special": text in hidden}
        for text, token in sorted(added.items(), key=operator.itemgetter(1))
    ]
    data["model"]["vocab"] |= added
    ends = {"bos_token": tokenizer.bos_text, "eos_token": tokenizer.eos_text}
    config = {"add_bos_token": tokenizer.add_bos} | {name: text for name, text in ends.items() if text}
    for name, content in (
        ("tokenizer.json", data),
        ("tokenizer_config.json", config),
        ("generation_config.json", {"eos_token_id": sorted(tokenizer.eos_ids)}),
    ):
        files.write(folder / name, json.dumps(content, ensure_ascii=False))


def chat_template(source: Mapping[str, Any] | Path) -> str | None:
    """The chat template in GGUF metadata or in a Hugging Face folder; None if the model has none."""
    if isinstance(source, Mapping):
        return gguf_tokenizer.template(source)
    file = source / "chat_template.jinja"
    if file.is_file():
        return _read(file)
    found = read_json(source / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several, by name
        found = next((entry["template"] for entry in found if entry.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _from_json(data: dict[str, Any], config: Mapping[str, Any], template: str | None, ends: Iterable[int]) -> Tokenizer:
    """The tokenizer of tokenizer.json's data and tokenizer_config.json's."""
    if data["model"].get("type", "BPE") != "BPE":
        raise ReverieError(f"The tokenizer is of the kind {data['model']['type']!r}: Reverie reads BPE.")
    entries = [entry for entry in _part(data, "added_tokens", []) if entry["content"]]
    added = {entry["content"]: _id(entry["id"]) for entry in entries}
    special = {entry["content"] for entry in entries if entry["special"]}
    ids = {name: _id(token) for name, token in data["model"]["vocab"].items()} | added
    bos, eos = (ids.get(_content(config.get(name))) for name in ("bos_token", "eos_token"))
    ends = [token for token in (*ends, eos) if token is not None]
    named = {name: token for name, token in ids.items() if token in (bos, *ends)}
    added, special = added | named, special | set(named)
    add_bos = config.get("add_bos_token")
    if not isinstance(add_bos, bool):
        add_bos = _begins_with(data.get("post_processor"), bos)
    return assembled(
        _plain(data, {name for name in added if is_control(name, special, template)}),
        added,
        special,
        template,
        bos_id=bos,
        eos_id=eos,
        ends=ends,
        add_bos=add_bos,
        inner=_inner(data),
    )


def _part(data: Mapping[str, Any], name: str, default: Any) -> Any:
    """data[name]; the default if that is missing or null."""
    value = data.get(name)
    return default if value is None else value


def _id(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**32:
        raise ValueError(f"{value!r} is not the id of a token")
    return value


def _content(token: Any) -> str:
    """A token as tokenizer_config.json names it: its text, or an object that holds it."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _plain(data: dict[str, Any], control: set[str]) -> tokenizers.Tokenizer:
    """The tokenizer without any added tokens, and without the pieces and merges that would spell a control token."""
    model = data["model"]
    unknown = model.get("unk_token")  # must stay, but nothing merges to it
    if unknown is not None and unknown not in model["vocab"]:
        raise ValueError(f"the unknown token {unknown!r} is no token")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    model |= {
        "vocab": {name: token for name, token in model["vocab"].items() if name not in control or name == unknown},
        "merges": [pair for pair in pairs if control.isdisjoint(("".join(pair), *pair))],
    }
    data |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    return tokenizers.Tokenizer.from_str(json.dumps(data))


def _inner(data: dict[str, Any]) -> tokenizers.Tokenizer | None:
    """For text after a control token, if only the beginning of a text gets a space put before it."""
    step = _part(data, "pre_tokenizer", {})
    for spaces in step.get("pretokenizers", [step]):
        if spaces.get("type") == "Metaspace" and spaces.get("prepend_scheme") == "first":
            spaces["prepend_scheme"] = "never"
            return tokenizers.Tokenizer.from_str(json.dumps(data))
    return None


def _begins_with(processor: dict[str, Any] | None, token: int | None) -> bool:
    """Whether a post-processor puts the token before a text."""
    if processor is None:
        return False
    for step in processor.get("processors", [processor]):
        match step:
            case {"single": [{"SpecialToken": {"id": str(first)}}, *_], "special_tokens": dict(special)}:
                if token in special.get(first, {}).get("ids", []):
                    return True
    return False


def _listed_ends(folder: Path) -> list[int]:
    """The tokens that end a text by generation_config.json, or else by config.json."""
    for name in ("generation_config.json", "config.json"):
        listed = read_json(folder / name).get("eos_token_id")
        if listed is not None:
            return [token for token in (listed if isinstance(listed, list) else [listed]) if isinstance(token, int)]
    return []


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one if there is no file."""
    if not file.is_file():
        return {}
    try:
        data = json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        raise ReverieError(f"{file} is not JSON ({error}): fetch the model again.") from error
    if not isinstance(data, dict):
        raise ReverieError(f"{file} does not hold a JSON object: fetch the model again.")
    return data


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise ReverieError(f"{file} is larger than {MAX_FILE_BYTES:,} bytes, which no real one is: use another model.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReverieError(f"{file} is not UTF-8: fetch the model again.") from error
