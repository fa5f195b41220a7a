"""Every hook alone, by epoch and by iteration: the same under both drivers, bit for bit."""

import pytest
from both.cases import case
from both.compare import check
from both.forms import checkered
from both.hooks import COUNTING, HOOKS, KINDS, LR, MOMENTUM, schedule

from mmhooks import ProgressBarHook, ServiceLoggerHook
from mmhooks.hooks.loggers import RetiredLoggerHook
from mmhooks.registry import HOOKS as REGISTRY

#: Compared under both drivers where their services are: tests/hooks/loggers, test_service_hooks.py, test_progress.py.
ELSEWHERE = (ServiceLoggerHook, RetiredLoggerHook, ProgressBarHook)


@checkered("name, kind", HOOKS, KINDS)
def test_a_hook(name, kind):
    if name.startswith("EvalHook, torchmetrics"):
        pytest.importorskip("torchmetrics")
    check(case(kind, HOOKS[name]))


@checkered("number, counting", [pytest.param(number, id=name) for number, name in enumerate(LR)], COUNTING)
def test_schedules(number, counting):
    check(case(schedule(number, counting)))


def test_no_hook_is_forgotten():
    policies = {f"{name.title() if name == name.lower() else name}LrUpdaterHook" for name in LR}
    policies |= {f"{name.title() if name == name.lower() else name}MomentumUpdaterHook" for name in MOMENTUM}
    own = {
        name
        for name, one in REGISTRY.module_dict.items()
        if one.__module__.startswith("mmhooks.") and not issubclass(one, ELSEWHERE)
    }
    assert own == policies | {name for name in own if any(name in changed for changed in HOOKS)}
