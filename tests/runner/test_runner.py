"""The loops, and what `run` and the register methods take."""

import re

import pytest
import torch
from torch import nn

from mmhooks import (
    CheckpointHook,
    ConfigError,
    EpochBasedRunner,
    Hook,
    HookError,
    IterBasedRunner,
    IterLoader,
    ModelError,
    RegistryError,
    TextLoggerHook,
    build_runner,
)

TRAIN, BOTH = [("train", 1)], [("train", 1), ("val", 1)]


class Flow(Hook):
    """Writes down the flow of a run: one letter an iteration, lower case where the model evaluates."""

    def __init__(self):
        self.text = ""

    def after_train_iter(self, runner):
        assert torch.is_grad_enabled()
        assert runner.model.training
        assert runner.mode == "train"
        self.text += "T"

    def after_val_iter(self, runner):
        assert not torch.is_grad_enabled()
        assert not runner.model.training
        assert runner.mode == "val"
        self.text += "v"

    def before_train_epoch(self, runner):
        self.text += "("

    def after_train_epoch(self, runner):
        self.text += ")"


@pytest.mark.parametrize(
    ("workflow", "epochs", "text"),
    [
        (TRAIN, 3, "(TTTT)(TTTT)(TTTT)"),
        (BOTH, 2, "(TTTT)vv(TTTT)vv"),
        ([("train", 2), ("val", 1)], 3, "(TTTT)(TTTT)vv(TTTT)vv"),
        ([("train", 1), ("val", 2)], 1, "(TTTT)vvvv"),
        (TRAIN, 0, ""),
    ],
)
def test_workflow_of_epochs(make_runner, batches, workflow, epochs, text):
    runner, flow = make_runner(max_epochs=epochs), Flow()
    runner.register_hook(flow)
    runner.run([batches, batches[:2]][: len(workflow)], workflow)
    assert flow.text == text
    assert (runner.epoch, runner.iter) == (epochs, 4 * epochs)


@pytest.mark.parametrize(
    ("workflow", "iters", "text"),
    [
        (TRAIN, 6, "TTTTTT"),
        ([("train", 5), ("val", 2)], 7, "TTTTTvvTTvv"),
        ([("val", 1), ("train", 2)], 3, "vTTvT"),
    ],
)
def test_workflow_of_iterations(make_runner, batches, workflow, iters, text):
    runner, flow = make_runner(IterBasedRunner, max_iters=iters), Flow()
    runner.register_hook(flow)
    runner.run([batches] * len(workflow), workflow)
    assert flow.text == text
    assert runner.iter == iters


@pytest.mark.parametrize(
    ("kind", "length", "val_kwargs"),
    [(EpochBasedRunner, {"max_epochs": 1}, {}), (IterBasedRunner, {"max_iters": 1}, {"alpha": 3})],
)
def test_keyword_arguments_reach_the_steps(make_runner, batches, kind, length, val_kwargs):
    runner = make_runner(kind, **length)
    runner.run([batches[:1], batches[:1]], BOTH, alpha=3)
    assert runner.model.train_kwargs == [{"alpha": 3}]
    assert runner.model.val_kwargs == [val_kwargs]  # MMCV's epochs keep them from val_step


def test_the_length_given_to_run_holds(make_runner, batches):
    runner = make_runner(max_epochs=9)
    runner.run([batches], TRAIN, max_epochs=2)
    assert (runner.epoch, runner.max_epochs, runner.max_iters) == (2, 2, 8)
    runner = make_runner(IterBasedRunner, max_iters=9)
    runner.run([batches], TRAIN, max_iters=2)
    assert (runner.iter, runner.max_iters) == (2, 2)


def test_a_hook_may_change_the_length(make_runner, batches, at):
    runner = make_runner(max_epochs=9)
    runner.register_hook(at(after_train_epoch=lambda runner: setattr(runner, "_max_epochs", 2)))
    runner.run([batches], TRAIN)
    assert runner.epoch == 2


