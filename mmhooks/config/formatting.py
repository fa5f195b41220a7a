"""f-strings, str.format and the % operator, without the ways into objects that Python's own give."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from mmhooks.config.limits import MAX_FORMAT_NUMBER, Budget, Refusal

_NUMBER = re.compile(r"\d+")
_PERCENT = re.compile(r"%(?:\(([^)]*)\))?[#0\- +]*(\*|\d*)(?:\.(\*|\d*))?[hlL]?.?", re.DOTALL)


def format_value(value: Any, conversion: str | None, spec: str, budget: Budget) -> str:
    """Format one value as `{value!conversion:spec}` would.

    Args:
        value: what to format.
        conversion: 'r', 's', 'a' or None.
        spec: the text behind the colon.
        budget: is charged before the text is made.

    Raises:
        Refusal: the width or precision is out of all proportion.
    """
    _charge_padding(_NUMBER.findall(spec), spec, budget)
    budget.weigh(value)
    if conversion == "r":
        value = repr(value)
    elif conversion == "a":
        value = ascii(value)
    elif conversion == "s":
        value = str(value)
    text: str = format(value, spec)
    return text


class _Formatter(string.Formatter):
    """str.format with plain field names only: a dot or bracket in a field reads attributes of objects."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if "." in field_name or "[" in field_name:
            raise Refusal(
                f"the field {{{field_name}}} looks into an object; give the value itself: "
                "'{}'.format(x['key']) or '{name}'.format(name=x['key'])"
            )
        return super().get_field(field_name, args, kwargs)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if conversion not in (None, "r", "s", "a"):
            raise Refusal(f"!{conversion} is no conversion; there are !r, !s and !a")
        return value if conversion is None else format_value(value, conversion, "", self._budget)

    def format_field(self, value: Any, format_spec: str) -> str:
        return format_value(value, None, format_spec, self._budget)


def format_text(budget: Budget, template: str, /, *args: Any, **kwargs: Any) -> str:
    """Do what `template.format(*args, **kwargs)` does, for plain field names."""
    budget.text(len(template))
    return _Formatter(budget).vformat(template, args, kwargs)


def format_percent(template: str, values: Any, budget: Budget) -> str:
    """Do what `template % values` does, for widths and precisions of a sane size."""
    budget.text(len(template))
    for key, width, precision in _PERCENT.findall(template):
        if "(" in key:
            raise Refusal(f"the key {key!r} of a % format holds a bracket; use an f-string")
        _charge_padding([width, precision], template[:40], budget)
    # a mapping can be named by many fields, a tuple's elements by one each
    for _ in range(template.count("%") if isinstance(values, dict) else 1):
        budget.weigh(values)
    text: str = template % values
    return text


def _charge_padding(numbers: Sequence[str], spec: str, budget: Budget) -> None:
    for number in numbers:
        if number == "*" or len(number) > 4 or int(number or "0") > MAX_FORMAT_NUMBER:
            raise Refusal(f"width and precision must be numbers up to {MAX_FORMAT_NUMBER:,}, not as in {spec!r}")
        budget.text(int(number or "0"))
