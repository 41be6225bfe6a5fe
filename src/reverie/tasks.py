"""What people ask for, in words a small model understands: write, code, ask, summarize.

Each builder is a pure function from what a person typed to the messages a model answers. `summarize` also copes with
texts longer than the context: it splits, summarises each part, and summarises the summaries (arXiv:2109.10862).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from reverie.types import Message, ReverieError

if TYPE_CHECKING:
    from reverie.engine import Generation, Model, Timings
    from reverie.types import LMRequest, Step

# Settings that gave the best results of the default model in each task; what a person sets overrides them.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "write": {"temperature": 0.6, "repetition_penalty": 1.05},  # without it small models loop; with more they drift
    "code": {"temperature": 0.0},
    "ask": {"temperature": 0.0, "max_tokens": 256},
    "summarize": {"temperature": 0.0, "max_tokens": 200},  # a penalty would keep it from the words of the text
    "chat": {"temperature": 0.5, "repetition_penalty": 1.05},
}


def conversation(prompt: str, system: str | None = None) -> list[Message]:
    """One request, after the system's words if there are any: the form every task below has."""
    if not prompt.strip():
        raise ReverieError("The prompt is empty: give at least one word.")
    before = [] if system is None else [Message("system", system)]
    return [*before, Message("user", prompt)]


def ask(question: str, context: str | None = None, system: str | None = None) -> list[Message]:
    """A question, to be answered from a text if one is given."""
    if context is None:
        return conversation(question, system)
    if not question.strip():
        raise ReverieError("The question is empty: give at least one word.")
    if not context.strip():
        raise ReverieError("There is nothing to answer from: the context is empty.")
    text, asked = context.strip(), question.strip()
    return conversation(f"Use this text to answer the question.\n\nText:\n{text}\n\nQuestion: {asked}\nAnswer:", system)


def summary(text: str, system: str | None = None) -> list[Message]:
    """A request to summarise a text that fits the context; `summarize` takes texts of any length."""
    if not text.strip():
        raise ReverieError("There is nothing to summarize: the text is empty.")
    return conversation(f"{text.strip()}\n\nSummarize the text above in three short sentences.", system)


# --- code ---

