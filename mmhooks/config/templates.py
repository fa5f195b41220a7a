"""The `{{ ... }}` templates of configs: the file's own name, values of its bases, and the environment."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mmhooks.config.advice import near, shown
from mmhooks.config.configdict import unwrap
from mmhooks.config.limits import Budget, Refusal

BASE_KEY = "_base_"
DEPRECATION_KEY = "_deprecation_"
FILE_NAMES = ("fileDirname", "fileBasenameNoExtension", "fileBasename", "fileExtname")
_INSIDE = (
    rf"\s*(?:(?P<file>{'|'.join(FILE_NAMES)})|{BASE_KEY}\.(?P<base>[\w.]+)"
    r"|(?P<quote>['\"]?)\$(?P<env>\w+)\s*:\s*(?P<default>[^{}\n]*?)(?P=quote))\s*"
)
TEMPLATE = re.compile(r"\{\{" + _INSIDE + r"\}\}")
# In an f-string `{{` is an escaped brace, which ast.parse has already turned into one `{`.
_IN_F_STRING = re.compile(r"\{" + _INSIDE + r"\}")
_BASE_TEMPLATE = re.compile(r"(\{\{\s*" + BASE_KEY + r"\.)([\w.]+)(\s*\}\})")
_ODD = "__base_item_"  # in front of a key that is no name in Python

Keys = tuple[str, ...]


def file_variables(path: str) -> dict[str, str]:
    """Give the values of `{{ fileDirname }}` and its like for a config file."""
    file = Path(path)
    values = (str(file.parent), file.stem, file.name, file.suffix)
    return {name: value.replace("\\", "/") for name, value in zip(FILE_NAMES, values, strict=True)}


class Pending:
    """Stands for a value of the bases, or a text with such values in it, until the bases are there.

    A config can carry it about and nothing else.

    Attributes:
        parts: the pieces of a text, of which a tuple is the keys of a base's value; one tuple alone is a whole value.
        line: where it stands.
    """

    def __init__(self, parts: tuple[str | Keys, ...], line: int) -> None:
        self.parts = parts
        self.line = line

    def _refuse(self, *_: Any) -> NoReturn:
        template = next(written(part) for part in self.parts if isinstance(part, tuple))
        raise Refusal(f"{template} can only be computed with below the bases; write {BASE_KEY} = [...] above this line")

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __hash__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __repr__ = __str__ = __format__ = __index__ = __int__ = __float__ = _refuse
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _refuse
    __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _refuse
    __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _refuse
    __neg__ = __pos__ = __invert__ = __abs__ = __round__ = _refuse


class Templates:
    """What the templates of one file stand for.

    Args:
        budget: is charged for what is put in.
        variables: the values of `{{ fileDirname }}` and its like; without them these stay as they are written.
        environment: the values of `{{ $NAME:default }}`; None leaves those as they are written.
        bases: reads the bases, given what `_base_` is and its line; the values of all of them.
    """

    def __init__(
        self,
        budget: Budget,
        variables: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        bases: Callable[[Any, int], Mapping[Any, Any]] | None = None,
    ) -> None:
        self._budget = budget
        self._variables = variables
        self._environment = environment
        self._bases = bases

    def fill(self, text: str, line: int, f_string: bool = False) -> str | Pending:
        """Put into a text what its templates stand for.

        Args:
            text: the string as the config has it.
            line: where the string stands.
            f_string: whether it is a piece of an f-string.
        """
        parts: list[str | Keys] = []
        place = 0
        for found in (_IN_F_STRING if f_string else TEMPLATE).finditer(text):
            value = self.value_of(found)
            if value is not None:
                parts += [text[place : found.start()], value]
                place = found.end()
        if not parts:
            return text
        parts.append(text[place:])
        return self.joined(parts, line)

    def value_of(self, found: re.Match[str]) -> str | Keys | None:
        """Give the text that a template stands for, the keys of a base's value, or None where it stays as it is.

        Raises:
            Refusal: a variable that the environment does not have, without a default.
        """
        if found["base"] is not None:
            return keys_of(found["base"])
        if found["file"] is not None:
            return self._variables.get(found["file"])
        if self._environment is None:
            return None
        name, default = found["env"], found["default"]
        if name not in self._environment and not default:
            raise Refusal(
                f"the environment has no variable {name!r}; set it, or give a default: {{{{ ${name}:value }}}}"
            )
        return self._environment.get(name, default)

    def joined(self, parts: list[str | Keys], line: int) -> str | Pending:
        """Make a text of its pieces, or what stands for it until the bases are there."""
        kept = tuple(part for part in parts if part)
        texts = [part for part in kept if isinstance(part, str)]
        self._budget.text(sum(map(len, texts)))
        return "".join(texts) if len(texts) == len(kept) else Pending(kept, line)

    def put_in(self, pending: Pending, named: Any, line: int) -> Any:
        """Give the value that stands for a Pending, as plain dicts, lists and tuples of its own.

        Args:
            pending: what to replace.
            named: the value of `_base_`.
            line: the line of `_base_`.
        """
        if self._bases is None:
            return pending
        return resolve(pending, self._bases(named, line), self._budget)


def keys_of(dotted: str) -> Keys:
    """Split the keys of a base template, and take back what mask_odd_keys did to them."""
    return tuple(part.removeprefix(_ODD) for part in dotted.split("."))


def mask_odd_keys(source: str) -> str:
    """Make `{{ _base_.a.0 }}` in the text of a Python file parse: its keys become names."""

    def mask(found: re.Match[str]) -> str:
        parts = [
            part if part.isidentifier() and not keyword.iskeyword(part) else _ODD + part for part in found[2].split(".")
        ]
        return found[1] + ".".join(parts) + found[3]

    return _BASE_TEMPLATE.sub(mask, source) if f"{BASE_KEY}." in source else source


def written(keys: Keys) -> str:
    """Write the template of a base's value."""
    return "{{ " + ".".join((BASE_KEY, *keys)) + " }}"


def resolve(pending: Pending, bases: Mapping[Any, Any], budget: Budget) -> Any:
    """Replace a Pending by the values of the merged bases.

    Raises:
        Refusal: no base has that key, or the text becomes too long.
    """
    if len(pending.parts) == 1 and isinstance(pending.parts[0], tuple):
        return _copied(pending.parts[0], bases, budget)
    texts = [part if isinstance(part, str) else str(_copied(part, bases, budget)) for part in pending.parts]
    budget.text(sum(map(len, texts)))
    return "".join(texts)


def _copied(keys: Keys, bases: Mapping[Any, Any], budget: Budget) -> Any:
    value: Any = bases
    for position, key in enumerate(keys):
        slot: Any = key
        if isinstance(value, (list, tuple)) and key.isdecimal() and int(key) < len(value):
            slot = int(key)
        elif not isinstance(value, Mapping) or key not in value:
            known = value if isinstance(value, Mapping) else ()
            place = ".".join((BASE_KEY, *keys[:position]))
            raise Refusal(f"{written(keys)}: {place} has no key {shown(key)}{near(key, known)}")
        value = value[slot]
    plain = unwrap(value)  # no larger than a base, which has been paid for
    budget.weigh(plain)
    return plain
