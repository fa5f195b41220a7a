"""as_hook: which methods of a wrapped callback are called, when, in which order, and what is refused."""

import functools
import signal
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    LambdaCallback,
    LearningRateFinder,
    ModelCheckpoint,
    TQDMProgressBar,
)

from mmhooks import ConfigError, EMAHook, EpochBasedRunner, Hook, HookError, OptimizerHook
from mmhooks_lightning import HookCallback, HookedModule, as_hook

STATE = ("state_dict", "load_state_dict", "on_save_checkpoint", "on_load_checkpoint")
METHODS = [name for name in vars(L.Callback) if name in ("setup", "teardown") or name[:3] == "on_"]
CALLED = [name for name in METHODS if name not in STATE]


def plain(value):
    """Spell an argument so that two runs can be compared."""
    if isinstance(value, torch.Tensor):
        return value.detach().flatten().tolist()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (BaseException, torch.optim.Optimizer)):
        return type(value).__name__
    return value


class Recorder(L.Callback):
    """Overrides every method; notes the arguments and where the Trainer is."""

    def __init__(self, log=None, name="recorder"):
        self.log_ = [] if log is None else log
        self.name = name

    @property
    def state_key(self):
        return self.name

    def note(self, method, trainer, module, *args, **kwargs):
        assert module is trainer.lightning_module
        fit = trainer.fit_loop.epoch_loop.batch_progress.current
        where = (trainer.state.fn, trainer.global_step, trainer.current_epoch, fit.ready, fit.processed)
        modes = (module.training, torch.is_grad_enabled(), module._current_fx_name)
        metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}
        self.log_.append((self.name, method, plain(args), plain(kwargs), where, modes, metrics))

    def state_dict(self):
        return {"calls": len(self.log_)}

    def load_state_dict(self, state):
        self.log_.append((self.name, "load_state_dict", state))

    def on_save_checkpoint(self, trainer, module, checkpoint):
        self.log_.append((self.name, "on_save_checkpoint", sorted(checkpoint["callbacks"])))

    def on_load_checkpoint(self, trainer, module, checkpoint):
        self.log_.append((self.name, "on_load_checkpoint", checkpoint["global_step"]))

    def seen(self, *methods):
        return [entry[1] for entry in self.log_ if not methods or entry[1] in methods]


for _name in CALLED:
    setattr(Recorder, _name, functools.partialmethod(Recorder.note, _name))


class Everything(L.LightningModule):
    """Trains, validates, tests and predicts; a scheduler and logged values too."""

    def __init__(self, fails=None):
        super().__init__()
        self.net = torch.nn.Linear(4, 2)
        self.fails = fails

    def loss(self, batch):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        if self.fails is not None and self.trainer.global_step == 7:
            raise self.fails
        loss = self.loss(batch)
        self.log("loss", loss)
        return {"loss": loss, "twice": 2 * loss.detach()}

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("v", self.loss(batch))
        return {"seen": len(batch[0])}

    def test_step(self, batch, batch_idx):
        self.log("t", self.loss(batch))

    def predict_step(self, batch, batch_idx):
        return self.net(batch[0])

    def on_train_epoch_end(self):
        self.log("late", float(self.current_epoch))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def bridge_of(kit, *callbacks, **arguments):
    return HookCallback([as_hook(callback) for callback in callbacks], logger=kit.logger, **arguments)


def seen_by(trainer, recorder, run):
    torch.manual_seed(0)
    run(trainer)
    return recorder.log_


def fit(trainer, loader, *val, **kwargs):
    trainer.fit(Everything(**kwargs), loader, *val)


def validated(trainer, loader):
    fit(trainer, loader, loader)


def two_val_loaders(trainer, loader):
    fit(trainer, loader, [loader, loader])


def all_stages(trainer, loader):
    module = Everything()
    trainer.fit(module, loader, loader)
    trainer.validate(module, loader, verbose=False)
    trainer.test(module, loader, verbose=False)
    trainer.predict(module, loader)
    trainer.save_checkpoint(trainer.default_root_dir + "/all.ckpt")
    trainer.fit_loop.max_epochs += 1
    trainer.fit(module, loader, loader)
    trainer.fit_loop.max_epochs += 1
    trainer.fit(module, loader, loader, ckpt_path=trainer.default_root_dir + "/all.ckpt")


def only_test(trainer, loader):
    trainer.test(Everything(), loader, verbose=False)


def error(trainer, loader):
    with pytest.raises(ZeroDivisionError):
        fit(trainer, loader, loader, fails=ZeroDivisionError())