FENCED = re.compile(
    r"^[ \t]*(?P<fence>(?P<mark>[`~])(?P=mark){2,})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n"
    r"(?P<code>.*?)(?:^[ \t]*(?P=fence)(?P=mark)*[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
ASIDES = {"", "sh", "bash", "console", "shell"}  # beside a program: what it prints, and how it is installed and run


def extract_code(text: str) -> str:
    """The code in an answer: its fenced blocks, or the whole of it if it has none; ends with one newline.

    Of several languages the one with the most code is kept; shell, and blocks that name no language, only if there is
    no other. A block that is still open (the answer was cut short) counts.
    """
    blocks = [(match["language"].lower(), match["code"].strip("\n")) for match in FENCED.finditer(text)]
    if not blocks:
        return text.strip("\n") + "\n"
    sizes: Counter[str] = Counter()
    for language, code in blocks:
        sizes[language] += len(code)
    kept = max(sizes, key=lambda language: (language not in ASIDES, sizes[language]))
    return "\n\n".join(code for language, code in blocks if language == kept) + "\n"


# --- summaries of texts of any length ---

# Where a text may be cut, best first: after a sentence or at a line's end, between words, anywhere.
SENTENCE_ENDS = re.compile(r"""(?<=[.!?…])["'”’)\]]*\s+|(?<=[。！？])|\n+""")
WORD_ENDS = re.compile(r"\s+")


def split(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Cuts a text into parts that fit, at sentence ends wherever possible; the parts joined are the text again.

    It halves what does not fit, so parts are of like size, and each is checked itself: no sum of estimates.
    """
    if fits(text):
        return [text]
    if len(text) < 2:
        raise ReverieError("The model's context is too small for a single character of the text: lower --max-tokens.")
    middle = _cut(text)
    return split(text[:middle], fits) + split(text[middle:], fits)


def _cut(text: str) -> int:
    """The sentence end nearest to the middle; in a single sentence, of words; in a single word, the middle itself."""
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())  # neither side may be blank
    for ends in (SENTENCE_ENDS, WORD_ENDS):
        places = [match.end() for match in ends.finditer(text) if first < match.end() < last]
        if places:
            return min(places, key=lambda place: abs(place - len(text) // 2))
    return len(text) // 2


class Summary(Iterator["Step"]):
    """The summary of a text of any length, as it is made: to its consumer it looks like one `Generation`.

    Steps of the parts' summaries have info "part" and "parts" (from 1); those without are the summary itself.
    timings: of all generations together. request: that of the last. parts_cut_off: how many of the parts' summaries
    so far ended in mid-sentence, at max_tokens.
    """

    def __init__(self, model: Model, text: str, system: str | None = None, **settings: Any) -> None:
        self.finish_reason: str | None = None
        self.parts_cut_off = 0
        self._model, self._system = model, system
        self._settings = {**SETTINGS["summarize"], **settings}
        self._done: list[Timings] = []
        self._running: Generation | None = None
        self._steps = self._summarize(text)

    def __next__(self) -> Step:
        """The next step of whichever generation is running."""
        return next(self._steps)

    @property
    def request(self) -> LMRequest:
        """What the model was last asked."""
        asked: LMRequest = self._generation.request
        return asked

    @property
    def timings(self) -> Timings:
        """Tokens and seconds of all generations so far."""
        return total([*self._done, self._generation.timings])

    def text(self) -> str:
        """Runs to the end; the whole summary."""
        return "".join(step.info.get("text", "") for step in self if "part" not in step.info)

    def close(self) -> None:
        """Stops the work at once."""
        self._steps.close()
        if self._running is not None:
            self._running.close()

    @property
    def _generation(self) -> Generation:
        if self._running is None:
            raise ReverieError("The summary has not begun: take its first step, or call text().")
        return self._running

    def _summarize(self, text: str) -> Generator[Step, None, None]:
        """Parts -> their summaries -> one text, again until it fits; then that text's summary."""
        while len(parts := split(text, self._fits)) > 1:
            shorter = yield from self._combine(parts)
            if self._model.count_tokens(shorter) >= self._model.count_tokens(text):
                raise ReverieError(
                    "The summaries of the parts are as long as the text itself: ask for shorter ones with --max-tokens."
                )
            text = shorter
        generation = self._generate(text)
        yield from generation
        self.finish_reason = generation.finish_reason

    def _combine(self, parts: Sequence[str]) -> Generator[Step, None, str]:
        summaries = []
        for number, part in enumerate(parts, 1):
            generation = self._generate(part)
            for step in generation:
                yield replace(step, info={**step.info, "part": number, "parts": len(parts)})
            summaries.append(generation.text().strip())
            self.parts_cut_off += generation.finish_reason == "length"
        return "\n\n".join(summaries)

    def _generate(self, text: str) -> Generation:
        if self._running is not None:
            self._done.append(self._running.timings)
        self._running = self._model.generate(summary(text, self._system), **self._settings)
        return self._running

    def _fits(self, text: str) -> bool:
        """Whether a text and its summary fit the context together."""
        room = self._model.context_tokens - self._settings["max_tokens"]
        return not text.strip() or self._model.count_tokens(summary(text, self._system)) <= room


def summarize(model: Model, text: str, system: str | None = None, **settings: Any) -> Summary:
    """Summarises a text of any length; nothing is cut off silently. settings: fields of `LMRequest`."""
    summary(text, system)  # an empty text is a mistake now, not at the first step
    return Summary(model, text, system, **settings)


def total(timings: Sequence[Timings]) -> Timings:
    """Several timings as one: their sums."""
    return replace(timings[0], **{f.name: sum(getattr(t, f.name) for t in timings) for f in fields(timings[0])})
