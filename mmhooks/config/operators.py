"""The operators of a config's expressions, each charged before it is applied."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from mmhooks.config.formatting import format_percent
from mmhooks.config.limits import TEXTS, Budget, Refusal

_INTEGERS = frozenset({int, bool})
_SEQUENCES = frozenset({list, tuple})
_GROUPS = frozenset({set, dict})
_HASHED = frozenset({set, dict, type({}.keys())})

Apply = Callable[[Any, Any], Any]

# operator: (as an expression, as an augmented assignment, which changes a list in place as Python does)
_BINARY: dict[type[ast.operator], tuple[Apply, Apply]] = {
    ast.Add: (operator.add, operator.iadd),
    ast.Sub: (operator.sub, operator.isub),
    ast.Mult: (operator.mul, operator.imul),
    ast.Div: (operator.truediv, operator.itruediv),
    ast.FloorDiv: (operator.floordiv, operator.ifloordiv),
    ast.Mod: (operator.mod, operator.imod),
    ast.Pow: (operator.pow, operator.ipow),
    ast.LShift: (operator.lshift, operator.ilshift),
    ast.RShift: (operator.rshift, operator.irshift),
    ast.BitAnd: (operator.and_, operator.iand),
    ast.BitOr: (operator.or_, operator.ior),
    ast.BitXor: (operator.xor, operator.ixor),
}

UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}

_COMPARE: dict[type[ast.cmpop], Apply] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


def binary(kind: type[ast.operator], left: Any, right: Any, budget: Budget, in_place: bool = False) -> Any:
    """Apply a binary operator.

    Args:
        kind: the operator's class in `ast`.
        left: the left operand.
        right: the right operand.
        budget: is charged for the result before it is made.
        in_place: whether this is an augmented assignment.

    Raises:
        Refusal: the operator is not read, or its result would be too large.
    """
    if kind not in _BINARY:
        raise Refusal("the operator @ multiplies arrays, and a config holds none; write the values out")
    charge = _CHARGES.get(kind)
    if charge is not None:
        charge(left, right, budget)
    if kind is ast.Mod and type(left) in TEXTS:
        if type(left) is bytes:
            raise Refusal("bytes % values is not read in a config; write the bytes out")
        return format_percent(left, right, budget)
    if in_place and type(left) is list and kind is ast.Add:
        right = budget.elements(right)
    return _BINARY[kind][in_place](left, right)


def compare(kind: type[ast.cmpop], left: Any, right: Any, budget: Budget) -> Any:
    """Apply a comparison, `in` or `is`.

    Args:
        kind: the operator's class in `ast`.
        left: the left operand.
        right: the right operand.
        budget: is charged for what has to be looked at.
    """
    if kind not in (ast.Is, ast.IsNot):
        left = budget.argument(left)
        if not (kind in (ast.In, ast.NotIn) and type(right) in _HASHED):
            right = budget.argument(right)
    return _COMPARE[kind](left, right)


def _charge_add(left: Any, right: Any, budget: Budget) -> None:
    if type(left) in _INTEGERS and type(right) in _INTEGERS:
        budget.integer(max(left.bit_length(), right.bit_length()) + 1)
    elif type(left) in TEXTS and type(right) is type(left):
        budget.text(len(left) + len(right))
    elif type(left) in _SEQUENCES and type(right) is type(left):
        budget.items(len(left) + len(right))


def _charge_multiply(left: Any, right: Any, budget: Budget) -> None:
    if type(left) in _INTEGERS and type(right) in _INTEGERS:
        budget.integer(left.bit_length() + right.bit_length())
        return
    if type(left) in _INTEGERS:
        left, right = right, left
    if type(right) in _INTEGERS and type(left) in TEXTS:
        budget.text(len(left) * max(right, 0))
    elif type(right) in _INTEGERS and type(left) in _SEQUENCES:
        budget.items(len(left) * max(right, 0))


def _charge_power(left: Any, right: Any, budget: Budget) -> None:
    if type(left) in _INTEGERS and type(right) in _INTEGERS and right > 0:
        budget.integer(left.bit_length() * right)


def _charge_shift(left: Any, right: Any, budget: Budget) -> None:
    if type(left) in _INTEGERS and type(right) in _INTEGERS and right > 0:
        budget.integer(left.bit_length() + right)


def _charge_group(left: Any, right: Any, budget: Budget) -> None:
    if type(left) in _GROUPS and type(right) in _GROUPS:
        budget.items(len(left) + len(right))


_CHARGES: dict[type[ast.operator], Callable[[Any, Any, Budget], None]] = {
    ast.Add: _charge_add,
    ast.Mult: _charge_multiply,
    ast.Pow: _charge_power,
    ast.LShift: _charge_shift,
    ast.Sub: _charge_group,
    ast.BitAnd: _charge_group,
    ast.BitOr: _charge_group,
    ast.BitXor: _charge_group,
}