def interrupt(trainer, loader):
    kept = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        fit(trainer, loader, loader, fails=KeyboardInterrupt())
    signal.signal(signal.SIGINT, kept)


@pytest.mark.parametrize(
    ("run", "settings", "has"),
    [
        (all_stages, {}, set(METHODS) - {"on_exception"} | {"load_state_dict"}),
        (fit, {}, {"setup", "on_train_batch_end", "on_train_epoch_end", "teardown"}),
        (fit, {"accumulate_grad_batches": 2}, {"on_before_zero_grad"}),
        (validated, {"val_check_interval": 2, "num_sanity_val_steps": 1}, {"on_validation_batch_end"}),
        (two_val_loaders, {"check_val_every_n_epoch": 2}, {"on_validation_batch_end"}),
        (validated, {"max_epochs": -1, "max_steps": 7}, {"on_validation_batch_end"}),
        (validated, {"fast_dev_run": True}, {"on_validation_batch_end"}),
        (only_test, {}, {"setup", "on_test_batch_end", "teardown"}),
        (error, {}, {"on_validation_batch_end", "on_exception"}),
        (interrupt, {}, {"on_validation_batch_end", "on_exception"}),
    ],
)
def test_the_same_calls_as_of_a_plain_callback(kit, run, settings, has):
    run = functools.partial(run, loader=kit.loader)
    recorder = Recorder()
    plain = seen_by(kit.trainer(recorder, **settings), recorder, run)
    recorder = Recorder()
    wrapped = seen_by(kit.trainer(bridge_of(kit, recorder), **settings), recorder, run)
    assert wrapped == plain
    assert has <= {entry[1] for entry in wrapped}


def by_iteration(kit, recorder, as_a_hook, workflow, module):
    hooks = [(OptimizerHook(), "ABOVE_NORMAL")] if isinstance(module, HookedModule) else []
    hooks += [as_hook(recorder)] if as_a_hook else []
    bridge = HookCallback(hooks, by_epoch=False, max_iters=13, workflow=workflow, logger=kit.logger)
    trainer = kit.trainer(bridge, *(() if as_a_hook else (recorder,)), max_epochs=-1)
    val = (kit.loader,) if len(workflow) > 1 else ()
    return seen_by(trainer, recorder, lambda trainer: trainer.fit(module, kit.loader, *val))


@pytest.mark.parametrize("workflow", [[("train", 1)], [("train", 4), ("val", 2)]])
def test_an_iteration_based_run_has_the_epochs_of_the_trainer(kit, workflow):
    torch.manual_seed(0)
    plain = by_iteration(kit, Recorder(), False, workflow, Everything())
    torch.manual_seed(0)
    wrapped = by_iteration(kit, Recorder(), True, workflow, Everything())
    assert wrapped == plain
    names = [entry[1] for entry in wrapped]
    assert (names.count("on_train_epoch_start"), names.count("on_train_epoch_end")) == (3, 3)
    assert names.count("on_validation_epoch_end") == (1 + 4 if len(workflow) > 1 else 0)  # a sanity check too


@pytest.mark.parametrize("by_epoch", [True, False])
def test_with_a_hooked_module_a_batch_ends_inside_the_training_step(kit, by_epoch):
    def seen(as_a_hook):
        torch.manual_seed(0)
        recorder, model = Recorder(), kit.Model()
        module = HookedModule(model, {"type": "SGD", "lr": 0.1})
        if not by_epoch:
            return by_iteration(kit, recorder, as_a_hook, [("train", 4), ("val", 2)], module)
        bridge = HookCallback([(OptimizerHook(), "ABOVE_NORMAL")], logger=kit.logger)
        if as_a_hook:
            bridge.register_hook(as_hook(recorder))
        trainer = kit.trainer(bridge, *(() if as_a_hook else (recorder,)))
        return seen_by(trainer, recorder, lambda trainer: trainer.fit(module, kit.loader, kit.loader))

    def with_the_batch_counted(entry):
        name, method, args, kwargs, (*where, ready, processed), modes, _ = entry
        if method != "on_train_batch_end":
            return entry
        # what hooks have logged in this iteration is given to the Trainer after all of them
        return name, method, args, kwargs, (*where, ready, processed + 1), modes

    def without_metrics(entry):
        return entry[:-1] if entry[1] == "on_train_batch_end" else entry

    plain, wrapped = seen(False), seen(True)
    assert wrapped != plain
    assert [with_the_batch_counted(entry) for entry in wrapped] == [without_metrics(entry) for entry in plain]
    steps = [entry[4][1] for entry in wrapped if entry[1] == "on_train_batch_end"]
    assert steps == list(range(1, len(steps) + 1))  # the hook at 40 has stepped before


