"""The `{{ ... }}` templates of MMCV's configs: the file's own name, and values of its bases."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mmhooks.config.limits import Refusal
from mmhooks.errors import nearest

_FILE_NAMES = "fileDirname|fileBasenameNoExtension|fileBasename|fileExtname"
# In an f-string `{{` is an escaped brace, which ast.parse has already turned into one `{`.
_FILE_TEMPLATE = {
    "text": re.compile(r"\{\{\s*(" + _FILE_NAMES + r")\s*\}\}"),
    "f-string": re.compile(r"\{\s*(" + _FILE_NAMES + r")\s*\}"),
}
_BASE_TEMPLATE = {
    "text": re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}"),
    "f-string": re.compile(r"\{\s*_base_\.([\w.]+)\s*\}"),
}


def file_variables(path: str) -> dict[str, str]:
    """Give the values of `{{ fileDirname }}` and its like for a config file."""
    file = Path(path)
    values = {
        "fileDirname": str(file.parent),
        "fileBasename": file.name,
        "fileBasenameNoExtension": file.stem,
        "fileExtname": file.suffix,
    }
    return {name: value.replace("\\", "/") for name, value in values.items()}


class BaseReference:
    """Stands for `{{ _base_.key }}` until the bases are merged; a config can carry it about and nothing else."""

    def __init__(self, keys: tuple[str, ...], line: int) -> None:
        self.keys = keys
        self.line = line

    def _refuse(self, *_: Any) -> NoReturn:
        template = "{{ _base_." + ".".join(self.keys) + " }}"
        raise Refusal(
            f"{template} is put in after the file is read, so it can only be a value of its own, as in x = {template}; "
            "to compute with it, write the value out here"
        )

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __hash__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __repr__ = __str__ = __format__ = __index__ = __int__ = __float__ = _refuse
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _refuse
    __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _refuse
    __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _refuse
    __neg__ = __pos__ = __invert__ = __abs__ = __round__ = _refuse


def fill_text(text: str, variables: Mapping[str, str], line: int, kind: str = "text") -> str | BaseReference:
    """Put the file's own names into a string, or recognise a string that is one whole base template.

    Args:
        text: the string as the config has it.
        variables: what file_variables gave.
        line: where the string stands.
        kind: 'text' for an ordinary string, 'f-string' for a piece of one.

    Raises:
        Refusal: a base template is only a part of the string.
    """
    if "{" not in text:
        return text
    found = _BASE_TEMPLATE[kind].search(text)
    if found is None:
        return _FILE_TEMPLATE[kind].sub(lambda match: variables[match[1]], text)
    if kind == "text" and found[0] == text.strip():
        return BaseReference(tuple(found[1].split(".")), line)
    template = "{{ _base_." + found[1] + " }}"
    raise Refusal(f"{template} stands inside a longer string; a base's value can only be a whole value: x = {template}")


def unquoted_reference(node: ast.Set) -> BaseReference | None:
    """Recognise `{{ _base_.a.b }}` written without quotes, which Python reads as a set in a set."""
    inner = node.elts[0]
    if len(node.elts) != 1 or not isinstance(inner, ast.Set) or len(inner.elts) != 1:
        return None
    keys: list[str] = []
    part = inner.elts[0]
    while isinstance(part, ast.Attribute):
        keys.insert(0, part.attr)
        part = part.value
    if keys and isinstance(part, ast.Name) and part.id == "_base_":
        return BaseReference(tuple(keys), node.lineno)
    return None


def settle(value: Any, lookup: Callable[[BaseReference], Any]) -> Any:
    """Rebuild a value as a tree of its own, with the bases' values in place of the references.

    Args:
        value: what the evaluator made; weighed before, so that it is neither too large nor too deep.
        lookup: gives the value of a reference.

    Raises:
        Refusal: the value is no data, but an iterator or a view.
    """
    kind = type(value)
    if kind is dict:
        return {key: settle(item, lookup) for key, item in value.items()}
    if kind is list:
        return [settle(item, lookup) for item in value]
    if kind is tuple:
        return tuple([settle(item, lookup) for item in value])
    if kind is set:
        return set(value)
    if kind is BaseReference:
        return lookup(value)
    if kind in _DATA:
        return value
    raise Refusal(f"a {kind.__name__} object is no data; write list(...) around it")


_DATA = frozenset({type(None), bool, int, float, complex, str, bytes, range})


def base_value(reference: BaseReference, bases: Mapping[str, Any]) -> Any:
    """Look a reference up in the merged bases.

    Raises:
        Refusal: no base has that key.
    """
    value: Any = bases
    for position, key in enumerate(reference.keys):
        if not isinstance(value, Mapping) or key not in value:
            known = [str(name) for name in value] if isinstance(value, Mapping) else []
            place = ".".join(("_base_", *reference.keys[:position]))
            raise Refusal(
                f"{{{{ _base_.{'.'.join(reference.keys)} }}}}: {place} has no key {key!r}{nearest(key, known)}"
            )
        value = value[key]
    return value
