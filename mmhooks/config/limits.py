"""How much work and memory reading one config may take: everything is charged before it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import GeneratorType
from typing import Any

MAX_STEPS = 500_000  # a dozen times what the largest real config takes
MAX_DEPTH = 100
MAX_TEXT = 1_000_000
MAX_ITEMS = 1_000_000
MAX_BITS = 1 << 16
MAX_FORMAT_NUMBER = 1_000
# A syntax tree takes some 600 times the memory of its text, so Python is allowed less of it than plain data.
MAX_FILE_BYTES = {".py": 1 << 18, ".json": 1 << 20, ".yaml": 1 << 20, ".yml": 1 << 20}
_FULL_FILES = 2  # a config and its bases together
_STEPS_PER_FILE = 2_000  # an empty file costs something too, or bases of bases would multiply for nothing
_CHARACTERS_PER_STEP = 16

TEXTS = frozenset({str, bytes})
VIEWS = frozenset({type({}.keys()), type({}.values()), type({}.items())})
ITERATORS = frozenset({enumerate, zip, reversed, type(reversed([])), type(reversed({})), GeneratorType}) | {
    type(reversed(range(0))),
    type(reversed({}.items())),
    type(reversed({}.values())),
    type(iter([])),
}
_COLLECTIONS = frozenset({list, tuple, set}) | VIEWS
_SIZED = _COLLECTIONS | {dict, range} | TEXTS


class Refusal(Exception):
    """A reason to stop reading, raised where the place in the file is not known; it becomes a ConfigError."""


class Budget:
    """The work that is left for one config with all its bases.

    A step is one node evaluated, one element produced or looked at, or sixteen characters of text, so the number of
    steps bounds the time and the memory alike.

    Attributes:
        left: the steps that are left.
    """

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps
        self._files = float(_FULL_FILES)

    def step(self, count: int = 1) -> None:
        """Charge some steps.

        Raises:
            Refusal: nothing is left.
        """
        self.left -= count
        if self.left < 0:
            raise Refusal(f"the config needs more than {MAX_STEPS:,} steps to read; write the values out")

    def file(self, size: int, suffix: str) -> None:
        """Charge a file of this many characters, about to be parsed."""
        self._files -= size / MAX_FILE_BYTES[suffix]
        if self._files < 0:
            raise Refusal("the config and its bases are too large together; keep what is no config in files of its own")
        self.step(_STEPS_PER_FILE + size // _CHARACTERS_PER_STEP)

    def text(self, length: int) -> None:
        """Charge a string or bytes value of this length, about to be made."""
        if length > MAX_TEXT:
            raise Refusal(f"a text of {_amount(length)} characters is too long; at most {MAX_TEXT:,}")
        self.step(length // _CHARACTERS_PER_STEP)

    def items(self, count: int) -> None:
        """Charge a list, range, dict or the like of this length, about to be made."""
        if count > MAX_ITEMS:
            raise Refusal(f"a collection of {_amount(count)} elements is too large; at most {MAX_ITEMS:,}")
        self.step(count)

    def integer(self, bits: int) -> None:
        """Charge an integer of this many bits, about to be made."""
        if bits > MAX_BITS:
            raise Refusal(f"an integer of {_amount(bits)} bits is too large; at most {MAX_BITS:,}")
        self.step(bits // 512)

    def iterate(self, values: Iterable[Any]) -> Iterator[Any]:
        """Walk over a value, charging every element."""
        for value in values:
            self.step()
            yield value

    def weigh(self, value: Any) -> None:
        """Charge a walk over the whole tree of a value: what comparing, hashing, printing or copying it costs.

        A value that holds the same list many times is small in memory and huge to walk, so this comes first.
        """
        level, depth = [value], 0
        while level:
            self.step(len(level))
            below: list[Any] = []
            for item in level:
                kind = type(item)
                if kind in TEXTS:
                    if len(item) >= _CHARACTERS_PER_STEP:
                        self.step(len(item) // _CHARACTERS_PER_STEP)
                elif kind is dict or kind in _COLLECTIONS:
                    if depth > MAX_DEPTH:
                        raise Refusal(f"a value is nested more than {MAX_DEPTH} deep, or holds itself")
                    self.step(len(item))
                    below.extend(item)
                    if kind is dict:
                        below.extend(item.values())
                elif kind is range:
                    self.step(len(item))
            level, depth = below, depth + 1

    def argument(self, value: Any) -> Any:
        """Make a value safe to hand to a built-in function, which will walk it without asking."""
        if type(value) in ITERATORS:
            return self._weigh_each(value)
        self.weigh(value)
        return value

    def elements(self, value: Any) -> Any:
        """Make a value safe to hand to a function that takes its elements as they are."""
        if type(value) in ITERATORS:
            return self.iterate(value)
        self.step(len(value) if type(value) in _SIZED else 1)
        return value

    def _weigh_each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.weigh(value)
            yield value


def _amount(number: int) -> str:
    # str() refuses integers of more than 4300 digits, and nobody would read them
    return f"{number:,}" if number.bit_length() < 80 else f"about 2**{number.bit_length()}"
