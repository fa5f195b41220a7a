"""Random sets of hooks in random settings: the same under both drivers.

The long form is ``make equivalence``, where CASES=... and SEED=... say how many cases, and which.
"""

import collections
import time

from both.compare import TALLY, compare, described, hooks_of
from both.draw import cases
from both.forms import CASES, SEED, slow
from hypothesis import HealthCheck, Phase, assume, given, seed, settings

QUIETLY = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=25, derandomize=True, phases=(Phase.generate, Phase.shrink), **QUIETLY)
@given(cases())
def test_some_drawn_cases(case):
    found = compare(case)
    assert not found, "\n".join([*found, "of the case:", described(case)])


@slow
def test_many_drawn_cases():
    seen, differing, hooks = set(), [], collections.Counter()

    @seed(SEED)
    @settings(max_examples=CASES, phases=(Phase.generate,), **QUIETLY)
    @given(cases())
    def draw(case):
        assume(repr(case) not in seen)  # hypothesis draws some twice
        seen.add(repr(case))
        hooks.update(hooks_of(case))
        found = compare(case)
        if found:
            differing.append("\n".join(["", *found, "of the case:", described(case)]))

    begin, refused = time.perf_counter(), TALLY.refusals
    draw()
    TALLY.notes += [
        f"drawn: {len(seen)} cases of seed {SEED} in {time.perf_counter() - begin:.0f} s, "
        f"{TALLY.refusals - refused} of them refused by both, {len(differing)} differ",
        f"{len(hooks)} hooks: " + ", ".join(f"{name} {count}" for name, count in sorted(hooks.items())),
    ]
    assert len(seen) >= CASES * 0.9
    assert not differing, "\n".join(differing)
