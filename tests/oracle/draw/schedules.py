"""Strategies for lr_config and momentum_config, a policy each."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from draw.parts import Strategy, chance, merged, options, unit

gammas = st.one_of(st.sampled_from((0.1, 0.5)), unit)
shapes = st.sampled_from(("cos", "linear"))
steps = st.one_of(st.integers(1, 6), st.lists(st.integers(1, 12), min_size=1, max_size=3))
percents = st.one_of(st.floats(0.1, 0.9), st.sampled_from((0.0, 0.25, 0.3, 0.5, 1.0)))


def _warmups(by_epoch_allowed: bool) -> Strategy:
    keys: dict[str, Strategy] = {
        "warmup": st.sampled_from(("constant", "linear", "exp")),
        "warmup_iters": st.integers(1, 9),
    }
    optional: dict[str, Strategy] = {"warmup_ratio": st.one_of(unit, st.just(1.0))}
    if by_epoch_allowed:
        optional["warmup_by_epoch"] = chance(4)
    return st.one_of(st.just({}), st.fixed_dictionaries(keys, optional=optional))


def _policy(name: str, _always: dict[str, Strategy] | None = None, **optional: Strategy) -> Strategy:
    return options({"policy": st.just(name), **(_always or {})}, **optional)


def _target(value: str) -> Strategy:
    """The end of an annealing, absolute or relative: MMCV wants one of the two."""
    return st.one_of(
        st.fixed_dictionaries({f"min_{value}": st.floats(0, 0.05)}),
        st.fixed_dictionaries({f"min_{value}_ratio": st.floats(0, 1)}),
    )


def _cyclic(highest: float) -> Strategy:
    ratio = st.floats(0.1, highest)
    return _policy(
        "cyclic",
        target_ratio=st.one_of(ratio, st.tuples(ratio).map(list), st.tuples(ratio, ratio).map(list)),
        cyclic_times=st.integers(1, 3),
        step_ratio_up=st.floats(0, 0.95),
        anneal_strategy=shapes,
        gamma=st.one_of(unit, st.just(1)),
    )


def _restarts(draw: st.DrawFn) -> dict[str, Any]:
    """Periods that mostly, but not always, last as long as a run."""
    periods = draw(st.lists(st.integers(1, 6), min_size=0, max_size=2)) + [draw(st.sampled_from((100, 100, 100, 3)))]
    weights = draw(st.lists(st.floats(0.1, 2), min_size=len(periods), max_size=len(periods)))
    return {"policy": "CosineRestart", "periods": periods, "restart_weights": weights}


def _step(value: str) -> Strategy:
    return _policy("step", {"step": steps}, gamma=gammas, **{f"min_{value}": st.floats(0, 0.05)})


def _one_each(optimizer: dict[str, Any], low: float, high: float) -> Strategy:
    """One number for all param groups, or as many as there are, or (rarely) too many."""
    number = st.floats(low, high)
    groups = 2 if optimizer.get("groups") else 1
    several: dict[bool, Strategy] = {
        True: st.fixed_dictionaries({name: st.tuples(number).map(list) for name in ("first", "last")}),
        False: st.lists(number, min_size=groups, max_size=groups),
    }
    fitting = several[optimizer["kind"] == "several"]
    too_many = st.lists(number, min_size=3, max_size=3)
    return st.integers(1, 12).flatmap(lambda n: number if n < 8 else fitting if n < 12 else too_many)


def _counted(policy: Strategy, *, iterations_alone: bool = False) -> Strategy:
    """A policy with by_epoch, or without; cyclic and OneCycle refuse True."""
    values = (True, False, False, False, False, False) if iterations_alone else (True, False)
    return merged(policy, st.one_of(st.just({}), st.fixed_dictionaries({"by_epoch": st.sampled_from(values)})))


def lr_policies(by_epoch: bool, optimizer: dict[str, Any]) -> list[Strategy]:
    """Each lr policy."""
    one_cycle = _policy(
        "OneCycle",
        {"max_lr": _one_each(optimizer, 0.01, 0.5)},
        total_steps=st.integers(10, 60),
        pct_start=percents,
        anneal_strategy=shapes,
        div_factor=st.floats(1, 30),
        final_div_factor=st.floats(1, 1e4),
        three_phase=st.booleans(),
    )
    policies = [
        _counted(_policy("fixed")),
        _counted(_step("lr")),
        _counted(_policy("exp", {"gamma": gammas})),
        _counted(_policy("poly", power=st.sampled_from((0.5, 0.9, 1, 2.0)), min_lr=st.floats(0, 0.01))),
        _counted(_policy("inv", {"gamma": gammas}, power=st.floats(0.1, 2))),
        _counted(merged(_policy("CosineAnnealing"), _target("lr"))),
        _counted(merged(_policy("FlatCosineAnnealing", start_percent=percents), _target("lr"))),
        _counted(merged(st.composite(_restarts)(), _target("lr"))),
        _counted(merged(_policy("LinearAnnealing"), _target("lr"))),
        _counted(_cyclic(10.0), iterations_alone=True),
        _counted(one_cycle, iterations_alone=True),
    ]
    return [merged(policy, _warmups(by_epoch)) for policy in policies]


def momentum_policies(by_epoch: bool, optimizer: dict[str, Any]) -> list[Strategy]:
    """Each momentum policy."""
    one_cycle = _policy(
        "OneCycle",
        base_momentum=_one_each(optimizer, 0.5, 0.9),
        max_momentum=_one_each(optimizer, 0.9, 0.99),
        pct_start=percents,
        anneal_strategy=shapes,
        three_phase=st.booleans(),
    )
    policies = [
        _counted(_step("momentum")),
        _counted(merged(_policy("CosineAnnealing"), _target("momentum"))),
        _counted(merged(_policy("LinearAnnealing"), _target("momentum"))),
        _counted(_cyclic(1.0), iterations_alone=True),
        _counted(one_cycle, iterations_alone=True),
    ]
    # in an iteration-based run they count epochs unless told otherwise, which never come: they are told mostly
    told = st.just({}) if by_epoch else st.sampled_from(({"by_epoch": False}, {"by_epoch": False}, {}))
    return [merged(policy, _warmups(False), told) for policy in policies]
