"""The value of an expression, computed by walking its syntax tree. Python itself never runs it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from mmhooks.config.advice import cause_of, located, near, refused, shown
from mmhooks.config.formatting import format_value
from mmhooks.config.functions import FUNCTIONS, call_function, call_method
from mmhooks.config.limits import MAX_DEPTH, Budget, Refusal
from mmhooks.config.operators import UNARY, binary, compare
from mmhooks.config.scalars import read_scalar
from mmhooks.config.templates import BASE_KEY, FILE_NAMES, TEMPLATE, Pending, Templates, keys_of
from mmhooks.errors import ConfigError

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

_SMALL = frozenset({bool, float, type(None)})
_LARGE = 1 << 63


class Expressions:
    """Evaluates the expressions of one config file.

    Args:
        path: the file, for messages.
        templates: what the templates of the file stand for.
        budget: the work that is left.

    Attributes:
        names: what the file has assigned so far.
        lines: the line of each name's last assignment.
    """

    def __init__(self, path: str, templates: Templates, budget: Budget) -> None:
        self.path = path
        self.budget = budget
        self.names: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self._scopes = [self.names]  # comprehensions add one each
        self._templates = templates
        self._depth = 0

    def evaluate(self, node: ast.expr) -> Any:
        """Give the value of an expression.

        Raises:
            ConfigError: the expression is no data, or cannot be computed; says where and why.
        """
        if type(node) is ast.Constant:  # most nodes are one, and most of them need no look at their size
            value: Any = node.value
            kind = type(value)
            if (
                kind in _SMALL
                or (kind is int and value < _LARGE)  # a constant has no sign
                or (kind is str and len(value) < 16 and "{" not in value)
            ):
                self.budget.left -= 1
                return value
        self._depth = depth = self._depth + 1
        try:
            self.budget.left -= 1
            if self.budget.left < 0 or depth > MAX_DEPTH:
                self._refuse_more()
            handler = self._HANDLERS.get(type(node))
            if handler is None:
                raise refused(node)
            value = handler(self, node)
        except ConfigError:
            raise
        except DATA_ERRORS as error:  # nothing goes on after an error, so the depth may stay as it is
            raise located(self.path, node.lineno, error) from cause_of(error)
        self._depth = depth - 1
        return value

    def _refuse_more(self) -> None:
        self.budget.step()
        raise Refusal(f"the expression is nested more than {MAX_DEPTH} deep; split it over several names")

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
        self._key(key)
        if isinstance(key, slice):
            self.budget.step(len(container))
            value = self.budget.argument(value)
        container[key] = value

    def get_item(self, container: Any, key: Any) -> Any:
        """Do `container[key]`, charged for a slice's copy."""
        self._key(key)
        if isinstance(key, slice) and type(container) is not range:
            self.budget.step(len(container))
        try:
            return container[key]
        except KeyError as error:
            raise Refusal(f"KeyError: the dict has no key {shown(key)}{near(key, container)}") from error

    def look_up(self, node: ast.Name) -> Any:
        """Give what a name was bound to earlier in the file."""
        name = node.id
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in FUNCTIONS:
            raise Refusal(f"the function {name} is no value; call it, or write its name as a string: '{name}'")
        if name in FILE_NAMES:
            raise Refusal(f"the template {name} belongs in quotes: '{{{{ {name} }}}}'")
        if name.startswith("__"):
            raise Refusal(
                f"the name {name!r} belongs to Python and is not read; for the folder of the file write "
                "'{{ fileDirname }}'"
            )
        known = [*(key for scope in self._scopes for key in scope), "True", "False", "None"]
        raise Refusal(f"the name {shown(name)} is not defined above this line{near(name, known)}")

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
            if len(value) > 15:
                self.budget.text(len(value))
            return self._filled(value, node.lineno) if "{" in value else value
        if isinstance(value, int):
            self.budget.integer(value.bit_length())
        elif isinstance(value, bytes):
            self.budget.text(len(value))
        elif value is ...:
            raise Refusal("... stands for nothing in a config; write the value, or None")
        return value

    def _filled(self, text: str, line: int, f_string: bool = False) -> Any:
        filled = self._templates.fill(text, line, f_string)
        return self._put_in(filled) if isinstance(filled, Pending) else filled

    def _put_in(self, pending: Pending) -> Any:
        """Give a base's value to compute with, or, where `_base_` is still to come, what stands for it."""
        if BASE_KEY not in self.names:
            return pending
        return self._templates.put_in(pending, self.names[BASE_KEY], self.lines.get(BASE_KEY, 1))

    def _list(self, node: ast.List) -> list[Any]:
        return self._elements(node.elts)

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._elements(node.elts))

    def _set(self, node: ast.Set) -> Any:
        if len(node.elts) == 1 and isinstance(node.elts[0], ast.Set) and len(node.elts[0].elts) == 1:
            return self._unquoted(node.elts[0].elts[0], node.lineno)
        return {self._key(value) for value in self._elements(node.elts)}

    def _unquoted(self, inner: ast.expr, line: int) -> Any:
        """Read `{{ _base_.a.b }}` or `{{'$NAME:default'}}` outside of quotes, in Python's eyes a set in a set."""
        keys: list[str] = []
        part = inner
        while isinstance(part, ast.Attribute):
            keys.insert(0, part.attr)
            part = part.value
        if keys and isinstance(part, ast.Name) and part.id == BASE_KEY:
            return self._put_in(Pending((keys_of(".".join(keys)),), line))
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            found = TEMPLATE.fullmatch(f"{{{{{inner.value}}}}}")
            value = None if found is None or found["env"] is None else self._templates.value_of(found)
            if isinstance(value, str):
                return read_scalar(value)
        value = self.evaluate(inner)
        raise TypeError(f"a set in a set: {{{{ {value!r:.40} }}}}; sets hold no sets, write a list")

    def _dict(self, node: ast.Dict) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                made.update(self._mapping(self.evaluate(value)))
            else:
                made[self._key(self.evaluate(key))] = self.evaluate(value)
        return made

    def _key(self, value: Any) -> Any:
        if type(value) is not str:
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
        if target.id in self.names or (len(self._scopes) > 1 and any(target.id in scope for scope in self._scopes)):
            raise Refusal(f"{target.id!r} is a value of this file, and a value cannot be called")
        positional, named = self._arguments(node)
        if target.id == "dict" and not positional:  # most of what configs are made of
            return named
        return call_function(target.id, self.budget, positional, named)

    def _arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        positional = self._elements(node.args) if node.args else []
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            if keyword.arg is None:
                self._spread(value, named)
            elif keyword.arg in named:
                raise TypeError(f"the argument {keyword.arg!r} is given twice")
            else:
                named[keyword.arg] = value
        return positional, named

    def _spread(self, value: Any, named: dict[str, Any]) -> None:
        for key, item in self._mapping(value).items():
            if not isinstance(key, str):
                raise TypeError("keywords must be strings")
            if key in named:
                raise TypeError(f"the argument {key!r} is given twice")
            named[key] = item

    def _f_string(self, node: ast.JoinedStr) -> str:
        parts: list[str] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                spec = "" if part.format_spec is None else self.evaluate(part.format_spec)
                conversion = None if part.conversion < 0 else chr(part.conversion)
                parts.append(format_value(self.evaluate(part.value), conversion, spec, self.budget))
            elif isinstance(part, ast.Constant):
                parts.append(str(self._filled(str(part.value), node.lineno, f_string=True)))
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