def test_stop_closes_the_epoch_and_lets_val_follow(make_runner, batches, at):
    runner, flow, ended = make_runner(max_epochs=3), Flow(), []
    runner.register_hook(flow)
    runner.register_hook(at(after_train_iter=lambda r: r.iter == 5 and r.stop("enough"), after_run=ended.append))
    runner.run([batches, batches[:2]], BOTH)
    assert flow.text == "(TTTT)vv(TT)vv"
    assert ended == [runner]
    assert runner.stop_reason == "enough"


def test_stop_of_an_iteration_based_run(make_runner, batches, at):
    runner, flow = make_runner(IterBasedRunner, max_iters=100), Flow()
    runner.register_hook(flow)
    runner.register_hook(at(after_train_iter=lambda r: r.iter == 6 and r.stop("enough")))
    runner.run([batches, batches], [("train", 5), ("val", 1)])
    assert flow.text == "TTTTTvTTv"


def test_a_stopped_runner_can_run_on(make_runner, batches, at):
    runner = make_runner(max_epochs=3)
    runner.register_hook(at(after_train_epoch=lambda r: r.epoch == 0 and r.stop("pause")))
    runner.run([batches], TRAIN)
    assert runner.epoch == 1
    runner.run([batches], TRAIN)
    assert (runner.epoch, runner.iter) == (3, 12)


def test_a_loader_set_in_before_train_epoch_is_used(make_runner, batches, at):
    runner, flow = make_runner(max_epochs=2), Flow()
    runner.register_hook(flow)
    runner.register_hook(at(before_train_epoch=lambda r: r.epoch == 1 and setattr(r, "data_loader", batches[:1])))
    runner.run([batches], TRAIN)
    assert flow.text == "(TTTT)(T)"


def test_the_iterator_is_made_after_before_train_epoch(make_runner, batches, at):
    order = []

    class Loader(list):
        def __iter__(self):
            order.append("iterator")
            return super().__iter__()

    runner = make_runner(max_epochs=1)
    runner.register_hook(
        at(before_run=lambda r: order.append("run"), before_train_epoch=lambda r: order.append("epoch"))
    )
    runner.run([Loader(batches)], TRAIN)
    assert order == ["run", "epoch", "iterator"]


def test_hooks_see_batch_and_outputs(make_runner, batches, at):
    seen = []
    runner = make_runner(max_epochs=1)
    runner.register_hook(
        at(
            before_train_iter=lambda r: seen.append(r.data_batch is not None),
            after_train_iter=lambda r: seen.append(r.outputs["num_samples"]),
            after_train_epoch=lambda r: seen.append(r.data_batch),
        )
    )
    runner.run([batches], TRAIN)
    assert seen == [True, 5, True, 5, True, 5, True, 2, None]


def test_a_batch_processor_takes_the_place_of_train_step(make_runner, batches):
    modes = []

    def process(model, data, train_mode):
        modes.append(train_mode)
        return {"loss": model(data["x"]).sum()}

    runner = make_runner(model=nn.Linear(3, 1), batch_processor=process, max_epochs=1)
    runner.run([batches[:1], batches[:1]], BOTH)
    assert modes == [True, False]


def test_several_optimizers_reach_train_step(make_runner, batches, make_model):
    model, got = make_model(), []
    model.train_step = lambda data, optimizer: got.append(optimizer) or {"loss": 0}
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=lr, momentum=0.5) for name, part, lr in
                  (("first", model.first, 0.1), ("last", model.last, 0.2))}  # fmt: skip
    runner = make_runner(model=model, optimizer=optimizers, max_epochs=1)
    runner.run([batches[:1]], TRAIN)
    assert got == [optimizers]
    assert runner.current_lr() == {"first": [0.1], "last": [0.2]}
    assert runner.current_momentum() == {"first": [0.5], "last": [0.5]}


def test_momentum_of_adam_is_its_first_beta(make_model):
    model = make_model()
    runner = EpochBasedRunner(model, optimizer=torch.optim.Adam(model.parameters(), betas=(0.8, 0.9)), max_epochs=1)
    assert runner.current_momentum() == [0.8]


# registration -----------------------------------------------------------------------------------------------


