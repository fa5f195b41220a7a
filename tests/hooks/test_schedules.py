"""Schedules as functions; their last bits are in tests/test_golden.py."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhooks import ConfigError
from mmhooks.hooks.updater.schedules import (
    ANNEALINGS,
    annealing_cos,
    annealing_linear,
    cosine_restart,
    cyclic,
    exponential,
    flat_cosine,
    inverse,
    one_cycle,
    polynomial,
    step_decay,
    target_of,
    warmup_factor,
)

VALUE = st.floats(1e-6, 10)
LENGTH = st.integers(1, 50)


@given(VALUE, st.floats(0, 1), LENGTH, st.sampled_from(sorted(ANNEALINGS)))
def test_an_annealing_goes_from_start_to_end(start, ratio, length, name):
    values = [ANNEALINGS[name](start, start * ratio, step / length) for step in range(length + 1)]
    assert values[0] == pytest.approx(start)
    assert values[-1] == pytest.approx(start * ratio)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(values))


def test_the_shapes():
    assert [annealing_linear(1.0, 3.0, factor) for factor in (0, 0.25, 1)] == [1.0, 1.5, 3.0]
    assert annealing_cos(1.0, 0.0, 1 / 3) == pytest.approx(0.75)
    assert annealing_cos(1.0, 0.5, 0, weight=3) == pytest.approx(2.0)


@given(st.lists(st.integers(1, 20), min_size=1, unique=True).map(sorted), st.integers(0, 25))
def test_a_list_of_steps_counts_those_that_are_past(steps, progress):
    past = sum(step <= progress for step in steps)
    assert step_decay(1.0, progress, steps, 0.5, None) == 0.5**past
    assert step_decay(1.0, progress, steps, 0.5, 0.2) == max(0.5**past, 0.2)


def test_a_step_of_so_many():
    assert [step_decay(1.0, progress, 2, 0.5, None) for progress in range(5)] == [1, 1, 0.5, 0.5, 0.25]


@given(VALUE, st.floats(0.1, 3), LENGTH)
def test_a_polynomial_ends_at_its_floor(base, power, end):
    values = [polynomial(base, progress, end, power, base / 4) for progress in range(end + 1)]
    assert values[0] == pytest.approx(base)
    assert values[-1] == base / 4
    assert all(later <= earlier for earlier, later in pairwise(values))


def test_exponential_and_inverse():
    assert [exponential(2.0, progress, 0.5) for progress in range(3)] == [2.0, 1.0, 0.5]
    assert [inverse(2.0, progress, 1, 2) for progress in range(3)] == pytest.approx([2.0, 0.5, 2 / 9])
    with pytest.raises(ConfigError, match=r"1 \+ gamma \* progress is 0.0 at 4, where gamma is -0.25: it must be pos"):
        inverse(2.0, 4, -0.25, 1)


def test_a_target_is_a_value_or_a_ratio():
    assert target_of(4.0, 0.5, None) == 0.5
    assert target_of(4.0, None, 0.5) == 2.0


def test_a_flat_part_and_a_cosine():
    values = [flat_cosine(1.0, progress, 8, 0.0, 0.5) for progress in range(9)]
    assert values[:5] == [1.0] * 5
    assert values[5:] == pytest.approx([0.853553, 0.5, 0.146447, 0.0], abs=1e-6)


def test_restarts_have_weights_of_their_own():
    values = [cosine_restart(1.0, progress, [2, 0, 4], [1, 9, 0.5], 0.0) for progress in range(6)]
    assert values == pytest.approx([1.0, 0.5, 0.5, 0.426777, 0.25, 0.073223], abs=1e-6)
    with pytest.raises(ConfigError, match=r"the periods \[2, 0, 4\] end at 6, and the run goes on"):
        cosine_restart(1.0, 6, [2, 0, 4], [1, 9, 0.5], 0.0)


def test_cycles_shrink_by_gamma():
    values = [cyclic(1.0, step, 4, 2, (3.0, 0.5), 0.5, annealing_linear) for step in range(8)]
    assert values == pytest.approx([1.0, 2.0, 3.0, 1.75, 1.0, 1.5, 2.0, 1.25])


@given(VALUE, st.floats(1.1, 9), st.floats(0, 0.9), st.integers(2, 30), st.integers(0, 100))
def test_a_cycle_stays_between_its_lowest_value_and_its_peak(base, peak, lowest, period, step):
    value = cyclic(base, step, period, period // 2, (peak, lowest), 0.9, annealing_cos)
    assert base * lowest * (1 - 1e-9) <= value <= base * peak * (1 + 1e-9)


def test_one_cycle_of_two_phases_and_of_three():
    two = [one_cycle((1.0, 5.0, 0.0), step, 11, 3 / 11, annealing_linear) for step in range(11)]
    assert two == pytest.approx([1.0, 3.0, *(5 - 5 * step / 8 for step in range(9))])
    three = [one_cycle((1.0, 5.0, 1.0, 0.0), step, 11, 3 / 11, annealing_linear) for step in range(11)]
    assert three == pytest.approx([1.0, 3.0, 5.0, 3.0, 1.0, *(1 - step / 6 for step in range(1, 7))])


def test_a_first_phase_of_one_iteration_is_refused():
    with pytest.raises(ConfigError, match=r"pct_start=0\.25 of 4 iterations is one iteration, too short"):
        one_cycle((1.0, 5.0, 0.0), 0, 4, 0.25, annealing_linear)


@given(st.floats(0.01, 1), LENGTH, st.sampled_from(["linear", "exp"]))
def test_a_warmup_rises_from_the_ratio_to_1(ratio, iterations, kind):
    factors = [warmup_factor(kind, ratio, i, iterations) for i in range(iterations + 1)]
    assert factors[0] == pytest.approx(ratio)
    assert factors[-1] == pytest.approx(1)
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(factors))


@given(st.floats(0.01, 1), LENGTH)
def test_a_constant_warmup(ratio, iterations):
    assert {warmup_factor("constant", ratio, i, iterations) for i in range(iterations)} == {ratio}
