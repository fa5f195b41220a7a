"""The static evaluator: a config's text becomes its values, and nothing in it is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mmhooks.config.advice import cause_of, located, refused
from mmhooks.config.expressions import DATA_ERRORS, Expressions
from mmhooks.config.limits import Budget
from mmhooks.config.operators import binary
from mmhooks.config.templates import file_variables
from mmhooks.errors import ConfigError


@dataclass(frozen=True)
class Module:
    """What one config file says, before its bases are merged.

    Attributes:
        path: the file.
        values: the names it assigns, in order; those that start with two underscores are left out.
        lines: the line where each of them was last assigned.
        tree: the syntax tree.
    """

    path: str
    values: dict[str, Any]
    lines: dict[str, int]
    tree: ast.Module

    def line_of_text(self, name: str, text: str) -> int:
        """Find the line of a string in what a name is assigned: which of several bases it is that cannot be read."""
        line = self.lines[name]
        statement = next(node for node in self.tree.body if line <= (node.end_lineno or line))
        found = (node for node in ast.walk(statement) if isinstance(node, ast.Constant) and node.value == text)
        return min((node.lineno for node in found), default=line)


def evaluate(source: str, path: str, budget: Budget) -> Module:
    """Read the text of one config file.

    Args:
        source: the text.
        path: the absolute path of the file: for messages, and for `{{ fileDirname }}` and its like.
        budget: the work that is left for the config and its bases.

    Raises:
        ConfigError: the text is not the data that a config is; says the line, and what to write instead.

    Example:
        >>> evaluate("width = 8\\nmodel = dict(width=2 * width)", "/configs/a.py", Budget()).values
        {'width': 8, 'model': {'width': 16}}
    """
    tree = _parse(source, path)
    expressions = Expressions(path, file_variables(path), budget)
    _Statements(expressions).run(tree.body)
    values = {name: value for name, value in expressions.names.items() if not name.startswith("__")}
    return Module(path, values, expressions.lines, tree)


def _parse(source: str, path: str) -> ast.Module:
    if "\0" in source:
        line = source[: source.index("\0")].count("\n") + 1
        raise ConfigError(f"{path}:{line}: a NUL byte; a config is a text file in UTF-8")
    try:
        return ast.parse(source, filename=path)
    except SyntaxError as error:
        line, column = error.lineno or 1, max(error.offset or 1, 1)
        lines = source.splitlines()
        start = max(0, column - 80)  # of a very long line, the part around the place
        text = lines[line - 1][start : start + 120] if line <= len(lines) else ""
        mark = " " * (column - 1 - start) + "^"
        raise ConfigError(f"{path}:{line}:{column}: {error.msg}\n    {text}\n    {mark}") from error
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"{path}:1: the file nests brackets or operators too deep to be parsed") from error


class _Statements:
    def __init__(self, expressions: Expressions) -> None:
        self._expressions = expressions

    def run(self, statements: Sequence[ast.stmt]) -> None:
        for node in statements:
            try:
                handler = self._HANDLERS.get(type(node))
                if handler is None:
                    raise refused(node)
                handler(self, node)
            except ConfigError:
                raise
            except DATA_ERRORS as error:
                raise located(self._expressions.path, node.lineno, error) from cause_of(error)

    def _assign(self, node: ast.Assign) -> None:
        value = self._expressions.evaluate(node.value)
        for target in node.targets:
            self._expressions.assign(target, value)

    def _augmented(self, node: ast.AugAssign) -> None:
        expressions, target = self._expressions, node.target
        kind, budget = type(node.op), expressions.budget
        if isinstance(target, ast.Subscript):
            container, key = expressions.evaluate(target.value), expressions.evaluate(target.slice)
            left, right = expressions.get_item(container, key), expressions.evaluate(node.value)
            expressions.set_item(container, key, binary(kind, left, right, budget, in_place=True))
        elif isinstance(target, ast.Name):
            left, right = expressions.look_up(target), expressions.evaluate(node.value)
            expressions.assign(target, binary(kind, left, right, budget, in_place=True))
        else:
            raise refused(target)

    def _expression(self, node: ast.Expr) -> None:
        # a string on its own is a comment: templates in it stand for nothing
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
            self._expressions.evaluate(node.value)

    def _if(self, node: ast.If) -> None:
        self.run(node.body if self._expressions.evaluate(node.test) else node.orelse)

    _HANDLERS: ClassVar[dict[type[ast.stmt], Callable[[_Statements, Any], None]]] = {
        ast.Assign: _assign,
        ast.AugAssign: _augmented,
        ast.Expr: _expression,
        ast.If: _if,
    }
