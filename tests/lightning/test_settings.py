"""Settings of a Trainer that say how long, and on what: with both kinds of modules, by epochs and by iterations."""

import re
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mmhooks import CheckpointHook, ConfigError, GradientCumulativeOptimizerHook, Hook
from mmhooks_lightning import HookedModule

HERE = Path(__file__).parent
VAL = {"workflow": [("train", 4), ("val", 2)]}


def numbered(batches, **kwargs):
    """A loader whose i-th batch is known by the sum of its inputs, 4 * i."""
    x = torch.arange(batches).float().repeat_interleave(4)[:, None].expand(-1, 4) / 4
    return DataLoader(TensorDataset(x, torch.zeros(len(x)).long()), 4, **kwargs)


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.randn(4), 0


# limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [3, 0.6])
def test_limit_train_batches(kit, kind, by_epoch, limit):
    class Ends(Hook):
        seen = 0

        def after_train_iter(self, runner):
            self.seen += self.end_of_epoch(runner)

    one = kit.setup(kind, by_epoch, [ends := Ends()], limit_train_batches=limit)
    one.trainer.fit(one.module, numbered(5))
    assert set(one.points.lengths) == {3}
    assert one.points.batches == [0, 4, 8] * (2 if by_epoch else 4)
    assert not by_epoch or ends.seen == 2
    assert (one.runner.iter, one.runner.epoch) == ((6, 2) if by_epoch else (12, 3))


def test_a_limit_holds_for_a_loader_that_a_hook_sets(kit, kind):
    class Other(Hook):
        def before_train_epoch(self, runner):
            runner.data_loader = numbered(7)

    one = kit.setup(kind, hooks=[(Other(), "HIGH")], limit_train_batches=3)
    one.trainer.fit(one.module, numbered(5))
    assert one.points.batches == [0, 4, 8] * 2


def test_nothing_to_train(kit, kind, by_epoch):
    for settings in ({"limit_train_batches": 0}, {"max_epochs": 0}, {"max_steps": 0}):
        one = kit.setup(kind, by_epoch, **settings)
        one.trainer.fit(one.module, kit.loader)
        assert one.points.seen == [("before_run", 0, 0), ("after_run", 0, 0)]


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (0.4, 2), (0, 0)])
def test_limit_val_batches(kit, kind, limit, batches):
    one = kit.setup(kind, limit_val_batches=limit)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.count("before_val_epoch") == (2 if batches else 0)
    assert one.points.count("after_val_iter") == 2 * batches


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (7, 2), (0, 0)])
def test_limit_val_batches_of_a_workflow_in_iterations(kit, kind, limit, batches):
    one = kit.setup(kind, False, bridge=VAL, limit_val_batches=limit)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.count("after_val_iter") == 3 * batches


def test_a_part_of_a_workflow_in_iterations_is_refused(kit, kind):
    for settings in ({"limit_val_batches": 0.5}, {"overfit_batches": 0.5}):
        one = kit.setup(kind, False, bridge=VAL, **settings)
        with pytest.raises(ConfigError, match="a part of no whole: write an integer"):
            one.trainer.fit(one.module, kit.loader, kit.loader)
        assert one.points.seen == []


@pytest.mark.parametrize(("limit", "batches"), [(2, 2), (0.6, 3), (0, 0)])
def test_limit_test_and_predict_batches(kit, kind, limit, batches):
    class Tested(kit.Lit):
        forward = lambda self, batch: self.net(batch[0])  # noqa: E731

        def test_step(self, batch, batch_idx):
            self.log("seen", 1.0, reduce_fx="sum")

    class Model(kit.Model):
        forward = Tested.forward

        def val_step(self, data, optimizer=None, **kwargs):
            tested.append(data)
            return self.train_step(data)

    tested = []
    one = kit.setup(
        kind,
        module=Tested() if kind == "ordinary" else HookedModule(Model()),
        limit_test_batches=limit,
        limit_predict_batches=limit,
    )
    results = one.trainer.test(one.module, kit.loader, verbose=False)
    seen = len(tested) if kind == "hooked" else int(results[0]["seen"]) if results and batches else 0
    assert seen == batches
    assert len(one.trainer.predict(one.module, kit.loader) or []) == batches
    assert one.points.seen == []


