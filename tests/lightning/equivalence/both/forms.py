"""The short form of the suite, which ordinary runs of the tests have, and the long one: ``make equivalence``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

#: How many cases the long form draws; in the environment it asks for that form.
CASES = int(os.environ.get("CASES") or 0)
#: Which cases those are.
SEED = int(os.environ.get("SEED") or 1)

slow = pytest.mark.slow


def checkered(names: str, *lists: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise by every combination of some lists: the short form has each item, but every third combination.

    Args:
        names: of the arguments, separated by commas.
        *lists: a list for each argument; an item may be a `pytest.param` with an id.
    """
    rows: list[tuple[list[Any], list[str], int]] = [([], [], 0)]
    for items in lists:
        named = [item if isinstance(item, type(pytest.param())) else pytest.param(item) for item in items]
        rows = [
            ([*values, *item.values], [*ids, item.id or "-".join(map(str, item.values))], place + number)
            for values, ids, place in rows
            for number, item in enumerate(named)
        ]
    return pytest.mark.parametrize(
        names,
        [pytest.param(*values, id="-".join(ids), marks=[slow] * (place % 3 > 0)) for values, ids, place in rows],
    )
