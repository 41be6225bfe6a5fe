"""From a generation to stdout: text as it comes, code alone, or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from reverie.cli.feedback import Feedback, note
from reverie.tasks import Summary, extract_code

if TYPE_CHECKING:
    from reverie.cli.options import TextOptions
    from reverie.engine import Generation, Model
    from reverie.types import Step


def present(model: Model, generation: Generation | Summary, options: TextOptions, feedback: Feedback) -> None:
    """Prints a generation as its options ask."""
    with closing(generation):
        if options.json:
            print(json.dumps(as_json(model, generation, feedback), ensure_ascii=False))
        else:
            stream(generation, feedback)
            remark(model, generation, feedback)


def present_code(model: Model, generation: Generation, feedback: Feedback) -> None:
    """Prints only the code of an answer, for a file or another program."""
    with closing(generation):
        text = "".join(pieces(generation, feedback))
        feedback.clear()
        sys.stdout.write(extract_code(text))
        remark(model, generation, feedback)


def pieces(steps: Iterable[Step], feedback: Feedback) -> Iterator[str]:
    """The pieces of the result's text; what happens before there is any is shown as a status."""
    for step in steps:
        if step.info.get("read_tokens") == 0:  # once for each reading: all its steps say the same
            feedback.dropped_tokens += step.info["dropped_tokens"]
        if "part" in step.info:
            feedback.status(f"Summarizing part {step.info['part']} of {step.info['parts']}")
        elif step.info.get("phase") == "prompt":
            done, whole = step.info["read_tokens"], step.info["prompt_tokens"]
            feedback.status(f"Reading the prompt: {done:,} of {whole:,} tokens")
        elif step.info["text"]:
            yield step.info["text"]


def stream(steps: Iterable[Step], feedback: Feedback) -> str:
    """Writes the text to stdout as it comes, and a newline at its end; gives the text."""
    written = []
    for piece in pieces(steps, feedback):
        feedback.clear()
        sys.stdout.write(piece)
        sys.stdout.flush()
        written.append(piece)
    text = "".join(written)
    if not text.endswith("\n"):
        print(flush=True)
    return text


def remark(model: Model, generation: Generation | Summary, feedback: Feedback) -> None:
    """Says if anything was cut off or forgotten; where a person watches, also how fast the text came, and its seed."""
    timings, request = generation.timings, generation.request
    remarks = []
    if sys.stderr.isatty():
        speed = f"{timings.decode_tokens_per_second:.0f} a second"
        remarks.append(f"{timings.new_tokens} tokens, {speed}; --seed {request.seed} makes the same again")
    if feedback.dropped_tokens:
        remarks.append(f"the oldest {feedback.dropped_tokens:,} tokens were forgotten (--slide)")
    if isinstance(generation, Summary) and generation.parts_cut_off:
        remarks.append(f"summaries of parts that were cut off: {generation.parts_cut_off} (--max-tokens)")
    if generation.finish_reason == "length":
        remarks.append(_cut_off(model, generation))
    if remarks:
        note("; ".join(remarks))


def _cut_off(model: Model, generation: Generation | Summary) -> str:
    if generation.timings.new_tokens >= generation.request.max_tokens:
        return f"cut off at {generation.request.max_tokens} tokens (--max-tokens)"
    return f"cut off because the context of {model.context_tokens:,} tokens is full (--slide forgets the oldest half)"


def as_json(model: Model, generation: Generation | Summary, feedback: Feedback) -> dict[str, Any]:
    """A finished generation as one JSON object; runs it to the end."""
    infos: list[Mapping[str, Any]] = []
    text = "".join(pieces(_noting(generation, infos), feedback))
    feedback.clear()
    timings, request = generation.timings, generation.request
    result: dict[str, Any] = {
        "model": model.name,
        "text": text,
        "tokens": {"prompt": timings.prompt_tokens, "new": timings.new_tokens},
        "timings": {
            "prompt_seconds": round(timings.prompt_seconds, 4),
            "decode_seconds": round(timings.decode_seconds, 4),
            "tokens_per_second": round(timings.decode_tokens_per_second, 2),
        },
        "finish_reason": generation.finish_reason,
        "dropped_tokens": feedback.dropped_tokens,
        "seed": request.seed,
        "settings": {f.name: getattr(request, f.name) for f in fields(request) if f.name not in ("prompt", "seed")},
    }
    if isinstance(generation, Summary):
        result["parts_cut_off"] = generation.parts_cut_off
    if request.num_logprobs:
        result["logprobs"] = [_logprobs(model, info) for info in infos if "logprob" in info]
    return result


def _noting(steps: Iterable[Step], infos: list[Mapping[str, Any]]) -> Iterator[Step]:
    """The steps, while the infos of those that belong to the result are kept (a step itself holds a whole cache)."""
    for step in steps:
        if "part" not in step.info:
            infos.append(step.info)
        yield step


def _logprobs(model: Model, info: Mapping[str, Any]) -> dict[str, Any]:
    """One token's log-probability and its alternatives, as OpenAI's API lays them out."""
    show = model.medium.tokenizer.token_text
    top = [{"id": token, "token": show(token), "logprob": value} for token, value in info["top_logprobs"]]
    return {"id": info["token"], "token": show(info["token"]), "logprob": info["logprob"], "top_logprobs": top}