def test_training_hooks_have_mmcvs_priorities(make_runner):
    runner = make_runner(max_epochs=1)
    runner.register_training_hooks(
        lr_config={"policy": "step", "step": 1},
        optimizer_config={},
        checkpoint_config={"interval": 1},
        log_config={"interval": 5, "hooks": [{"type": "TextLoggerHook"}]},
        custom_hooks_config=[{"type": "EMAHook", "priority": 41}],
    )
    assert [(type(hook).__name__, hook.priority) for hook in runner.hooks] == [
        ("StepLrUpdaterHook", 10),
        ("OptimizerHook", 40),
        ("EMAHook", 41),
        ("CheckpointHook", 50),
        ("IterTimerHook", 70),
        ("TextLoggerHook", 90),
    ]
    assert runner.hooks[-1].interval == 5


@pytest.mark.parametrize(("kind", "by_epoch"), [(EpochBasedRunner, True), (IterBasedRunner, False)])
def test_configs_mean_the_unit_of_the_runner(make_runner, kind, by_epoch):
    runner = make_runner(kind)
    configs = {
        "lr_config": {"policy": "fixed"},
        "checkpoint_config": {"interval": 1},
        "log_config": {"hooks": [{"type": "TextLoggerHook"}]},
    }
    runner.register_training_hooks(**configs)
    assert [hook.by_epoch for hook in runner.hooks if hasattr(hook, "by_epoch")] == [by_epoch] * 3
    assert configs["lr_config"] == {"policy": "fixed"}  # the caller's configs stay as they are
    assert configs["log_config"] == {"hooks": [{"type": "TextLoggerHook"}]}


def test_what_a_config_says_itself_holds(make_runner):
    runner = make_runner(IterBasedRunner)
    runner.register_training_hooks({"policy": "fixed", "by_epoch": True}, checkpoint_config={"by_epoch": True})
    assert [hook.by_epoch for hook in runner.hooks if hasattr(hook, "by_epoch")] == [True, True]


def test_a_single_register_method_has_the_hooks_own_default(make_runner):
    runner = make_runner(IterBasedRunner)
    runner.register_lr_hook({"policy": "fixed"})
    assert runner.hooks[0].by_epoch


def test_hooks_as_objects_anywhere(make_runner):
    runner = make_runner()
    logger, saver = TextLoggerHook(), CheckpointHook()
    runner.register_training_hooks(None, checkpoint_config=saver, log_config={"hooks": [logger]}, timer_config=None)
    assert runner.hooks == [saver, logger]


def test_the_same_hook_twice(make_runner):
    runner, hook = make_runner(), CheckpointHook()
    runner.register_hook(hook)
    with pytest.raises(HookError, match="CheckpointHook is registered already"):
        runner.register_checkpoint_hook(hook)


@pytest.mark.parametrize(
    ("register", "error", "message"),
    [
        (lambda r: r.register_hook({"type": "EMAhok"}), RegistryError, "did you mean 'EMAHook'"),
        (lambda r: r.register_hook({"type": "EMAHook", "priority": 200}), ConfigError, "priority 200 is out of range"),
        (lambda r: r.register_hook(Hook(), -1), ConfigError, "priority -1 is out of range"),
        (
            lambda r: r.register_lr_hook({"policy": "stepp", "step": 1}),
            RegistryError,
            "did you mean .*StepLrUpdaterHook",
        ),
        (lambda r: r.register_lr_hook({"step": [1]}), ConfigError, "lr_config needs a policy.*'step'"),
        (lambda r: r.register_hook(Hook), TypeError, r"write Hook\(\)"),
        (lambda r: r.register_logger_hooks({"hooks": [{"type": "TextLogerHook"}]}), RegistryError, "'TextLoggerHook'"),
    ],
)
def test_registration_errors(make_runner, register, error, message):
    runner = make_runner()
    with pytest.raises(error, match=message):
        register(runner)
    assert list(runner.hooks) == []


def test_hook_info_is_the_calling_order(make_runner, at):
    runner = make_runner()
    runner.register_hook(at(before_run=print), 33)
    runner.register_hook(CheckpointHook())
    assert runner.get_hook_info().splitlines()[:3] == [
        "before_run:",
        "(33          ) At",
        "(NORMAL      ) CheckpointHook",
    ]