# order ----------------------------------------------------------------------------------------------------

POINTS = {
    "before_run": "on_train_start",
    "before_train_epoch": "on_train_epoch_start",
    "before_train_iter": "on_train_batch_start",
    "after_train_iter": "on_train_batch_end",
    "before_val_epoch": "on_validation_epoch_start",
    "before_val_iter": "on_validation_batch_start",
    "after_val_iter": "on_validation_batch_end",
    "after_val_epoch": "on_validation_epoch_end",
    "after_run": "on_train_end",
}


class Noting(Hook):
    def __init__(self, log, name):
        for point, method in POINTS.items():
            setattr(self, point, lambda runner, method=method: log.append((name, method)))


class Named(Recorder):
    def note(self, method, trainer, module, *args, **kwargs):
        self.log_.append((self.name, method, trainer.sanity_checking))


for _name in CALLED:
    setattr(Named, _name, functools.partialmethod(Named.note, _name))


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0, 10, 50, 51, 90, 100])), min_size=1, max_size=6),
    st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_hooks_and_callbacks_is_called_by_priority(kit, items, hooked):
    log, callbacks = [], set()
    bridge = HookCallback(logger=kit.logger)
    for number, (is_hook, priority) in enumerate(items):
        if not is_hook:
            callbacks.add(number)
        bridge.register_hook(Noting(log, number) if is_hook else as_hook(Named(log, number)), priority)
    module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1}) if hooked else Everything()
    trainer = kit.trainer(bridge, max_epochs=1)
    trainer.fit(module, kit.loader, kit.loader)
    order = [number for _, number in sorted((priority, number) for number, (_, priority) in enumerate(items))]
    expected = {True: [n for n in order if n in callbacks], False: order}
    turns = {}
    for name, method, *sanity in log:
        turns.setdefault(method, []).append((name, *sanity))
    for method, calls in turns.items():
        at_point = method in POINTS.values()
        quiet = [name for name, *sanity in calls if sanity == [True]]
        assert quiet == expected[True] * (len(quiet) // max(len(callbacks), 1))  # no point is called then
        others = [name for name, *sanity in calls if sanity != [True]]
        wanted = expected[not at_point]
        if method == "on_validation_epoch_end" and not hooked:  # hooks wait for what the module logs in its own
            wanted = sorted(wanted, key=lambda name: name not in callbacks)
        assert others == wanted * (len(others) // len(wanted)), method
    assert callbacks == set() or len(turns["on_train_batch_end"]) == 5 * len(items)


def test_monitoring_callbacks_come_last_at_the_end_of_an_epoch(kit):
    """As under Lightning: after the module, whatever their priority; after the validation too."""
    seen = []

    class Stop(EarlyStopping):
        def on_train_epoch_end(self, trainer, module):
            seen.append(("stop", sorted(trainer.callback_metrics)))

    class Late(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            seen.append(("late", sorted(trainer.callback_metrics)))

    class Ends(Hook):
        def after_train_epoch(self, runner):
            seen.append(("hook", sorted(runner.trainer.callback_metrics)))

    bridge = HookCallback([(as_hook(Stop("v")), "HIGHEST"), as_hook(Late()), (Ends(), "LOWEST")], logger=kit.logger)
    kit.trainer(bridge, max_epochs=1, num_sanity_val_steps=0).fit(Everything(), kit.loader, kit.loader)
    assert seen == [("hook", ["loss"]), ("late", ["loss", "v"]), ("stop", ["late", "loss", "v"])]


def test_a_wrapped_callback_has_its_place_among_the_trainers(kit):
    log = []
    first, last = Named(log, "first"), Named(log, "last")
    bridge = HookCallback([(as_hook(Named(log, "b")), "LOW"), (as_hook(Named(log, "a")), 3)], logger=kit.logger)
    kit.trainer(first, bridge, last, max_epochs=1).fit(Everything(), kit.loader)
    for method in ("setup", "on_before_backward", "on_train_batch_end", "on_train_epoch_end", "on_fit_end"):
        assert [name for name, called, _ in log if called == method][:4] == ["first", "a", "b", "last"]


def test_a_point_called_by_name_does_not_reach_callbacks(kit):
    class Calls(Hook):
        def after_train_iter(self, runner):
            runner.call_hook("after_val_epoch")

    recorder = Recorder()
    bridge = HookCallback([Calls(), as_hook(recorder)], logger=kit.logger)
    kit.trainer(bridge, max_epochs=1, num_sanity_val_steps=0).fit(Everything(), kit.loader, kit.loader)
    assert recorder.seen("on_validation_epoch_end") == ["on_validation_epoch_end"]


def test_a_run_that_was_finished_calls_what_lightning_calls(kit):
    first = kit.trainer(HookCallback([OptimizerHook()], logger=kit.logger), max_epochs=1)
    first.fit(HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1}), kit.loader)
    first.save_checkpoint(kit.folder / "done.ckpt")
    recorder, seen = Recorder(), []
    bridge = HookCallback([OptimizerHook(), as_hook(recorder), Noting(seen, "hook")], logger=kit.logger)
    module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1})
    kit.trainer(bridge, max_epochs=1).fit(module, kit.loader, ckpt_path=kit.folder / "done.ckpt")
    assert recorder.seen() == ["setup", "on_load_checkpoint", "on_fit_start", "on_fit_end", "teardown"]
    assert seen == [("hook", "on_train_start"), ("hook", "on_train_end")]


