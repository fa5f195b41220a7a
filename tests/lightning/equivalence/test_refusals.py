"""What the native runners refuse is refused under a Trainer with the same class of error."""

import pytest
from both.cases import case
from both.compare import TALLY, check
from both.forms import checkered
from both.hooks import ITERATIONS, KINDS
from both.record import record

from mmhooks import ConfigError, ModelError

#: what is wrong; each is refused when the run begins or in its course
WRONG = {
    "two optimizer hooks": {"hooks": [{"type": "OptimizerHook"}]},
    "no optimizer to step": {"optimizer": None, "training": {"lr_config": None}},
    "no optimizer for an lr": {"optimizer": None, "training": {"optimizer_config": None}},
    "one step for two optimizers": {
        "model": "stepping",
        "optimizer": {"first": {"type": "SGD", "lr": 0.1}, "last": {"type": "SGD", "lr": 0.1}},
    },
    "momentum of an optimizer without": {
        "optimizer": {"type": "Adagrad", "lr": 0.1},
        "training": {"momentum_config": {"policy": "step", "step": 1}},
    },
    "values for other param groups": {
        "training": {"lr_config": {"policy": "OneCycle", "max_lr": [0.1, 0.2], "by_epoch": False}}
    },
    "more cycles than iterations": {
        "training": {"lr_config": {"policy": "cyclic", "cyclic_times": 500, "by_epoch": False}}
    },
    "periods shorter than the run": {
        "training": {"lr_config": {"policy": "CosineRestart", "periods": [1], "restart_weights": [1], "min_lr": 0.0}}
    },
    "a profile longer than the run": {"hooks": [{"type": "ProfilerHook", "by_epoch": False, "profile_iters": 99}]},
    "a profile of epochs": {"hooks": [{"type": "ProfilerHook", "profile_iters": 4}]},
    "a metric that the evaluation lacks": {
        "hooks": [{"type": "EvalHook", "data": {"size": 9}, "save_best": "mAP", "priority": "LOW", "interval": 1}]
    },
    "an unknown hook": {"hooks": [{"type": "EMAHok"}]},
    "an argument out of range": {"hooks": [{"type": "EMAHook", "momentum": 2.0}]},
    "a priority that is none": {"hooks": [{"type": "EMAHook", "priority": "FIRST"}]},
    "a policy that is none": {"training": {"lr_config": {"policy": "steps"}}},
    "a point that is none": {"hooks": [{"type": "ClosureHook", "fn_name": "before_everything"}]},
    "a call of no point": {"hooks": [{"type": "Deed", "deed": "calls no point", "point": "after_train_iter", "at": 3}]},
    "a hook of another run": {"hooks": [{"type": "Deed", "deed": "registers itself", "point": "before_run"}]},
    "outputs without a number of samples": {"model": "uncounted"},
    "outputs that are no dict": {"model": "wrong", "training": {"optimizer_config": None}},
    "a workflow that is none": {"workflow": [("trian", 1)]},
    "a workflow without training": {"workflow": [("val", 1)]},
}
IN_ONE_KIND = {
    "a loader without batches": {**ITERATIONS, "train": {"kind": "batches", "size": 0}},  # in epochs natively none
    "a negative length": {**ITERATIONS, "length": -3},  # in epochs the Trainer itself refuses it
    "a loader without a length": {"train": {"kind": "stream", "size": 24}},
}


@checkered("name, kind", WRONG, KINDS)
def test_a_mistake(name, kind):
    before = TALLY.refusals
    check(case(kind, WRONG[name]))
    ends = kind is ITERATIONS and name in ("a metric that the evaluation lacks",)  # never evaluated by epoch there
    assert TALLY.refusals == before + (not ends)


@pytest.mark.parametrize("name", IN_ONE_KIND)
def test_a_mistake_in_one_kind_of_run(name):
    before = TALLY.refusals
    check(case(IN_ONE_KIND[name]))
    assert TALLY.refusals == before + 1


#: what a Trainer would pass over without a word, and the native runners do not refuse
BY_A_TRAINER_ALONE = {
    "a model that raises StopIteration": ({"model": "exhausted"}, ModelError, "train_step.. raises StopIteration"),
    "an epoch without batches": ({"train": {"kind": "batches", "size": 0}}, ConfigError, "yields no batch"),
}


@pytest.mark.parametrize("name", BY_A_TRAINER_ALONE)
def test_a_mistake_that_a_trainer_would_hide(tmp_path, name):
    changes, error, words = BY_A_TRAINER_ALONE[name]
    with pytest.raises(error, match=words):
        raise record("lightning", case(changes), tmp_path / "run").error
