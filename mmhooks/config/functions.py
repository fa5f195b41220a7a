"""The functions and methods that a config may call. Nothing else is ever called."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from mmhooks.config.advice import near
from mmhooks.config.formatting import format_text
from mmhooks.config.limits import MAX_FORMAT_NUMBER, TEXTS, Budget, Refusal
from mmhooks.config.operators import binary

_NUMBERS = frozenset({int, bool, float, complex})

# Each takes the budget, then what the config gave, and charges for it before Python's own function sees it.
Call = Callable[..., Any]


def call_function(name: str, budget: Budget, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call one of FUNCTIONS.

    Args:
        name: as the config writes it.
        budget: is charged before the call.
        args: the positional arguments.
        kwargs: the keyword arguments.

    Raises:
        Refusal: there is no such function in a config.
    """
    if name not in FUNCTIONS:
        raise Refusal(
            f"{name}(...) cannot be called: a config is data and runs no code{near(name, FUNCTIONS)}; "
            f"there are {', '.join(sorted(FUNCTIONS))}"
        )
    return FUNCTIONS[name](budget, *args, **kwargs)


def call_method(receiver: Any, name: str, budget: Budget, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call one of METHODS on a value the config made.

    Args:
        receiver: the value in front of the dot.
        name: the method.
        budget: is charged before the call.
        args: the positional arguments.
        kwargs: the keyword arguments.

    Raises:
        Refusal: values of that type have no such method in a config.
    """
    methods = METHODS.get(type(receiver), {})
    if name not in methods:
        kind = type(receiver).__name__
        known = ", ".join(f".{method}()" for method in methods) or "none"
        raise Refusal(
            f".{name}() of a {kind} value is not read in a config{near(name, methods)}; "
            f"the methods of a {kind} are: {known}"
        )
    return methods[name](budget, receiver, *args, **kwargs)


def _deep(function: Callable[..., Any]) -> Call:
    """A built-in that may look at all that its arguments hold: it compares, hashes or prints them."""

    def call(budget: Budget, /, *args: Any, **kwargs: Any) -> Any:
        named = {key: budget.argument(value) for key, value in kwargs.items()}
        return function(*map(budget.argument, args), **named)

    return call


def _flat(function: Callable[..., Any]) -> Call:
    """A built-in that takes its arguments' elements as they are."""

    def call(budget: Budget, /, *args: Any, **kwargs: Any) -> Any:
        return function(*map(budget.elements, args), **kwargs)

    return call


def _dict(budget: Budget, /, *args: Any, **kwargs: Any) -> dict[Any, Any]:
    budget.step(len(kwargs))
    return dict(
        *(budget.elements(value) if type(value) is dict else budget.argument(value) for value in args), **kwargs
    )


def _range(budget: Budget, *args: Any) -> range:
    values = range(*args)
    # len() fails on a range longer than a machine word, so its length is computed
    length = max(0, (values.stop - values.start + values.step - (1 if values.step > 0 else -1)) // values.step)
    budget.items(length)
    return values


def _sum(budget: Budget, values: Any, /, start: Any = 0) -> Any:
    if type(start) in TEXTS:
        raise TypeError("sum() of texts; write ''.join(...)")
    listed = list(budget.elements(values))
    if type(start) in _NUMBERS and all(type(value) in _NUMBERS for value in listed):
        return sum(listed, start)
    for value in listed:
        start = binary(ast.Add, start, value, budget)
    return start


def _round(budget: Budget, /, number: Any, ndigits: Any = None) -> Any:
    # round(1, -10**9) would compute 10 ** 10**9
    if type(ndigits) is int and abs(ndigits) > MAX_FORMAT_NUMBER:
        raise Refusal(f"round(..., {ndigits}) asks for too many digits; at most {MAX_FORMAT_NUMBER:,}")
    return round(number, ndigits)


def _int(budget: Budget, /, *args: Any, **kwargs: Any) -> int:
    value: int = _deep(int)(budget, *args, **kwargs)
    budget.integer(value.bit_length())
    return value


def _str(budget: Budget, value: Any = "", /) -> str:
    # one argument only: str(bytes, encoding) would import a codec
    budget.weigh(value)
    return str(value)


FUNCTIONS: dict[str, Call] = {
    "abs": _deep(abs),
    "bool": _deep(bool),
    "dict": _dict,
    "enumerate": _flat(enumerate),
    "float": _deep(float),
    "int": _int,
    "len": _flat(len),
    "list": _flat(list),
    "max": _deep(max),
    "min": _deep(min),
    "range": _range,
    "reversed": _flat(reversed),
    "round": _round,
    "set": _deep(set),
    "sorted": _deep(sorted),
    "str": _str,
    "sum": _sum,
    "tuple": _flat(tuple),
    "zip": _flat(zip),
}


Charge = Callable[[Budget, Any, tuple[Any, ...]], None]


def _method(name: str, charge: Charge | None = None, flat: bool = False) -> Call:
    """A method of the receiver's own, charged first for its arguments and for what it makes or moves.

    Args:
        name: the method.
        charge: the cost beyond the arguments.
        flat: whether it takes its arguments as they are, with no look at what they hold.
    """

    def call(budget: Budget, receiver: Any, /, *args: Any, **kwargs: Any) -> Any:
        if charge is not None:
            charge(budget, receiver, args)
        prepare = _flat if flat else _deep
        return prepare(getattr(receiver, name))(budget, *args, **kwargs)

    return call


def _charge_copy(budget: Budget, receiver: Any, args: tuple[Any, ...]) -> None:
    budget.items(len(receiver))


def _charge_shift(budget: Budget, receiver: Any, args: tuple[Any, ...]) -> None:
    budget.step(len(receiver) // 64)  # the elements behind the place are moved


def _charge_case(budget: Budget, receiver: Any, args: tuple[Any, ...]) -> None:
    budget.text(3 * len(receiver))  # one character can become three


def _charge_split(budget: Budget, receiver: str, args: tuple[Any, ...]) -> None:
    budget.items(len(receiver) // 2 + 1 if not args or type(args[0]) is not str else receiver.count(args[0]) + 1)


def _charge_replace(budget: Budget, receiver: str, args: tuple[Any, ...]) -> None:
    if len(args) >= 2 and type(args[0]) is str and type(args[1]) is str:
        growth = max(0, len(args[1]) - len(args[0]))
        budget.text(len(receiver) + receiver.count(args[0]) * growth)


def _join(budget: Budget, receiver: str, values: Any, /) -> str:
    parts = list(budget.elements(values))
    budget.text(sum(len(part) for part in parts if type(part) is str) + len(receiver) * len(parts))
    return receiver.join(parts)


def _get(budget: Budget, receiver: dict[Any, Any], key: Any, default: Any = None, /) -> Any:
    budget.weigh(key)
    return receiver.get(key, default)


def _pop(budget: Budget, receiver: dict[Any, Any], key: Any, /, *default: Any) -> Any:
    budget.weigh(key)
    return receiver.pop(key, *default)


def _update(budget: Budget, receiver: dict[Any, Any], /, *args: Any, **kwargs: Any) -> None:
    receiver.update(_dict(budget, *args, **kwargs))


METHODS: dict[type, dict[str, Call]] = {
    str: {
        "endswith": _method("endswith"),
        "format": format_text,
        "join": _join,
        "lower": _method("lower", _charge_case),
        "replace": _method("replace", _charge_replace),
        "split": _method("split", _charge_split),
        "startswith": _method("startswith"),
        "upper": _method("upper", _charge_case),
    },
    list: {
        "append": _method("append", flat=True),
        "copy": _method("copy", _charge_copy),
        "extend": _method("extend", flat=True),
        "insert": _method("insert", _charge_shift, flat=True),
        "pop": _method("pop", _charge_shift),
    },
    dict: {
        "copy": _method("copy", _charge_copy),
        "get": _get,
        "items": _method("items"),
        "keys": _method("keys"),
        "pop": _pop,
        "update": _update,
        "values": _method("values"),
    },
    set: {
        "copy": _method("copy", _charge_copy),
        "update": _method("update"),
    },
}