@pytest.mark.parametrize("overfit", [2, 0.4])
def test_overfit_batches(kit, kind, by_epoch, overfit):
    one = kit.setup(kind, by_epoch, overfit_batches=overfit)
    one.trainer.fit(one.module, numbered(5, shuffle=True))
    assert one.points.batches == [0, 4] * (2 if by_epoch else 6)


@pytest.mark.parametrize(("value", "batches"), [(True, 1), (3, 3)])
def test_fast_dev_run_tries_everything_and_writes_no_checkpoint(kit, kind, by_epoch, value, batches):
    hooks = [CheckpointHook(interval=1, by_epoch=by_epoch)]
    bridge = {"workflow": [("train", 1), ("val", 1)]} if by_epoch else {"workflow": [("train", 1000), ("val", 50)]}
    one = kit.setup(kind, by_epoch, hooks, bridge=bridge, fast_dev_run=value)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.count("after_train_iter") == batches
    assert one.points.count("after_val_iter") == batches
    assert one.points.names()[-1] == "after_run"
    assert list(kit.folder.rglob("*.pth")) == []


# lengths -----------------------------------------------------------------------------------------------------


def test_max_steps(kit, kind, by_epoch):
    one = kit.setup(kind, by_epoch, max_epochs=-1, max_steps=7)
    one.trainer.fit(one.module, kit.loader)
    assert one.trainer.global_step == one.points.count("after_train_iter") == 7
    end = ["after_train_iter", "after_train_epoch", "after_run"]
    assert one.points.names()[-3:] == (end if by_epoch else ["before_train_iter", "after_train_iter", "after_run"])


def test_max_steps_counts_the_steps_of_all_optimizers(kit, by_epoch):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 2), torch.nn.Linear(4, 2)

        def train_step(self, data, optimizer):
            for name, net in (("a", self.a), ("b", self.b)):
                optimizer[name].zero_grad()
                net(data[0]).sum().backward()
                optimizer[name].step()
            return {}

    optimizers = {name: {"type": "SGD", "lr": 0.1} for name in "ab"}
    one = kit.setup("ordinary", by_epoch, module=HookedModule(Two(), optimizers), max_epochs=-1, max_steps=6)
    one.trainer.fit(one.module, kit.loader)
    assert one.points.count("after_train_iter") == 3


def test_max_steps_counts_groups_of_accumulated_iterations(kit, by_epoch):
    hooks = [GradientCumulativeOptimizerHook(cumulative_iters=2)]
    module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1})
    one = kit.setup("ordinary", by_epoch, hooks, module=module, max_steps=4, **({"max_epochs": 9} if by_epoch else {}))
    one.trainer.fit(one.module, kit.loader)
    assert (one.trainer.global_step, one.points.count("after_train_iter")) == (4, 8)


def test_accumulation_needs_to_know_the_length(kit):
    hooks = [GradientCumulativeOptimizerHook(cumulative_iters=2)]
    one = kit.setup("ordinary", hooks=hooks, module=HookedModule(kit.Model()), max_epochs=-1, max_steps=4)
    with pytest.raises(ConfigError, match="write Trainer\\(max_epochs=N\\)"):
        one.trainer.fit(one.module, kit.loader)


def test_max_epochs(kit, kind):
    for settings, epochs in (({"max_epochs": 1}, 1), ({"max_epochs": None, "max_steps": 8}, 2)):
        one = kit.setup(kind, **settings)
        one.trainer.fit(one.module, kit.loader)
        assert one.points.count("after_train_epoch") == one.runner.epoch == epochs
    assert one.runner.max_epochs is None
    assert one.runner.max_iters is None