# misuse -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": nn.Linear(1, 1)}, ModelError, r"Linear has no train_step.*def train_step"),
        ({"batch_processor": print}, ConfigError, "Net has train_step"),
        ({"batch_processor": 5, "model": nn.Linear(1, 1)}, TypeError, "must be callable"),
        ({"optimizer": {"type": "SGD"}}, TypeError, r"optimizer\['type'\] must be a torch.optim.Optimizer"),
        ({"optimizer": 5}, TypeError, "optimizer must be a torch.optim.Optimizer"),
        ({"logger": "mine"}, TypeError, "logger must be"),
        ({"meta": [1]}, TypeError, "meta must be a dict"),
        ({"max_epochs": -2}, ConfigError, "EpochBasedRunner's max_epochs must be 0 or a positive integer, not -2"),
        ({"max_epochs": 2.5}, ConfigError, "max_epochs must be 0 or a positive integer, not 2.5"),
        ({"max_epochs": "3"}, ConfigError, "max_epochs must be 0 or a positive integer, not '3'"),
        ({"max_iters": "a"}, ConfigError, "max_iters must be 0 or a positive integer, not 'a'"),
        ({"work_dir": 3}, ConfigError, r"work_dir must be a path \(str or pathlib.Path\) or None, not 3"),
        ({"max_epochs": 1, "max_iters": 1}, ConfigError, "max_epochs or max_iters, not both"),
    ],
)
def test_bad_arguments(make_runner, arguments, error, message):
    with pytest.raises(error, match=message):
        make_runner(**arguments)


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
def test_lengths(make_runner, batches, kind):
    unit = "max_epochs" if kind is EpochBasedRunner else "max_iters"
    runner = make_runner(kind, **{unit: 2.0})  # 4e4 in a config of MMCV
    assert repr(getattr(runner, unit)) == "2"
    with pytest.raises(ConfigError, match=f"{kind.__name__}'s {unit} must be 0 or a positive integer, not 1.5"):
        runner.run([batches], TRAIN, 1.5)
    runner.run([batches], TRAIN, 1)
    assert runner.iter == (4 if kind is EpochBasedRunner else 1)


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize(
    "register",
    [
        lambda runner, config: runner.register_logger_hooks(config),
        lambda runner, config: runner.register_training_hooks(None, log_config=config),
    ],
)
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (3, r"log_config must be a dict such as log_config=dict\(interval=10, .*not 3"),
        ({"hooks": 3}, "the hooks of log_config must be a list .*not 3"),
        ({"hoks": []}, "log_config takes interval and hooks, not 'hoks'; did you mean 'hooks'"),
        ({"interval": "10", "hooks": [{"type": "TextLoggerHook"}]}, "interval must be a positive integer, not '10'"),
    ],
)
def test_bad_log_configs(make_runner, kind, register, config, message):
    runner = make_runner(kind)
    with pytest.raises(ConfigError, match=message):
        register(runner, config)


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
@pytest.mark.parametrize(
    ("loaders", "workflow", "error", "message"),
    [
        ("batches", TRAIN, TypeError, "takes a list of loaders"),
        ([[]], BOTH, ConfigError, "1 loaders for 2 flows"),
        ([[]], "train", TypeError, "workflow must be a list of tuples"),
        ([[]], [["train", 1]], TypeError, "workflow must be a list of tuples"),
        ([[]], [("test", 1)], ConfigError, r"a flow .* not \('test', 1\)"),
        ([[]], [("train", 1.5)], ConfigError, "a flow"),
        ([[]], [("val", 1)], ConfigError, "never trains"),
    ],
)
def test_bad_runs(make_runner, kind, loaders, workflow, error, message):
    unit = "max_epochs" if kind is EpochBasedRunner else "max_iters"
    with pytest.raises(error, match=message):
        make_runner(kind, **{unit: 1}).run(loaders, workflow)


@pytest.mark.parametrize("count", [0, -1])
def test_a_workflow_that_trains_no_epoch_is_refused(make_runner, batches, count):
    with pytest.raises(ConfigError, match="never"):
        make_runner(max_epochs=1).run([batches], [("train", count)])


