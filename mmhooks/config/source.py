"""The values of a config, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmhooks.config.config import Config
from mmhooks.config.writing import write_python
from mmhooks.errors import ConfigError, nearest


@dataclass
class Source:
    """A config that is built from: plain dicts and lists, with a name for messages.

    Attributes:
        values: the config's values, a copy of them.
        name: its file, or ``"the config"``.
    """

    values: dict[str, Any]
    name: str

    @classmethod
    def of(cls, cfg: Config | Mapping[str, Any]) -> Source:
        """Take the values of a config, or of a dict that is one."""
        config = cfg if isinstance(cfg, Config) else Config(cfg)
        return cls(config.to_dict(), config.filename or "the config")

    def text(self) -> str:
        """Write the values out as a config, options laid over it included."""
        return write_python(self.values, strict=False)

    def section(self, key: str) -> dict[str, Any]:
        """Give the dict of a key, which may be one inside another: ``"data.train"``.

        Raises:
            ConfigError: it is not there, or no dict.
        """
        found: Any = self.values
        path = ""
        for part in key.split("."):
            if part not in found:
                raise ConfigError(f"{self.name} has no {key!r}{nearest(part, map(str, found))}")
            found, path = found[part], f"{path}.{part}".lstrip(".")
            if not isinstance(found, dict):
                given = "None" if found is None else f"{found!r:.60} ({type(found).__name__})"
                raise ConfigError(f"{self.name}: {path} must be a dict, not {given}")
        return dict(found)

    @contextmanager
    def building(self, key: str) -> Iterator[None]:
        """Let an error in what is built meanwhile say which key of which file it is built from."""
        with built_from(f"{key} of {self.name}"):
            yield


@contextmanager
def built_from(place: str) -> Iterator[None]:
    """Let an error in what is built meanwhile say where that is described.

    Args:
        place: a key of a file, or what is in it.
    """
    try:
        yield
    except Exception as error:
        error.add_note(f"while building {place}")
        raise


def check_keys(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse keys of a config that nothing reads.

    Args:
        where: the file and the key, for the message.
        given: the dict of that key.
        known: the keys that it may have.

    Raises:
        ConfigError: it has another one.
    """
    for key in given:
        if key not in known:
            raise ConfigError(f"{where} takes {', '.join(known)}, not {key!r}{nearest(str(key), known)}")