# what is not overridden -----------------------------------------------------------------------------------


def test_what_is_not_overridden_costs_nothing(kit):
    class Ends(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            names = [name for name in CALLED if getattr(trainer.callbacks[1], name) is not None]
            seen.append((names, set(vars(bridge)) & set(CALLED)))

    seen = []
    bridge = bridge_of(kit, Ends())
    trainer = kit.trainer(bridge, max_epochs=1)
    trainer.fit(Everything(), kit.loader, kit.loader)
    assert seen == [(["on_train_epoch_end"], set())]
    assert isinstance(trainer.callbacks[1], Ends)


def test_methods_set_on_an_object_count(kit):
    seen = []
    callback = LambdaCallback(
        on_train_batch_end=lambda trainer, module, outputs, batch, index: seen.append(index),
        on_before_backward=lambda trainer, module, loss: seen.append("backward"),
    )
    kit.trainer(bridge_of(kit, callback), max_epochs=1).fit(Everything(), kit.loader)
    assert seen == [one for index in range(5) for one in ("backward", index)]


# logging --------------------------------------------------------------------------------------------------

LOGGABLE = [name for name in CALLED if name[:10] not in ("on_predict", "on_sanity_") and name not in (
    "setup", "teardown", "on_fit_start", "on_fit_end", "on_train_end", "on_validation_end", "on_test_end",
    "on_exception")]  # fmt: skip


class Logging(L.Callback):
    def __init__(self):
        self.levels = {}

    def write(self, method, trainer, module, *args):
        if not trainer.sanity_checking:
            number = trainer.fit_loop.epoch_loop.batch_progress.total.ready
            self.log(f"self/{method}", float(number))
            module.log(f"module/{method}", float(2 * number), on_epoch=True)


for _name in LOGGABLE:
    setattr(Logging, _name, functools.partialmethod(Logging.write, _name))


@pytest.mark.parametrize("hooked", [False, True])
def test_log_works_as_in_a_plain_callback(kit, hooked):
    def metrics(as_a_hook):
        torch.manual_seed(0)
        module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1}) if hooked else Everything()
        hooks = [(OptimizerHook(), 40)] if hooked else []
        bridge = HookCallback([*hooks, *([as_hook(Logging())] if as_a_hook else [])], logger=kit.logger)
        trainer = kit.trainer(bridge, *([] if as_a_hook else [Logging()]))
        trainer.fit(module, kit.loader, kit.loader)
        found = [dict(trainer.callback_metrics), dict(trainer.logged_metrics)]
        return found, trainer.test(module, kit.loader, verbose=False)

    plain = metrics(False)
    assert metrics(True) == plain
    missing = {"on_before_zero_grad"} if hooked else set()  # manual optimization does not call it
    names = [*plain[0][0], *plain[1][0]]
    logged = {name.split("/")[1] for name in names if "/" in name}
    assert logged >= set(LOGGABLE) - missing


def test_log_is_refused_where_lightning_refuses_it(kit):
    class AtEnd(L.Callback):
        def on_train_end(self, trainer, module):
            self.log("x", 1.0)

    with pytest.raises(Exception, match=r"You can't `self.log\(\)` inside `on_train_end`"):
        kit.trainer(bridge_of(kit, AtEnd()), max_epochs=1).fit(Everything(), kit.loader)


