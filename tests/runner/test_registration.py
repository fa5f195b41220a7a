"""What the register methods and `run` refuse, by name and with what to write instead."""

import pytest

from mmhooks import (
    HOOKS,
    CheckpointHook,
    ConfigError,
    EMAHook,
    EpochBasedRunner,
    IterBasedRunner,
    LrUpdaterHook,
    RegistryError,
    TextLoggerHook,
)

BOTH = [("train", 1), ("val", 1)]


@pytest.fixture
def own(monkeypatch):
    """Register classes for a while."""
    monkeypatch.setattr(HOOKS, "_module_dict", dict(HOOKS.module_dict))
    return lambda name: HOOKS.register_module(name=name, module=type(name, (LrUpdaterHook,), {}))


# hooks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize("value", ["step", 5, True, ["step"], 0.5])
@pytest.mark.parametrize(
    ("argument", "example"),
    [
        ("lr_config", "policy='step'"),
        ("momentum_config", "policy='step'"),
        ("optimizer_config", "grad_clip=dict"),
        ("checkpoint_config", "interval=1"),
    ],
)
def test_a_config_of_a_wrong_kind_names_its_argument(make_runner, kind, argument, example, value):
    runner = make_runner(kind)
    says = rf"{argument} must be a dict such as {argument}=dict\({example}.*, or a hook, not "
    with pytest.raises(ConfigError, match=says):
        runner.register_training_hooks(**{"lr_config": None, argument: value})
    with pytest.raises(ConfigError, match=says):
        getattr(runner, f"register_{argument.removesuffix('_config')}_hook")(value)
    assert list(runner.hooks) == []


@pytest.mark.parametrize("argument", ["timer_config", "profiler_config"])
def test_so_do_the_timer_and_the_profiler(make_runner, argument):
    with pytest.raises(ConfigError, match=rf"{argument} must be a dict such as {argument}=dict\(.*, or a hook, not 5"):
        getattr(make_runner(), f"register_{argument.removesuffix('_config')}_hook")(5)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (5, r"custom_hooks must be a list of hooks such as \[dict\(type='EMAHook', priority='NORMAL'\)\], not 5"),
        ([{"type": "EMAHook"}, None], r"custom_hooks\[1\] must be a dict such as dict\(type='EMAHook'.*not None"),
        ([{"type": "EMAHook", "priority": None}], r"custom_hooks\[0\]: priority must be an integer, a name or"),
        ({"type": "EMAHook", "priority": 101}, "custom_hooks: priority 101 is out of range"),
    ],
)
def test_custom_hooks_of_a_wrong_kind_name_their_place(make_runner, config, says):
    runner = make_runner()
    with pytest.raises(ConfigError, match=says):
        runner.register_custom_hooks(config)
    assert list(runner.hooks) == []  # not even the first one


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"hooks": [5]},
            r"log_config\.hooks\[0\] must be a dict such as dict\(type='TextLoggerHook'\), or a hook, not 5",
        ),
        ({"hooks": [TextLoggerHook(), None]}, r"log_config\.hooks\[1\] must be a dict .*not None"),
        ({"interval": "x"}, "log_config's interval must be a positive integer, not 'x'"),
        ({"interval": 0, "hooks": []}, "log_config's interval must be a positive integer, not 0"),
    ],
)
@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
def test_loggers_of_a_wrong_kind_name_their_place(make_runner, kind, config, says):
    runner = make_runner(kind)
    with pytest.raises(ConfigError, match=says):
        runner.register_training_hooks(None, log_config=config)
    with pytest.raises(ConfigError, match=says):
        runner.register_logger_hooks(config)


def test_hooks_may_be_objects_of_any_class(make_runner):
    class Saver:
        def after_train_epoch(self, runner): ...

    runner, hooks = make_runner(), [Saver(), CheckpointHook(), EMAHook(), TextLoggerHook()]
    runner.register_lr_hook(hooks[0])
    runner.register_checkpoint_hook(hooks[1])
    runner.register_custom_hooks(hooks[2])
    runner.register_logger_hooks({"hooks": (hooks[3],)})
    assert list(runner.hooks) == hooks


# policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("register", "policy", "says"),
    [
        (
            "lr",
            "stepp",
            r"^lr_config has the policy 'stepp'.*did you mean 'step' .*hook StepLrUpdaterHook: .*SteppLrUp",
        ),
        ("lr", "cosineannealing", "did you mean 'CosineAnnealing'"),
        ("lr", "oneCycle", "did you mean 'OneCycle'"),
        ("lr", "cycle", "did you mean .*'cyclic'"),
        ("lr", "qqqq", "nobody registered; there are fixed, step, exp, .*CosineAnnealing, .*OneCycle"),
        ("lr", "", "has the policy ''"),
        ("momentum", "stepp", "^momentum_config has the policy 'stepp'.*'step'.*hook StepMomentumUpdaterHook: "),
        ("momentum", "poly", "there are step, CosineAnnealing, LinearAnnealing, cyclic, OneCycle"),
    ],
)
def test_an_unknown_policy_names_the_known_ones(make_runner, register, policy, says):
    with pytest.raises(RegistryError, match=says) as caught:
        getattr(make_runner(), f"register_{register}_hook")({"policy": policy, "step": 1})
    assert "custom_imports" in str(caught.value)


@pytest.mark.parametrize(("name", "policy"), [("HalvingLrUpdaterHook", "halving"), ("WarmUpLrUpdaterHook", "WarmUp")])
def test_policies_of_ones_own_are_known(make_runner, own, name, policy):
    own(name)
    with pytest.raises(RegistryError, match=f"did you mean '{policy}'"):
        make_runner().register_lr_hook({"policy": f"{policy}s"})


def test_the_base_class_is_no_policy(make_runner, own):
    own("LrUpdaterHook")
    with pytest.raises(RegistryError, match=r"there are fixed.*OneCycle\. A policy"):
        make_runner().register_lr_hook({"policy": "qqqq"})


# flows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize("flow", [("train", True), ("val", -1), ("val", "1"), ("val", None), ("val", 1.0)])
def test_a_flow_runs_an_integer_number_of_times(make_runner, batches, kind, flow):
    says = r"a flow of the workflow is \('train', n\) .*an integer n that is 0 \(never\) or more, not "
    with pytest.raises(ConfigError, match=says):
        make_runner(kind).run([batches, batches], [("train", 1), flow], 1)


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
def test_a_flow_may_run_no_time(make_runner, batches, kind):
    runner = make_runner(kind)
    runner.run([batches, batches], [("train", 1), ("val", 0)], 1)
    assert runner.model.val_kwargs == []


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize("loader", [None, 5])
def test_a_flow_without_a_loader_is_refused_before_training(make_runner, batches, kind, loader):
    for loaders, flow in (([batches, loader], "val"), ([loader, batches], "train")):
        runner = make_runner(kind)
        with pytest.raises(
            TypeError, match=rf"the flow \('{flow}', 1\) needs a loader .*, not {loader}; .*leave the flow"
        ):
            runner.run(loaders, BOTH, 1)
        assert runner.model.train_kwargs == []