@pytest.mark.parametrize(("kind", "unit"), [(EpochBasedRunner, "max_epochs"), (IterBasedRunner, "max_iters")])
def test_a_run_without_a_length(make_runner, batches, kind, unit):
    with pytest.raises(ConfigError, match=f"{unit}=N"):
        make_runner(kind).run([batches], TRAIN)


def test_an_epoch_of_a_loader_without_length(make_runner, batches):
    with pytest.raises(ConfigError, match=r"generator has no length.*IterBasedRunner"):
        make_runner(max_epochs=1).run([iter_of(batches)], TRAIN)


def iter_of(batches):
    yield from batches


@pytest.mark.parametrize(
    ("outputs", "message"),
    [(torch.ones(1), "must return a dict"), ({"log_vars": {}}, "log_vars without num_samples")],
)
def test_bad_outputs(make_runner, make_model, batches, outputs, message):
    model = make_model()
    model.train_step = lambda data, optimizer: outputs
    with pytest.raises(ModelError, match=rf"Net\.train_step\(\) .*{message}"):
        make_runner(model=model, max_epochs=1).run([batches], TRAIN)


def test_a_wrapper_that_hides_train_step_is_told_at_once(make_runner, make_model):
    with pytest.raises(ModelError, match="DataParallel hides the train_step of Net"):
        make_runner(model=nn.DataParallel(make_model()))


def test_both_optimizer_hooks_are_named(make_runner, batches):
    runner = make_runner(max_epochs=1)
    runner.register_optimizer_hook({})
    runner.register_optimizer_hook({"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 2})
    with pytest.raises(HookError, match="OptimizerHook and GradientCumulativeOptimizerHook are both registered"):
        runner.run([batches], TRAIN)
    assert runner.iter == 0


# IterLoader and build_runner --------------------------------------------------------------------------------


def test_iter_loader_never_ends_and_counts_passes():
    told = []

    class Sampler:
        def set_epoch(self, epoch):
            told.append(epoch)

    class Loader(list):
        sampler = Sampler()

    loader = IterLoader(Loader("abc"))
    assert "".join(next(loader) for _ in range(8)) == "abcabcab"
    assert (loader.epoch, len(loader), told) == (2, 3, [1, 2])


def test_an_empty_loader_is_told():
    with pytest.raises(ConfigError, match="list yields no batch"):
        next(IterLoader([]))


def test_val_goes_on_where_it_was(make_runner, batches, at):
    sizes = []
    runner = make_runner(IterBasedRunner, max_iters=3)
    runner.register_hook(at(after_val_iter=lambda r: sizes.append(len(r.data_batch["y"]))))
    runner.run([batches, batches], [("train", 1), ("val", 2)])
    assert sizes == [5, 5, 5, 2, 5, 5]


def test_build_runner(make_model):
    runner = build_runner({"type": "IterBasedRunner", "max_iters": 7}, {"model": make_model()})
    assert isinstance(runner, IterBasedRunner)
    assert runner.max_iters == 7
    with pytest.raises(RegistryError, match=re.escape("'EpochBasedRunner'")):
        build_runner({"type": "EpochBasedRuner"}, {"model": make_model()})


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("kind", "length"), [(EpochBasedRunner, {"max_epochs": 1}), (IterBasedRunner, {"max_iters": 2})]
)
def test_what_is_done_when_a_run_is_left(make_runner, batches, at, kind, length, fails):
    """It is done once, the last first, and an error in it does not keep the rest from being done."""

    def begin(runner):
        for name in ("first", "second"):
            runner.on_leave(lambda name=name: done.append(name))
        if fails:
            runner.on_leave(lambda: 1 / 0)

    done = []
    runner = make_runner(kind, **length)
    runner.register_hook(at(before_run=begin, after_run=lambda r: done.append("after_run")))
    if fails:
        with pytest.raises(ZeroDivisionError):
            runner.run([batches], TRAIN)
    else:
        runner.run([batches], TRAIN)
    assert done == ["after_run", "second", "first"]
    runner.leave()
    assert len(done) == 3
