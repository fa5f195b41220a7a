"""The value of an expression, computed by walking its syntax tree. Python itself never runs it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from mmhooks.config.advice import cause_of, located, refused
from mmhooks.config.formatting import format_value
from mmhooks.config.functions import FUNCTIONS, call_function, call_method
from mmhooks.config.limits import MAX_DEPTH, Budget, Refusal
from mmhooks.config.operators import UNARY, binary, compare
from mmhooks.config.templates import BaseReference, fill_text, unquoted_reference
from mmhooks.errors import ConfigError, nearest

# What evaluating plain data can raise; anything else would be a mistake of the reader's own.
DATA_ERRORS = (
    Refusal,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    MemoryError,
)


class Expressions:
    """Evaluates the expressions of one config file.

    Args:
        path: the file, for messages.
        variables: the values of `{{ fileDirname }}` and its like.
        budget: the work that is left.

    Attributes:
        names: what the file has assigned so far.
        lines: the line of each name's last assignment.
    """

    def __init__(self, path: str, variables: dict[str, str], budget: Budget) -> None:
        self.path = path
        self.budget = budget
        self.names: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self._scopes = [self.names]  # comprehensions add one each
        self._variables = variables
        self._depth = 0

    def evaluate(self, node: ast.expr) -> Any:
        """Give the value of an expression.

        Raises:
            ConfigError: the expression is no data, or cannot be computed; says where and why.
        """
        self._depth += 1
        try:
            self.budget.step()
            if self._depth > MAX_DEPTH:
                raise Refusal(f"the expression is nested more than {MAX_DEPTH} deep; split it over several names")
            handler = self._HANDLERS.get(type(node))
            if handler is None:
                raise refused(node)
            return handler(self, node)
        except ConfigError:
            raise
        except DATA_ERRORS as error:
            raise located(self.path, node.lineno, error) from cause_of(error)
        finally:
            self._depth -= 1

    def assign(self, target: ast.expr, value: Any) -> None:
        """Bind a value to a name, to several names, or to a key.

        Raises:
            Refusal: the target is something else.
        """
        if isinstance(target, ast.Name):
            self._scopes[-1][target.id] = value
            if len(self._scopes) == 1:
                self.lines[target.id] = target.lineno
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target.elts, list(self.budget.iterate(value)))
        elif isinstance(target, ast.Subscript):
            container, key = self.evaluate(target.value), self.evaluate(target.slice)
            self.set_item(container, key, value)
        elif isinstance(target, ast.Attribute):
            raise Refusal(f"an attribute cannot be assigned; write {ast.unparse(target.value)}[{target.attr!r}] = ...")
        else:
            raise refused(target)

    def set_item(self, container: Any, key: Any, value: Any) -> None:
        """Do `container[key] = value` for a list or dict that the config made."""
        if type(container) not in (list, dict):
            raise TypeError(f"a {type(container).__name__} value takes no item assignment")
        self.budget.weigh(key)
        if isinstance(key, slice):
            self.budget.step(len(container))
            value = self.budget.argument(value)
        container[key] = value

    def get_item(self, container: Any, key: Any) -> Any:
        """Do `container[key]`, charged for a slice's copy."""
        self.budget.weigh(key)
        if isinstance(key, slice) and type(container) is not range:
            self.budget.step(len(container))
        try:
            return container[key]
        except KeyError as error:
            hint = nearest(str(key), [str(name) for name in container])
            raise Refusal(f"KeyError: the dict has no key {key!r}{hint}") from error

    def look_up(self, node: ast.Name) -> Any:
        """Give what a name was bound to earlier in the file."""
        name = node.id
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in FUNCTIONS:
            raise Refusal(f"the function {name} is no value; call it, or write its name as a string: '{name}'")
        if name in self._variables:
            raise Refusal(f"the template {name} belongs in quotes: '{{{{ {name} }}}}'")
        if name.startswith("__"):
            raise Refusal(
                f"the name {name!r} belongs to Python and is not read; for the folder of the file write "
                "'{{ fileDirname }}'"
            )
        known = [*(key for scope in self._scopes for key in scope), "True", "False", "None"]
        raise Refusal(f"the name {name!r} is not defined above this line{nearest(name, known)}")

    def _unpack(self, targets: Sequence[ast.expr], values: list[Any]) -> None:
        stars = [place for place, target in enumerate(targets) if isinstance(target, ast.Starred)]
        missing = len(targets) - len(stars) - len(values)
        if len(stars) > 1 or missing > 0 or (missing < 0 and not stars):
            raise ValueError(f"{len(values)} values cannot be spread over {len(targets)} names")
        if stars:
            start, taken = stars[0], len(values) - len(targets) + 1
            values[start : start + taken] = [values[start : start + taken]]
        for target, value in zip(targets, values, strict=True):
            self.assign(target.value if isinstance(target, ast.Starred) else target, value)

    def _elements(self, nodes: Sequence[ast.expr]) -> list[Any]:
        values: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values.extend(self.budget.iterate(self.evaluate(node.value)))
            else:
                values.append(self.evaluate(node))
        return values

    def _constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, str):
            self.budget.text(len(value))
            return fill_text(value, self._variables, node.lineno)
        if isinstance(value, int):
            self.budget.integer(value.bit_length())
        elif value is ...:
            raise Refusal("... stands for nothing in a config; write the value, or None")
        return value

    def _list(self, node: ast.List) -> list[Any]:
        return self._elements(node.elts)

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._elements(node.elts))

    def _set(self, node: ast.Set) -> set[Any] | BaseReference:
        reference = unquoted_reference(node)
        if reference is not None:
            return reference
        return {self._key(value) for value in self._elements(node.elts)}

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(self._mapping(self.evaluate(value)))
            else:
                made[self._key(self.evaluate(key))] = self.evaluate(value)
        return made

    def _key(self, value: Any) -> Any:
        self.budget.weigh(value)  # hashing walks a tuple to its end
        return value

    def _mapping(self, value: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise Refusal(f"** spreads a dict, and this is a {type(value).__name__}")
        self.budget.step(len(value))
        return value

    def _subscript(self, node: ast.Subscript) -> Any:
        return self.get_item(self.evaluate(node.value), self.evaluate(node.slice))

    def _slice(self, node: ast.Slice) -> slice:
        bounds = (node.lower, node.upper, node.step)
        return slice(*(None if bound is None else self.evaluate(bound) for bound in bounds))

    def _unary(self, node: ast.UnaryOp) -> Any:
        return UNARY[type(node.op)](self.evaluate(node.operand))

    def _binary(self, node: ast.BinOp) -> Any:
        return binary(type(node.op), self.evaluate(node.left), self.evaluate(node.right), self.budget)

    def _boolean(self, node: ast.BoolOp) -> Any:
        stop = isinstance(node.op, ast.Or)
        for part in node.values:
            value = self.evaluate(part)
            if bool(value) is stop:
                break
        return value

    def _compare(self, node: ast.Compare) -> Any:
        left = self.evaluate(node.left)
        for kind, part in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(part)
            result = compare(type(kind), left, right, self.budget)
            if not result:
                break
            left = right
        return result

    def _conditional(self, node: ast.IfExp) -> Any:
        return self.evaluate(node.body if self.evaluate(node.test) else node.orelse)

    def _call(self, node: ast.Call) -> Any:
        target = node.func
        if isinstance(target, ast.Attribute):
            receiver = self.evaluate(target.value)
            return call_method(receiver, target.attr, self.budget, *self._arguments(node))
        if not isinstance(target, ast.Name):
            raise refused(target)
        if any(target.id in scope for scope in self._scopes):
            raise Refusal(f"{target.id!r} is a value of this file, and a value cannot be called")
        return call_function(target.id, self.budget, *self._arguments(node))

    def _arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        positional = self._elements(node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            pairs = self._mapping(value) if keyword.arg is None else {keyword.arg: value}
            for name in pairs:
                if name in named:
                    raise TypeError(f"the argument {name!r} is given twice")
            named.update(pairs)
        return positional, named

    def _f_string(self, node: ast.JoinedStr) -> str:
        parts: list[str] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                spec = "" if part.format_spec is None else self.evaluate(part.format_spec)
                conversion = None if part.conversion < 0 else chr(part.conversion)
                parts.append(format_value(self.evaluate(part.value), conversion, spec, self.budget))
            elif isinstance(part, ast.Constant):
                parts.append(str(fill_text(str(part.value), self._variables, node.lineno, "f-string")))
        self.budget.text(sum(len(part) for part in parts))
        return "".join(parts)

    def _rounds(self, generators: Sequence[ast.comprehension], values: Any) -> Iterator[None]:
        """Bind a comprehension's names, once for each element that it makes."""
        first, *rest = generators
        if first.is_async:
            raise Refusal("an asynchronous comprehension is not read in a config; leave `async` out")
        for value in self.budget.iterate(values):
            self.assign(first.target, value)
            if all(self.evaluate(test) for test in first.ifs):
                if rest:
                    yield from self._rounds(rest, self.evaluate(rest[0].iter))
                else:
                    yield

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Any:
        outermost = self.evaluate(node.generators[0].iter)  # outside of the new scope, as in Python
        self._scopes.append({})
        try:
            rounds = self._rounds(node.generators, outermost)
            if isinstance(node, ast.DictComp):
                return {self._key(self.evaluate(node.key)): self.evaluate(node.value) for _ in rounds}
            values = (self.evaluate(node.elt) for _ in rounds)
            if isinstance(node, ast.SetComp):
                return {self._key(value) for value in values}
            return list(values) if isinstance(node, ast.ListComp) else iter(list(values))
        finally:
            self._scopes.pop()

    _HANDLERS: ClassVar[dict[type[ast.expr], Callable[[Expressions, Any], Any]]] = {
        ast.BinOp: _binary,
        ast.BoolOp: _boolean,
        ast.Call: _call,
        ast.Compare: _compare,
        ast.Constant: _constant,
        ast.Dict: _dict,
        ast.DictComp: _comprehension,
        ast.GeneratorExp: _comprehension,
        ast.IfExp: _conditional,
        ast.JoinedStr: _f_string,
        ast.List: _list,
        ast.ListComp: _comprehension,
        ast.Name: look_up,
        ast.Set: _set,
        ast.SetComp: _comprehension,
        ast.Slice: _slice,
        ast.Subscript: _subscript,
        ast.Tuple: _tuple,
        ast.UnaryOp: _unary,
    }
