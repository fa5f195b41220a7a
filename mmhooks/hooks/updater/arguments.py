"""What the updaters of both families refuse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeGuard

from mmhooks.errors import ConfigError, nearest
from mmhooks.hooks.updater.schedules import ANNEALINGS, Annealing

WARMUPS = ("constant", "linear", "exp")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, Real) and not math.isnan(value)


def check_number(**arguments: Any) -> None:
    """Check that arguments are finite numbers.

    Raises:
        ConfigError: one is not.
    """
    for name, value in arguments.items():
        if not _is_number(value) or math.isinf(value):
            kind = "a finite number" if isinstance(value, Real) else "a number"
            raise ConfigError(f"{name} must be {kind}, not {value!r}")


def check_positive(**arguments: Any) -> None:
    """Check that arguments are numbers above 0.

    Raises:
        ConfigError: one is not.
    """
    for name, value in arguments.items():
        if not _is_number(value) or not value > 0:
            raise ConfigError(f"{name} must be a positive number, not {value!r}")


def check_warmup(warmup: Any, iters: Any, ratio: Any) -> None:
    """Check the arguments of a warmup.

    Raises:
        ConfigError: a warmup that cannot be.
    """
    if warmup is None:
        return
    if warmup not in WARMUPS:
        near = nearest(str(warmup), WARMUPS)
        raise ConfigError(f"warmup must be 'constant', 'linear', 'exp' or None, not {warmup!r}{near}")
    if not _is_number(iters) or not iters > 0:
        raise ConfigError(f"warmup={warmup!r} needs a positive warmup_iters, not {iters!r}")
    check_decay(warmup_ratio=ratio)


def check_step(step: Any) -> None:
    """Check the argument ``step``.

    Raises:
        ConfigError: it is neither a positive integer nor a list of them.
    """
    steps = step if isinstance(step, list) else [step]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in steps):
        raise ConfigError(f"step must be a positive integer or a list of them, not {step!r}")


def check_target(value: str, **arguments: Any) -> None:
    """Check that an annealing ends at a value or at a ratio, not at both or none.

    Args:
        value: what moves: ``lr`` or ``momentum``.
        **arguments: the two arguments.

    Raises:
        ConfigError: not one of them is given, or it is no number.
    """
    given = {name: one for name, one in arguments.items() if one is not None}
    if len(given) != 1:
        names = " or ".join(arguments)
        raise ConfigError(f"{names}? The {value} ends at one of them: give one, not {'both' if given else 'none'}")
    check_number(**given)


def check_percent(**arguments: Any) -> None:
    """Check that arguments are floats from 0 to 1.

    Raises:
        ConfigError: one is not; an integer is not either.
    """
    for name, value in arguments.items():
        if not isinstance(value, float) or not 0 <= value <= 1:
            raise ConfigError(f"{name} must be a float from 0.0 to 1.0, not {value!r}")


def check_by_iteration(by_epoch: Any) -> None:
    """Check that a policy that moves by iteration is not to move by epoch.

    Raises:
        ConfigError: it is.
    """
    if by_epoch:
        raise ConfigError(f"this policy moves by iteration only: write by_epoch=False, not {by_epoch!r}")


def annealing_of(anneal_strategy: Any) -> Annealing:
    """Look up an ``anneal_strategy``.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return ANNEALINGS[anneal_strategy]
    except (KeyError, TypeError):
        raise ConfigError(f"anneal_strategy must be 'cos' or 'linear', not {anneal_strategy!r}") from None


def cycle_ratios(target_ratio: Any) -> tuple[float, float]:
    """Read a ``target_ratio``: the peak, and the lowest value where it is given.

    Raises:
        ConfigError: it is neither a float nor a tuple of one or two numbers.
    """
    ratios = (target_ratio,) if isinstance(target_ratio, float) else target_ratio
    if isinstance(ratios, tuple) and 1 <= len(ratios) <= 2 and all(_is_number(ratio) for ratio in ratios):
        return (ratios[0], ratios[1] if len(ratios) == 2 else ratios[0] / 1e5)
    raise ConfigError(
        "target_ratio must be a float or a tuple of one or two numbers, such as (10, 1e-4), "
        f"not {target_ratio!r}{'; write it as a tuple' if isinstance(target_ratio, list) else ''}"
    )


def check_cycle(cyclic_times: Any, step_ratio_up: Any) -> None:
    """Check how many cycles there are, and which part of each is the way to the peak.

    Raises:
        ConfigError: one of the two is out of range.
    """
    check_positive(cyclic_times=cyclic_times)
    if not _is_number(step_ratio_up) or not 0 <= step_ratio_up < 1:
        raise ConfigError(f"step_ratio_up must be in [0, 1), not {step_ratio_up!r}")


def cycle_length(max_iters: int, cyclic_times: Any) -> Any:
    """Compute how many iterations a cycle lasts.

    Raises:
        ConfigError: there are more cycles than iterations.
    """
    length = max_iters // cyclic_times
    if length == 0:
        raise ConfigError(f"cyclic_times={cyclic_times} is more than the {max_iters} iterations of this run")
    return length


def check_periods(periods: Any, restart_weights: Any) -> None:
    """Check the periods of restarts, and that each has a weight.

    Raises:
        ConfigError: they differ in number, or are no numbers.
    """
    for name, values in (("periods", periods), ("restart_weights", restart_weights)):
        if not isinstance(values, (list, tuple)) or not all(_is_number(value) for value in values):
            raise ConfigError(f"{name} must be a list of numbers, not {values!r}")
    if not all(period >= 0 for period in periods):
        raise ConfigError(f"periods must not be negative: {periods!r}")
    if len(periods) != len(restart_weights):
        raise ConfigError(
            f"restart_weights={restart_weights!r} must have as many values as periods={periods!r}: "
            f"{len(periods)}, not {len(restart_weights)}"
        )


def check_decay(**arguments: Any) -> None:
    """Check that arguments are in (0, 1].

    Raises:
        ConfigError: one is not.
    """
    for name, value in arguments.items():
        if not _is_number(value) or not 0 < value <= 1:
            raise ConfigError(f"{name} must be in (0, 1], not {value!r}")


def check_numbers_of_groups(single: type, **arguments: Any) -> None:
    """Check arguments that hold for all param groups, or give a list for each of them, or a dict of lists.

    Args:
        single: the type of a value for all param groups.
        **arguments: the arguments.

    Raises:
        ConfigError: one is of another type.
    """
    for name, value in arguments.items():
        if not isinstance(value, (single, list, dict)):
            kind = "float" if single is float else "number"
            raise ConfigError(
                f"{name} must be a {kind}, a list with one for each param group, or a dict with such a list for each "
                f"optimizer, not {value!r}"
            )


def numbers_of_groups(argument: str, value: Any, name: str | None, optimizer: Any) -> Sequence[float]:
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
    if _is_number(value):
        return [value] * groups
    names = [name] if name is not None else [cls.__name__ for cls in type(optimizer).__mro__]
    if isinstance(value, dict):
        found = next((value[one] for one in names if one in value), None)
        if not isinstance(found, (list, tuple)):
            raise ConfigError(
                f"{argument} must have a list of {groups} numbers for the optimizer {names[0]!r}; it is {value!r}"
            )
        value = found  # MMCV does not look at its length either
    elif len(value) != groups:
        raise ConfigError(f"{argument} has {len(value)} values for the {groups} param groups of {names[0]}: {value!r}")
    if not all(_is_number(one) for one in value):
        raise ConfigError(f"{argument} must hold numbers, not {value!r}")
    return value  # type: ignore[no-any-return]