def test_max_epochs_of_an_iteration_based_run(kit, kind, caplog):
    """They are passes of the loader; without them the run ends at max_iters."""
    kit.logger.addHandler(caplog.handler)
    one = kit.setup(kind, False, max_epochs=2)
    one.trainer.fit(one.module, kit.loader)
    assert one.points.names()[-1] == "after_run"
    assert (one.points.count("after_train_iter"), one.runner.max_iters) == (10, 12)
    assert "ends this iteration-based run after 2 passes of the train loader" in caplog.text
    kit.logger.removeHandler(caplog.handler)
    one = kit.setup(kind, False, max_epochs=None)
    one.trainer.fit(one.module, kit.loader)
    assert one.points.count("after_train_iter") == 12
    assert one.trainer.max_epochs == 1000  # as it was


def test_a_loader_without_a_length(kit, kind):
    endless = DataLoader(Endless(), 4)
    for settings in ({}, {"limit_train_batches": 5}, {"limit_train_batches": 5, "max_epochs": 3}):
        one = kit.setup(kind, False, bridge={"max_iters": 7}, **settings)
        one.trainer.fit(one.module, endless)
        assert one.points.count("after_train_iter") == one.trainer.global_step == 7
    for settings, says in (({"limit_train_batches": 0.5}, "write an integer"), ({"max_epochs": 2}, "max_iters ends")):
        one = kit.setup(kind, False, **settings)
        with pytest.raises(ConfigError, match=says):
            one.trainer.fit(one.module, endless)
        assert one.points.seen == []


def test_an_epoch_without_an_end_is_refused(kit):
    one = kit.setup("hooked")
    with pytest.raises(ConfigError, match="no length"):
        one.trainer.fit(one.module, DataLoader(Endless(), 4))
    assert one.points.seen == []


@pytest.mark.parametrize("settings", [{"min_epochs": 2}, {"min_steps": 3}, {"min_steps": 30}], ids=str)
def test_what_prolongs_an_iteration_based_run_is_refused(kit, kind, settings):
    one = kit.setup(kind, False, **settings)
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}=.* could keep an iteration-based run from ending"):
        one.trainer.fit(one.module, kit.loader)


# loaders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 2, -1])
def test_num_sanity_val_steps(kit, kind, by_epoch, number):
    """A sanity check calls no hook and draws no random number."""
    traces = []
    for steps in (0, number):
        one = kit.setup(kind, by_epoch, bridge={} if by_epoch else VAL, num_sanity_val_steps=steps)
        loaders = [
            DataLoader(kit.loader.dataset, 8, shuffle=True, generator=torch.Generator().manual_seed(5)) for _ in "ab"
        ]
        one.trainer.fit(one.module, *loaders)
        traces.append((one.points.seen, one.points.batches, one.module.state_dict()))
    assert traces[0][:2] == traces[1][:2]
    assert all(torch.equal(value, traces[1][2][name]) for name, value in traces[0][2].items())


class Data(L.LightningDataModule):
    """Every train loader that it makes is one batch longer."""

    def __init__(self):
        super().__init__()
        self.made = []

    def train_dataloader(self):
        self.made.append(numbered(2 + len(self.made)))
        return self.made[-1]

    def val_dataloader(self):
        return numbered(2)


def test_reload_dataloaders_every_n_epochs(kit, kind):
    class See(Hook):
        loaders: list[object] = []  # noqa: RUF012

        def before_train_epoch(self, runner):
            self.loaders.append(runner.data_loader)

        def after_val_iter(self, runner):
            assert len(runner.data_loader) == 2

    see = See()
    see.loaders = []
    one = kit.setup(kind, hooks=[see], max_epochs=3, reload_dataloaders_every_n_epochs=1)
    data = Data()
    one.trainer.fit(one.module, datamodule=data)
    assert see.loaders == data.made
    assert one.points.batches == [0, 4, 0, 4, 8, 0, 4, 8, 12]
    assert one.points.count("after_val_iter") == 6


def test_reloaded_loaders_of_an_iteration_based_run(kit, kind):
    one = kit.setup(kind, False, bridge=VAL, reload_dataloaders_every_n_epochs=1)
    one.trainer.fit(one.module, datamodule=Data())
    assert one.points.batches == [0, 4, 0, 4, 8, 0, 4, 8, 12, 0, 4, 8]
    assert one.points.lengths == [2] * 2 + [3] * 3 + [4] * 4 + [5] * 3
    whole = kit.setup(kind, False, bridge=VAL, reload_dataloaders_every_n_epochs=1)
    whole.trainer.fit(whole.module, numbered(5), numbered(2))  # the same one each time: it goes on
    assert whole.points.batches == [0, 4, 8, 12, 16, 0, 4, 8, 12, 16, 0, 4]
    assert whole.runner.epoch == 2


