"""The reference of all exhibits, from what they say of themselves: `python docs/exhibits.py > docs/exhibits.md`."""

from __future__ import annotations

import inspect
import sys

from reverie.explain import Maker, about, exhibits

FAMILIES = {
    ("lm", None): "Models that write",
    ("lm", "music"): "Models that compose",
    ("diffusion", None): "Models that draw",
    ("diffusion", "video"): "Models that animate",
    ("both", None): "Models of both kinds",
}
NOTES = {
    "Models that compose": """All that is made of models that write can be seen in these too, but `merges` and
`context`. A prompt is a tune in ABC or in the model's own words (`rhythm=jig metre=6/8 ... F#4:1/8`), or free words,
"a jig in D": of these, the exhibits above read the head that they ask for, and the three below a tune composed with
`seed`. Whole tunes are read. Places are those of words, and word 0 begins the tune.
""",
    "Models that animate": """The first look at a clip takes as long as animating, others at the same clip (the same
prompt, frames, seed, steps and guidance) do not; exhibits that compare make several. Frames, and rows and columns of
patches, are counted from 0.
""",
}
HEAD = """# Exhibits

An exhibit is one thing to see inside a model, computed from a real run on your prompt. It is data; these draw it:

- in a terminal `reverie explain "your prompt" --exhibit NAME --option NAME=VALUE`, of the model that the exhibit is
  made for, or of another with `-m`; `--json` for the data, `-o report.html` for a file that opens anywhere;
- in Python `explain.exhibit(NAME, model, "your prompt", option=value)`, which a notebook shows as a picture;
- over HTTP `POST /api/exhibits/NAME` with `{"model", "prompt", "options", "picture"}`; `GET /api/exhibits` lists them;
- in the studio **Look inside**.

Layers, heads and places of tokens are counted from 0, places also from the end: -1 is the last. An option that is left
out has the default given here; where that is a dash, the model or the prompt decides, or nothing is done. At most the
last 96 tokens of a prompt are read. Numbers have five significant digits; no exhibit is larger than 2 MB.

This page is made by `docs/exhibits.py`, and a test compares it with the code.
"""


def reference() -> str:
    """The whole page."""
    makers = [about(name) for name in exhibits()]
    parts = [HEAD]
    for family, title in FAMILIES.items():
        shown = [section(maker) for maker in makers if (maker.family, maker.medium) == family]
        parts += [f"## {title}\n", *([NOTES[title]] if title in NOTES else []), *shown]
    return "\n".join(parts)


def section(maker: Maker) -> str:
    """One exhibit: what it answers, its options, and what its maker's docstring says."""
    said = inspect.cleandoc(str(maker.make.__doc__)).split("\n\n", 1)
    lines = [f"### {maker.name}\n", f"*{maker.title}.* {maker.question}\n", " ".join(said[0].split()) + "\n"]
    if maker.options:
        lines += ["| option | kind | default |", "|---|---|---|"]
        lines += [f"| `{name}` | {_kind(maker, name)} | {_default(value)} |" for name, value in maker.options.items()]
        lines.append("")
    if len(said) > 1:
        explained, data, told = said[1].partition("data:")
        if explained.strip():
            lines.append("```text\n" + explained.strip() + "\n```\n")
        if data:
            lines.append(f"Data, version {maker.version}:\n\n```text\n{told.strip()}\n```\n")
    return "\n".join(lines)


def _kind(maker: Maker, name: str) -> str:
    """What an option can be."""
    return ", ".join(maker.choices.get(name, [maker.kinds[name]]))


def _default(value: object) -> str:
    """A default as one reads it."""
    if value is None:
        return "–"
    return "(empty)" if value == "" else f"`{str(value).lower()}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