# what is said, and refused --------------------------------------------------------------------------------


def test_hook_info_names_callbacks_at_points_and_at_the_trainers_moments(kit):
    bridge = HookCallback([(as_hook(ModelCheckpoint()), "LOW"), EMAHook()], logger=kit.logger)
    bridge.register_hook(as_hook(EarlyStopping("v")), 55)
    info = bridge.runner.get_hook_info()
    assert "before_run:\n(NORMAL      ) EMAHook\n(LOW         ) ModelCheckpoint\n" in info
    moment = "on_validation_end (the Trainer's):\n(55          ) EarlyStopping\n(LOW         ) ModelCheckpoint\n"
    assert moment in info


def refusals(kit):
    stopping = EarlyStopping("v")
    foreign = type("Callback", (), {"__module__": "pytorch_lightning.callbacks.callback"})
    return {
        "not the class: write as_hook\\(EarlyStopping": lambda: as_hook(EarlyStopping),
        "holds hooks and is none": lambda: as_hook(HookCallback()),
        "is wrapped already": lambda: as_hook(as_hook(stopping)),
        "is a hook: register it as it is": lambda: as_hook(EMAHook()),
        "not SimpleNamespace": lambda: as_hook(SimpleNamespace()),
        "comes from pytorch_lightning": lambda: as_hook(type("Theirs", (foreign,), {})()),
        "BatchSizeFinder runs trial fits": lambda: as_hook(BatchSizeFinder()),
        "LearningRateFinder runs trial fits": lambda: as_hook(LearningRateFinder()),
        "as_hook was called twice": lambda: bridge_of(kit, stopping, stopping),
        "register as_hook\\(EarlyStopping": lambda: HookCallback([stopping]),
        "needs a Trainer": lambda: EpochBasedRunner(
            kit.Model(), optimizer=None, max_epochs=1, logger=kit.logger
        ).register_hook(as_hook(stopping)),
        "another runner": lambda: twice(as_hook(stopping)),
    }


def twice(hook):
    for _ in range(2):
        HookCallback([hook])


@pytest.mark.parametrize("says", list(refusals(None)))
def test_what_is_refused_at_once(kit, says):
    with pytest.raises((HookError, TypeError, ConfigError), match=says):
        refusals(kit)[says]()


def test_what_a_trainer_refuses(kit):
    def fit(bridge, *others, module=None, **settings):
        kit.trainer(bridge, *others, **settings).fit(module or Everything(), kit.loader, kit.loader)

    stopping = EarlyStopping("v")
    with pytest.raises(HookError, match="EarlyStopping is registered with as_hook and is in Trainer"):
        fit(bridge_of(kit, stopping), stopping)
    with pytest.raises(HookError, match="EarlyStopping and EarlyStopping would save their states under one key"):
        fit(bridge_of(kit, stopping), EarlyStopping("v"))
    with pytest.raises(HookError, match="would save their states under one key"):
        fit(bridge_of(kit, EarlyStopping("v"), EarlyStopping("v")))
    bars = TQDMProgressBar(), TQDMProgressBar(refresh_rate=3)
    with pytest.raises(HookError, match="TQDMProgressBar and TQDMProgressBar would both draw"):
        fit(bridge_of(kit, bars[0]), bars[1], enable_progress_bar=True)

    class Brings(Everything):
        def configure_callbacks(self):
            return [EarlyStopping("v", patience=1)]

    with pytest.raises(HookError, match=r"Brings\.configure_callbacks"):
        fit(bridge_of(kit, EarlyStopping("loss")), module=Brings())
    fit(bridge_of(kit, ModelCheckpoint(kit.folder)), module=Brings())


def test_a_callback_cannot_join_in_the_middle_of_a_fit(kit):
    class Registers(Hook):
        def before_train_epoch(self, runner):
            runner.register_hook(as_hook(EarlyStopping("v")))

    bridge = HookCallback([Registers()], logger=kit.logger)
    with pytest.raises(HookError, match="EarlyStopping is registered in the middle of a fit"):
        kit.trainer(bridge).fit(Everything(), kit.loader, kit.loader)
    recorder = Recorder()
    bridge.hooks.clear()
    bridge.register_hook(as_hook(recorder))
    kit.trainer(bridge, max_epochs=1).fit(Everything(), kit.loader)
    assert recorder.seen("setup", "on_train_end") == ["setup", "on_train_end"]
