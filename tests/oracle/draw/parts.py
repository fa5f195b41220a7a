"""Small strategies that the others are made of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

POINTS = (
    "before_run", "before_train_epoch", "before_train_iter", "after_train_iter", "after_train_epoch",
    "before_val_epoch", "before_val_iter", "after_val_iter", "after_val_epoch", "after_run",
)  # fmt: skip
GENERIC = ("before_epoch", "before_iter", "after_iter", "after_epoch")
TRAIN_POINTS = POINTS[:5]
PRIORITIES = ("HIGHEST", "VERY_HIGH", "HIGH", "ABOVE_NORMAL", "NORMAL", "BELOW_NORMAL", "LOW", "VERY_LOW", "LOWEST")

unit = st.floats(0.01, 0.99)
small = st.integers(1, 5)
booleans = st.booleans()
priorities = st.one_of(st.sampled_from(PRIORITIES), st.sampled_from(("low", "Very_High")), st.integers(0, 100))


def chance(one_in: int) -> Strategy:
    """True once in so many draws."""
    return st.integers(1, one_in).map(lambda number: number == one_in)


def once_in(count: int, strategy: Strategy) -> Strategy:
    """What a strategy gives once in so many draws, else None."""
    return chance(count).flatmap(lambda yes: strategy if yes else st.none())


def options(_always: dict[str, Strategy] | None = None, **optional: Strategy) -> Strategy:
    """A dict with some keys always, and others or not."""
    return st.fixed_dictionaries(_always or {}, optional=optional)


def of_type(name: str, _always: dict[str, Strategy] | None = None, **optional: Strategy) -> Strategy:
    """A config of a registered type."""
    return options({"type": st.just(name), **(_always or {})}, **optional)


def merged(*dicts: Strategy) -> Strategy:
    """One dict of several; the later ones win."""
    return st.tuples(*dicts).map(lambda drawn: {key: value for one in drawn for key, value in one.items()})
