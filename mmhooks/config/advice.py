"""What to say about Python that is no data: what was found, and what to write instead."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from itertools import islice
from typing import Any

from mmhooks.config.limits import Refusal
from mmhooks.errors import ConfigError, nearest

_LONG = 100
_VALUE = "write the value itself"
_COMPREHENSION = "write a comprehension: [... for x in ...]"
_CUSTOM_IMPORTS = (
    "a config is data: it imports nothing; to have a module of yours imported, write "
    "custom_imports=dict(imports=['my.module'], allow_failed_imports=False)"
)
_REGISTER = "register it under a name in a module of yours and write dict(type='Name')"
_NO_CODE = "a config is data and runs no code; " + _VALUE

_ADVICE: dict[type[ast.AST], tuple[str, str]] = {
    ast.Import: ("an import", _CUSTOM_IMPORTS),
    ast.ImportFrom: ("an import", _CUSTOM_IMPORTS),
    ast.FunctionDef: ("a function definition", _REGISTER),
    ast.AsyncFunctionDef: ("a function definition", _REGISTER),
    ast.ClassDef: ("a class definition", _REGISTER),
    ast.Lambda: ("a lambda", _REGISTER),
    ast.For: ("a for statement", _COMPREHENSION),
    ast.AsyncFor: ("a for statement", _COMPREHENSION),
    ast.While: ("a while statement", _COMPREHENSION),
    ast.AnnAssign: ("an annotated assignment", "leave the annotation out: name = value"),
    ast.NamedExpr: ("an assignment inside an expression", "assign on a line of its own: name = value"),
    ast.Delete: ("a del statement", "give a helper a name that starts with two underscores: it is left out"),
    ast.Pass: ("a pass statement", "leave the branch out, or assign something in it"),
    ast.Attribute: ("attribute access", "write x['key'] for the key of a dict"),
}


def refused(node: ast.AST) -> Refusal:
    """Describe a piece of syntax that the reader does not take.

    Args:
        node: the statement, expression or target.
    """
    found, instead = _ADVICE.get(type(node), (f"this ({type(node).__name__})", _NO_CODE))
    return Refusal(f"{found} is not read in a config: `{_shorten(node)}`; {instead}")


def located(path: str, line: int, error: BaseException) -> ConfigError:
    """Make the ConfigError that says where in a file something went wrong.

    Args:
        path: the config file.
        line: the line in it.
        error: a Refusal, or what Python itself raised.
    """
    if isinstance(error, Refusal):
        reason = str(error)
    elif isinstance(error, RecursionError):
        reason = "the expression is nested too deep to read; split it over several names"
    elif isinstance(error, KeyError):
        reason = f"KeyError: there is no key {error}"
    else:
        reason = f"{type(error).__name__}: {error}"
    return ConfigError(f"{path}:{line}: {reason[:1000]}")


def near(name: Any, known: Iterable[Any]) -> str:
    """Name known words close to one that a config gives, if there are not too many and they are not too long."""
    if not isinstance(name, str) or len(name) > _LONG:
        return ""
    return nearest(name, [word for word in islice(known, 1_000) if isinstance(word, str) and len(word) <= _LONG])


def shown(value: Any) -> str:
    """Show a key or name that a config gives, as it is written, cut where it is long."""
    text = repr(value) if not isinstance(value, str) or len(value) <= _LONG else f"{value[:_LONG]!r}..."
    return text if len(text) <= 2 * _LONG else text[: 2 * _LONG] + "..."


def cause_of(error: BaseException) -> BaseException | None:
    """Give what a ConfigError should be chained to: Python's own error, never the reader's inner Refusal."""
    return error.__cause__ if isinstance(error, Refusal) else error


def _shorten(node: ast.AST) -> str:
    try:
        text = ast.unparse(node)
    except RecursionError:
        return "..."
    first = text.split("\n")[0]
    return first if len(first) <= 60 else first[:57] + "..."
