"""What the updaters of both families refuse; ``owner`` is the class whose argument it is, for the message."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Rational, Real
from typing import Any

from mmhooks.checks import check_number
from mmhooks.errors import ConfigError, nearest
from mmhooks.hooks.updater.schedules import ANNEALINGS, Annealing

WARMUPS = ("constant", "linear", "exp")

#: For all param groups, or for each of them, or for each of them by the optimizer's name.
NumbersOfGroups = float | list[float] | dict[Any, list[float]]


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_float(value: Any) -> bool:
    """Tell whether a value is a float, of NumPy too: the real numbers of both that are no integers and no fractions."""
    return isinstance(value, Real) and not isinstance(value, Rational)


def check_integer(owner: str, name: str, value: Any) -> int:
    """Check that an argument is an integer.

    Raises:
        ConfigError: it is not.
    """
    if not _is_integer(value):
        raise ConfigError(f"{owner}'s {name} must be an integer, not {value!r}")
    return int(value)


def check_warmup(owner: str, warmup: Any, iters: Any, ratio: Any) -> tuple[Any, Any]:
    """Check the arguments of a warmup; where there is none, they may be any numbers, or None.

    Returns:
        ``warmup_iters`` and ``warmup_ratio``.

    Raises:
        ConfigError: a warmup that cannot be.
    """
    if warmup is not None and not (isinstance(warmup, str) and warmup in WARMUPS):
        near = nearest(str(warmup), WARMUPS)
        raise ConfigError(f"{owner}'s warmup must be 'constant', 'linear', 'exp' or None, not {warmup!r}{near}")
    iters = iters if iters is None else check_number(owner, "warmup_iters", iters)
    ratio = ratio if ratio is None else check_number(owner, "warmup_ratio", ratio)
    if warmup is not None:
        if iters is None or iters <= 0:
            raise ConfigError(f"{owner}'s warmup={warmup!r} needs a positive warmup_iters, not {iters!r}")
        check_number(owner, "warmup_ratio", ratio, above=0, maximum=1)
    return iters, ratio


def check_step(owner: str, step: Any) -> int | list[int]:
    """Check the argument ``step``.

    Raises:
        ConfigError: it is neither a positive integer nor a list of them.
    """
    steps = step if isinstance(step, list) else [step]
    if not all(_is_integer(one) and one > 0 for one in steps):
        raise ConfigError(f"{owner}'s step must be a positive integer or a list of them, not {step!r}")
    return [int(one) for one in steps] if isinstance(step, list) else int(step)


def check_target(owner: str, value: str, **arguments: Any) -> tuple[float | None, ...]:
    """Check that an annealing ends at a value or at a ratio, not at both or none.

    Args:
        owner: whose arguments they are.
        value: what moves: ``lr`` or ``momentum``.
        **arguments: the two arguments.

    Raises:
        ConfigError: not one of them is given, or it is no number.
    """
    given = [one for one in arguments.values() if one is not None]
    if len(given) != 1:
        raise ConfigError(
            f"{owner} takes {' or '.join(arguments)}, where the {value} ends: give one, not "
            f"{'both' if given else 'none'}"
        )
    return tuple(None if one is None else check_number(owner, name, one) for name, one in arguments.items())


def check_percent(owner: str, name: str, value: Any) -> float:
    """Check that an argument is a float from 0 to 1.

    Raises:
        ConfigError: it is not; an integer is not either.
    """
    if not _is_float(value) or not 0 <= value <= 1:
        raise ConfigError(f"{owner}'s {name} must be a float from 0.0 to 1.0, not {value!r}")
    return float(value)


def check_by_iteration(owner: str, by_epoch: Any) -> None:
    """Check that a policy that moves by iteration is not to move by epoch.

    Raises:
        ConfigError: it is.
    """
    if by_epoch:
        raise ConfigError(f"{owner} moves by iteration only: write by_epoch=False, not {by_epoch!r}")


def annealing_of(owner: str, anneal_strategy: Any) -> Annealing:
    """Look up an ``anneal_strategy``.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return ANNEALINGS[anneal_strategy]
    except (KeyError, TypeError):
        raise ConfigError(f"{owner}'s anneal_strategy must be 'cos' or 'linear', not {anneal_strategy!r}") from None


