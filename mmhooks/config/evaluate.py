"""The static evaluator: a config's text becomes its values, and nothing in it is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from mmhooks.config.advice import cause_of, located, refused
from mmhooks.config.expressions import DATA_ERRORS, Expressions
from mmhooks.config.limits import Budget
from mmhooks.config.module import Module
from mmhooks.config.operators import binary
from mmhooks.config.templates import Templates, file_variables, mask_odd_keys
from mmhooks.errors import ConfigError


def evaluate(source: str, path: str, budget: Budget, templates: Templates | None = None) -> Module:
    """Read the text of one `.py` config file.

    Args:
        source: the text.
        path: the absolute path of the file, for messages.
        budget: the work that is left for the config and its bases.
        templates: what its templates stand for; by default `{{ fileDirname }}` and its like, of that path.

    Raises:
        ConfigError: the text is not the data that a config is; says the line, and what to write instead.

    Example:
        >>> evaluate("width = 8\\nmodel = dict(width=2 * width)", "/configs/a.py", Budget()).values
        {'width': 8, 'model': {'width': 16}}
    """
    tree = _parse(mask_odd_keys(source), path)
    expressions = Expressions(path, templates or Templates(budget, file_variables(path)), budget)
    _Statements(expressions).run(tree.body)
    # names with two underscores in front are helpers, as in MMCV
    values = {name: value for name, value in expressions.names.items() if not name.startswith("__")}
    return Module(path, source, values, expressions.lines)


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
