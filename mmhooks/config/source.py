"""The values of a config, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmhooks.config.config import Config
from mmhooks.errors import ConfigError, nearest


@dataclass
class Source:
    """A config that is built from: plain dicts and lists, with a name for messages.

    Attributes:
        values: the config's values, a copy of them.
        name: its file, or ``"the config"``.
        text: its text, with that of its bases.
    """

    values: dict[str, Any]
    name: str
    text: str

    @classmethod
    def of(cls, cfg: Config | Mapping[str, Any]) -> Source:
        """Take the values of a config, or of a dict that is one."""
        config = cfg if isinstance(cfg, Config) else Config(cfg)
        return cls(config.to_dict(), config.filename or "the config", config.text)

    def section(self, key: str) -> dict[str, Any]:
        """Give the dict of a key, which may be one inside another: ``"data.train"``.

        Raises:
            ConfigError: it is not there, or no dict.
        """
        found: Any = self.values
        for part in key.split("."):
            if part not in found or found[part] is None:
                raise ConfigError(f"{self.name} has no {key!r}{nearest(part, map(str, found))}")
            found = found[part]
            if not isinstance(found, dict):
                raise ConfigError(f"{self.name}: {key} must be a dict, not {found!r:.60} ({type(found).__name__})")
        return dict(found)
