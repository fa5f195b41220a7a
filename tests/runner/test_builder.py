"""build_runner and its constructors, the old name Runner, and batch_processor."""

import copy

import pytest
from torch import nn

from mmhooks import (
    RUNNER_BUILDERS,
    ConfigError,
    DefaultRunnerConstructor,
    EpochBasedRunner,
    IterBasedRunner,
    ModelError,
    RegistryError,
    Runner,
    build_runner,
    build_runner_constructor,
)


@pytest.fixture
def register():
    """Register constructors for a while."""
    before = dict(RUNNER_BUILDERS.module_dict)
    yield RUNNER_BUILDERS.register_module
    RUNNER_BUILDERS.module_dict.clear()
    RUNNER_BUILDERS.module_dict.update(before)


def test_a_config_becomes_a_runner_and_stays(make_model):
    cfg = {"type": "IterBasedRunner", "max_iters": 9}
    before, model = copy.deepcopy(cfg), make_model()
    runner = build_runner(cfg, {"model": model, "meta": {"seed": 1}})
    assert isinstance(runner, IterBasedRunner)
    assert (runner.model, runner.max_iters, runner.meta) == (model, 9, {"seed": 1})
    assert cfg == before


def test_the_config_goes_before_the_default_arguments(make_model):
    runner = build_runner({"type": "EpochBasedRunner", "max_epochs": 2}, {"model": make_model(), "max_epochs": 5})
    assert runner.max_epochs == 2


def test_a_constructor_of_ones_own(make_model, register):
    @register()
    class Tagged(DefaultRunnerConstructor):
        def __call__(self):
            runner = super().__call__()
            runner.tag = self.runner_cfg["max_epochs"]
            return runner

    cfg = {"type": "EpochBasedRunner", "constructor": "Tagged", "max_epochs": 3}
    runner = build_runner(cfg, {"model": make_model()})
    assert (type(runner), runner.tag) == (EpochBasedRunner, 3)


def test_a_constructor_is_any_class_with_call(register):
    @register()
    class Given:
        def __init__(self, runner_cfg, default_args=None):
            self.both = (runner_cfg, default_args)

        def __call__(self):
            return self.both

    assert build_runner({"type": "A", "constructor": "Given"}, {"b": 1}) == ({"type": "A"}, {"b": 1})
    assert build_runner({"type": "A", "constructor": Given}) == ({"type": "A"}, None)


def test_the_default_constructor_may_be_built(make_model):
    cfg = {"type": "EpochBasedRunner", "model": make_model(), "max_epochs": 1}
    constructor = build_runner_constructor({"type": "DefaultRunnerConstructor", "runner_cfg": cfg})
    assert isinstance(constructor(), EpochBasedRunner)


@pytest.mark.parametrize(
    ("cfg", "error", "says"),
    [
        ({"type": "EpochBasedRuner"}, RegistryError, "did you mean 'EpochBasedRunner'"),
        ({"type": "Runner", "constructor": "DefaultRunerConstructor"}, RegistryError, "'DefaultRunnerConstructor'"),
        ({"max_epochs": 1}, ConfigError, "'type'"),
        ("EpochBasedRunner", ConfigError, "runner must be a dict such as"),
    ],
)
def test_mistakes_say_what_to_write(cfg, error, says):
    with pytest.raises(error, match=says):
        build_runner(cfg)


def test_the_config_of_a_constructor_is_a_dict():
    with pytest.raises(TypeError, match="runner_cfg must be a dict, not str"):
        DefaultRunnerConstructor("EpochBasedRunner")


def test_the_old_name_of_the_runner(make_runner, batches):
    with pytest.warns(DeprecationWarning, match="Runner is the old name of EpochBasedRunner") as heard:
        runner = make_runner(Runner, max_epochs=2)
    assert len(heard) == 1
    runner.run([batches], [("train", 1)])
    assert (runner.epoch, isinstance(runner, EpochBasedRunner)) == (2, True)


def test_a_batch_processor_gets_the_arguments_of_run(make_runner, batches):
    got = []

    def process(model, data, train_mode, **kwargs):
        got.append((train_mode, model.training, kwargs))
        loss = model(data["x"]).sum()
        return {"loss": loss, "log_vars": {"loss": float(loss.detach())}, "num_samples": len(data["x"])}

    runner = make_runner(model=nn.Linear(3, 1), batch_processor=process, max_epochs=1)
    runner.register_training_hooks(lr_config=None, optimizer_config={})
    before = runner.model.weight.detach().clone()
    runner.run([batches[:1], batches[:1]], [("train", 1), ("val", 1)], scale=2)
    assert got == [(True, True, {"scale": 2}), (False, False, {})]
    assert not runner.model.weight.equal(before)


def test_an_iteration_based_runner_takes_no_batch_processor(make_runner, batches):
    runner = make_runner(IterBasedRunner, model=nn.Linear(3, 1), batch_processor=print, max_iters=1)
    with pytest.raises(ConfigError, match="IterBasedRunner calls train_step and val_step alone"):
        runner.run([batches], [("train", 1)])


def test_a_wrapper_that_hides_train_step_names_one_that_does_not(make_runner, make_model):
    with pytest.raises(ModelError, match=r"DataParallel hides the train_step of Net.*MMDistributedDataParallel"):
        make_runner(model=nn.DataParallel(make_model()), max_epochs=1)