def cycle_ratios(owner: str, target_ratio: Any) -> tuple[float, float]:
    """Read a ``target_ratio``: the peak, and the lowest value where it is given.

    Raises:
        ConfigError: it is neither a float nor a tuple of one or two numbers.
    """
    if _is_float(target_ratio):
        peak = check_number(owner, "target_ratio", target_ratio)
        return peak, peak / 1e5
    if not isinstance(target_ratio, tuple) or not 1 <= len(target_ratio) <= 2:
        raise ConfigError(
            f"{owner}'s target_ratio must be a float or a tuple of one or two numbers, such as (10, 1e-4), "
            f"not {target_ratio!r}{'; write it as a tuple' if isinstance(target_ratio, list) else ''}"
        )
    ratios = _numbers(owner, "target_ratio", target_ratio)
    return (ratios[0], ratios[1] if len(ratios) == 2 else ratios[0] / 1e5)


def check_cycle(owner: str, cyclic_times: Any, step_ratio_up: Any) -> tuple[float, float]:
    """Check how many cycles there are, and which part of each is the way to the peak.

    Raises:
        ConfigError: one of the two is out of range.
    """
    return (
        check_number(owner, "cyclic_times", cyclic_times, above=0),
        check_number(owner, "step_ratio_up", step_ratio_up, minimum=0, below=1),
    )


def cycle_length(max_iters: int, cyclic_times: Any) -> Any:
    """Compute how many iterations a cycle lasts.

    Raises:
        ConfigError: there are more cycles than iterations.
    """
    length = max_iters // cyclic_times
    if length == 0:
        raise ConfigError(f"cyclic_times={cyclic_times} is more than the {max_iters} iterations of this run")
    return length


def check_periods(owner: str, periods: Any, restart_weights: Any) -> tuple[list[float], list[float]]:
    """Check the periods of restarts, and that each has a weight.

    Raises:
        ConfigError: they differ in number, or are no numbers.
    """
    for name, values in (("periods", periods), ("restart_weights", restart_weights)):
        if not isinstance(values, (list, tuple)):
            raise ConfigError(f"{owner}'s {name} must be a list of numbers, not {values!r}")
    if len(periods) != len(restart_weights):
        raise ConfigError(
            f"{owner}'s restart_weights={restart_weights!r} must have as many values as periods={periods!r}: "
            f"{len(periods)}, not {len(restart_weights)}"
        )
    return _numbers(owner, "periods", periods, minimum=0), _numbers(owner, "restart_weights", restart_weights)


def check_numbers_of_groups(
    owner: str, name: str, value: Any, *, float_alone: bool = False, minimum: float | None = None
) -> NumbersOfGroups:
    """Check an argument that holds for all param groups, or gives a list for each of them, or a dict of lists.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: its value.
        float_alone: a value for all param groups must be a float, not an integer.
        minimum: the least that is allowed.

    Raises:
        ConfigError: it is of another type, or holds a number that is not finite or too small.
    """
    if _is_float(value) or (isinstance(value, Real) and not isinstance(value, bool) and not float_alone):
        return check_number(owner, name, value, minimum=minimum)
    if isinstance(value, list):
        return _numbers(owner, name, value, minimum)
    if not isinstance(value, dict):
        raise ConfigError(
            f"{owner}'s {name} must be a {'float' if float_alone else 'number'}, a list with one for each param group, "
            f"or a dict with such a list for each optimizer, not {value!r}"
        )
    for key, one in value.items():
        if not isinstance(one, (list, tuple)):
            raise ConfigError(f"{owner}'s {name} must have a list of numbers for the optimizer {key!r}, not {one!r}")
    return {key: _numbers(owner, f"{name}[{key!r}]", one, minimum) for key, one in value.items()}


def _numbers(owner: str, name: str, values: Sequence[Any], minimum: float | None = None) -> list[float]:
    return [check_number(owner, f"{name}[{i}]", value, minimum=minimum) for i, value in enumerate(values)]


def numbers_of_groups(argument: str, value: NumbersOfGroups, name: str | None, optimizer: Any) -> Sequence[float]:
    """Give the number for each param group of an optimizer.

    Args:
        argument: the name of the argument.
        value: its value; see `check_numbers_of_groups`.
        name: the optimizer's name where there are several. One alone goes by its class.
        optimizer: the optimizer.

    Raises:
        ConfigError: a list of the wrong length, or a dict that does not have the optimizer.
    """
    groups = len(optimizer.param_groups)
    names = [name] if name is not None else [cls.__name__ for cls in type(optimizer).__mro__]
    if isinstance(value, dict):
        found = next((value[one] for one in names if one in value), None)
        if found is None:
            raise ConfigError(
                f"{argument} must have a list of {groups} numbers for the optimizer {names[0]!r}; it is {value!r}"
            )
        return found  # MMCV does not look at its length either
    if isinstance(value, list):
        if len(value) != groups:
            raise ConfigError(
                f"{argument} has {len(value)} values for the {groups} param groups of {names[0]}: {value!r}"
            )
        return value
    return [value] * groups
