"""Every config of the code bases is walked and inspected; the configs are there after ``make zoo``."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from mmhooks import ConfigError
from mmhooks.config import Config
from mmhooks.plan import plan_run
from mmhooks.walk import overview, walk
from tests.zoo.packages import CACHE, cases, wanted

RECIPES = {"mmsegmentation": "mmseg"}


def signature(plan):
    """What a walk depends on: configs that share it are walked once."""
    hooks = [(hook.key, hook.config, hook.priority) for hook in plan.hooks]
    return repr((plan.by_epoch, plan.length, plan.workflow, plan.optimizer, plan.training_hooks, hooks))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of configs that have a newer name
@pytest.mark.parametrize("package", sorted(wanted()))
def test_every_config_of_a_code_base_can_be_walked_and_inspected(package):
    if not (CACHE / package).is_dir():
        pytest.skip("make zoo fetches the configs")
    walked: set[str] = set()
    count = 0
    for case in cases([package]):
        if "_base_" in case.file.parts:
            continue
        try:
            plan = plan_run(Config.fromfile(case.file), RECIPES.get(package, package))
        except ConfigError:  # it lacks its base
            continue
        count += 1
        if signature(plan) not in walked:
            walked.add(signature(plan))
            seen = overview(plan, 7)
            assert seen["totals"]["checkpoints"] > 0, case.name
            assert seen["acts"], case.name
            assert seen["lr"] or any(one["key"] == "lr_config" for one in seen["unwalked"]), case.name
            if plan.by_epoch:
                walk(plan, 1)
    print(f"{package}: {count} configs, {len(walked)} of them distinct")
    assert count > 250
