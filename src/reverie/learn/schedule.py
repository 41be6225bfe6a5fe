"""When to ask again: spaced repetition by the Free Spaced Repetition Scheduler (package fsrs)."""

from __future__ import annotations

from datetime import UTC, datetime

from fsrs import Card, Rating, Scheduler

from reverie.learn.marking import is_right

HALF = 0.5  # a mark below counts as not known
SURE = 0.85  # from which one is certain


def rating(mark: float, num_hints: int, sure: float | None) -> Rating:
    """How well an answer went. Right with a hint, or in part, was hard; right and certain was easy."""
    if mark < HALF:
        return Rating.Again
    if not is_right(mark) or num_hints:
        return Rating.Hard
    return Rating.Easy if sure is not None and sure >= SURE else Rating.Good


def review(card: str | None, rated: Rating, when: float) -> tuple[str, float]:
    """A card (as JSON; None: a new one) after an answer at `when`, and when it is due next; seconds since 1970."""
    at = datetime.fromtimestamp(when, UTC)
    before = Card(card_id=1, due=at) if card is None else Card.from_json(card)  # the store has its own names for cards
    after, _ = Scheduler(enable_fuzzing=False).review_card(before, rated, at)
    return after.to_json(), after.due.timestamp()