def test_a_data_module(kit, kind, by_epoch):
    one = kit.setup(kind, by_epoch, bridge={} if by_epoch else VAL)
    one.trainer.fit(one.module, datamodule=Data())
    assert one.points.batches == ([0, 4] * 2 if by_epoch else [0, 4] * 6)
    assert one.points.count("after_val_iter") == (4 if by_epoch else 6)


def test_several_loaders(kit):
    """A HookedModule has one of each; an ordinary module's batch is what Lightning combines."""

    class Several(kit.Lit):
        def training_step(self, batch, batch_idx):
            return sum(super(Several, self).training_step(part, batch_idx) for part in batch.values())

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx)

    class Lengths(Hook):
        def __init__(self):
            self.seen = []

        def before_val_iter(self, runner):
            self.seen.append(len(runner.data_loader))

    several = {"a": kit.loader, "b": kit.loader}
    for train, val, mode in ((several, None, "train"), (kit.loader, [kit.loader, kit.loader], "val")):
        one = kit.setup("hooked")
        with pytest.raises(ConfigError, match=f"one {mode} loader, not 2: combine"):
            one.trainer.fit(one.module, train, val)
        assert one.points.seen == []
    combined = CombinedLoader(several, "min_size")
    one = kit.setup("ordinary", hooks=[lengths := Lengths()], module=Several(), max_epochs=1)
    one.bridge.hooks.remove(one.points)  # which reads a batch of its own kind
    one.trainer.fit(one.module, combined, [numbered(2), numbered(3)])
    assert lengths.seen == [2, 2, 3, 3, 3]
    assert combined.flattened == [kit.loader, kit.loader]  # the user's own, again


# the rest ----------------------------------------------------------------------------------------------------

FLAGS = [
    {"deterministic": True}, {"benchmark": True}, {"detect_anomaly": True}, {"inference_mode": False},
    {"profiler": "simple"}, {"sync_batchnorm": True}, {"log_every_n_steps": 1}, {"use_distributed_sampler": False},
    {"accelerator": "auto", "devices": 1}, {"strategy": "auto"},
    {"logger": None, "enable_checkpointing": None, "enable_progress_bar": None, "enable_model_summary": None,
     "barebones": True},
]  # fmt: skip


@pytest.fixture
def global_switches():
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: next(reversed(flags)))
def test_flags_change_no_number(kit, kind, by_epoch, flags, global_switches, monkeypatch):
    monkeypatch.chdir(kit.folder)
    results = []
    for settings in ({}, flags):
        one = kit.setup(kind, by_epoch, bridge={} if by_epoch else VAL, **settings)
        one.trainer.fit(one.module, kit.loader, kit.loader)
        results.append((one.points.seen, one.module.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(value, results[1][1][name]) for name, value in results[0][1].items())


def test_detect_anomaly_finds_one(kit, kind):
    class Root(torch.nn.Linear):
        def forward(self, x):
            return super().forward((x * 0).sqrt() * x)  # the gradient of a root at 0, times 0

    one = kit.setup(kind, detect_anomaly=True)
    module = one.module.model if kind == "hooked" else one.module
    module.net = torch.nn.Sequential(torch.nn.Linear(4, 4), Root(4, 2))
    with pytest.raises(RuntimeError, match="returned nan values"):
        one.trainer.fit(one.module, kit.loader)


def test_every_row_of_the_table_has_its_test():
    text = (HERE.parents[1] / "docs" / "lightning.md").read_text()
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (HERE / file).read_text(), (file, name)
    rows = [
        line
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith(("|-", "| setting", "| what"))
    ]
    assert all("::test_" in row or "test_resume.py" in row for row in rows if row.count("|") > 3)
