"""What one config file says, before its bases are merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Module:
    """The keys of one config file.

    Attributes:
        path: the file.
        source: its text.
        values: the keys, in order; a Pending stands for what comes from the bases.
        lines: the line of each key.
    """

    path: str
    source: str
    values: dict[Any, Any]
    lines: dict[Any, int]

    def place(self, key: Any) -> str:
        """Give the start of a message about a key: `file:line: `."""
        return f"{self.path}:{self.lines.get(key, 1)}: "
