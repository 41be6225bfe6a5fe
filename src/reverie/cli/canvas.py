"""What a person sees on stderr while a picture is drawn or a clip animated: a bar with the time left, and the picture.

Terminals take pictures in three ways: kitty's graphics protocol, iTerm2's inline images, and, all of them with colours,
as characters whose upper and lower half have a colour each.
"""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from reverie.media import Picture

ROWS = 16  # of a preview; characters are twice as high as wide
BAR = 24  # characters
KITTY_CHUNK = 4096  # the most base64 in one escape sequence of the protocol
LEAST_SECONDS = 0.1  # between two previews

Way = Callable[["Picture"], str]


def way_to_show(environ: Mapping[str, str], wanted: bool | None) -> Way | None:
    """How this terminal is shown a picture; None: not at all. wanted: None means only if it can show real ones."""
    if wanted is False:
        return None
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if "TMUX" not in environ:  # which keeps both protocols from the terminal
        if "KITTY_WINDOW_ID" in environ or term in ("xterm-kitty", "xterm-ghostty"):
            return kitty
        if program in ("iTerm.app", "WezTerm", "mintty"):
            return iterm
    return blocks if wanted else None


def kitty(picture: Picture) -> str:
    """https://sw.kovidgoyal.net/kitty/graphics-protocol/: picture 1 in place of the last one, the cursor stays."""
    data = base64.b64encode(_png(picture)).decode()
    chunks = [data[start : start + KITTY_CHUNK] for start in range(0, len(data), KITTY_CHUNK)]
    keys = f"a=T,f=100,i=1,p=1,q=2,C=1,c={2 * ROWS},r={ROWS},"
    parts = []
    for number, chunk in enumerate(chunks, 1):
        parts.append(f"\x1b_G{keys}m={int(number < len(chunks))};{chunk}\x1b\\")
        keys = ""
    return "".join(parts)


def iterm(picture: Picture) -> str:
    """https://iterm2.com/documentation-images.html."""
    data = _png(picture)
    keys = f"inline=1;size={len(data)};width={2 * ROWS};height={ROWS}"
    return f"\x1b]1337;File={keys}:{base64.b64encode(data).decode()}\a"


def blocks(picture: Picture) -> str:
    """Half blocks in true colour: two pixels a character."""
    from reverie.media import fit

    small = fit(picture, 2 * ROWS).tolist()
    rows = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = (f"\x1b[38;2;{r};{g};{b};48;2;{x};{y};{z}m▀" for (r, g, b), (x, y, z) in zip(upper, lower, strict=True))
        rows.append("".join(cells) + "\x1b[0m")
    return "\r\n".join(rows)


def _png(picture: Picture) -> bytes:
    from reverie.media import to_png

    return to_png(picture)


class Canvas:
    """A live bar, with a preview above it. Nothing is shown where stderr is no terminal. doing: in a word."""

    def __init__(self, preview: bool | None, num_steps: int, doing: str = "Drawing") -> None:
        self._doing = doing
        self._way = way_to_show(os.environ, preview) if sys.stderr.isatty() else None
        self._num_steps, self._done = num_steps, 0
        self._began = self._shown = time.perf_counter()
        self._rows = 0  # of a preview that is on the screen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if sys.stderr.isatty():
            self._write(f"{self._down()}\r\x1b[2K")

    def step(self, picture: Callable[[], Picture]) -> None:
        """One more step is done; picture() gives the picture as it is now."""
        self._done += 1
        if not sys.stderr.isatty():
            return
        now = time.perf_counter()
        image = ""
        if self._way is not None and (now - self._shown >= LEAST_SECONDS or self._done == self._num_steps):
            self._shown = now
            if not self._rows:  # make room first: at the bottom of the screen everything moves up
                self._write("\n" * ROWS + f"\x1b[{ROWS}A")
                self._rows = ROWS
            image = f"\x1b7{self._way(picture())}\x1b8"
        up = f"\x1b[{self._rows}A" if self._rows else ""
        self._write(f"{image}{self._down()}\r\x1b[2K{self._bar(now)}{up}\r")

    def _down(self) -> str:
        return f"\x1b[{self._rows}B" if self._rows else ""

    def _bar(self, now: float) -> str:
        share = self._done / self._num_steps
        left = (now - self._began) / self._done * (self._num_steps - self._done)
        full = round(BAR * share)
        return (
            f"{self._doing} {'█' * full}{'░' * (BAR - full)} step {self._done} of {self._num_steps}, {left:.0f} s left"
        )

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
