"""A run that is cut anywhere and goes on, under either driver, ends bit for bit as one that was not: with dropout,
shuffling, random augmentations, workers, accumulation, averages, evaluations."""

import logging
import random
from contextlib import nullcontext

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from mmhooks import EMAHook, EpochBasedRunner, EvalHook, Hook, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint
from mmhooks.distributed import set_random_seed
from mmhooks_lightning import HookCallback, HookedModule
from tests.ending_loader import Loader
from tests.lightning.cuts import Cut, SaveAndCut

QUIET = logging.getLogger("quiet exact")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))

    def train_step(self, data, optimizer=None, **kwargs):
        x, y = data
        loss = nn.functional.cross_entropy(self.body(x), y)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(x)}

    val_step = train_step


class Augmented(Dataset):
    """Draws from all three generators, for each sample."""

    def __init__(self, length):
        generator = torch.Generator().manual_seed(length)
        self.x = torch.randn(length, 4, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x = self.x[index] * random.uniform(0.9, 1.1) + np.random.randn() * 0.01 + torch.randn(4) * 0.01
        return x, int(self.x[index].sum() > 0)

    def evaluate(self, results, logger=None, **kwargs):
        return {"acc": torch.stack(results).mean().item()}


def scores(model, loader):
    model.eval()
    with torch.no_grad():
        return [model.body(x).softmax(1)[torch.arange(len(y)), y].mean() for x, y in loader]


def stateful(dataset, **arguments):
    return pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader(dataset, **arguments)


def own_generator(dataset):
    return DataLoader(dataset, 8, shuffle=True, generator=torch.Generator().manual_seed(5))


def sampler_generator(dataset):
    return DataLoader(dataset, 8, sampler=RandomSampler(dataset, generator=torch.Generator().manual_seed(5)))


LOADERS = {
    "shuffled": lambda dataset: DataLoader(dataset, 8, shuffle=True),
    "own generator": own_generator,
    "the sampler's generator": sampler_generator,
    "weighted": lambda dataset: DataLoader(
        dataset, 8, sampler=WeightedRandomSampler([1.0 + i % 3 for i in range(len(dataset))], len(dataset))
    ),
    "stateful": lambda dataset: stateful(dataset, batch_size=8, shuffle=True),
    "workers": lambda dataset: Loader(dataset, 8, shuffle=True, num_workers=2),
}


class Drawing(Hook):
    """Draws at its points, as hooks that mix or resize do, and counts what it was called for."""

    catches_up = True

    def __init__(self):
        self.drawn = []

    def before_train_epoch(self, runner):
        runner.drawn = [random.random(), torch.rand(1).item()]

    def after_train_iter(self, runner):
        if runner.iter % 3 == 0:
            self.drawn.append((runner.iter, runner.inner_iter, np.random.rand()))

    def after_train_epoch(self, runner):
        self.drawn.append((runner.epoch, torch.rand(1).item()))

    def state_dict(self):
        return {"drawn": list(self.drawn)}

    def load_state_dict(self, state):
        self.drawn = [tuple(one) for one in state["drawn"]]


class Lines(Hook):
    """What a logger of this interval would write."""

    def __init__(self):
        self.lines = {}

    def after_train_iter(self, runner):
        if (runner.inner_iter + 1) % 3 == 0:
            runner.log_buffer.average(3)
            self.lines[runner.iter] = runner.log_buffer.output.get("loss")


def leg(driver, folder, by_epoch, loader="shuffled", cut=None, file=None, way="ckpt_path", val=True, at="LOWEST"):
    """Train until the end, or until a cut; give back all that must be equal."""
    set_random_seed(0)
    model, drawing, lines = Net(), Drawing(), Lines()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    limit = {"max_epochs": 3} if by_epoch else {"max_iters": 13}
    workflow = [("train", 1 if by_epoch else 3), *([("val", 1 if by_epoch else 2)] if val else [])]
    loaders = [LOADERS[loader](Augmented(37)), LOADERS[loader](Augmented(19))][: len(workflow)]
    if driver == "native":
        cls = EpochBasedRunner if by_epoch else IterBasedRunner
        runner = target = cls(model, optimizer=sgd, work_dir=folder, logger=QUIET, **limit)
    else:
        target = HookCallback(work_dir=folder, by_epoch=by_epoch, max_iters=limit.get("max_iters"), logger=QUIET,
                              workflow=workflow)  # fmt: skip
        runner = target.runner
    target.register_training_hooks(
        {"policy": "CosineAnnealing", "min_lr": 0.001, "warmup": "linear", "warmup_iters": 3},
        {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 2},
        {"interval": 1 if by_epoch else 5, "max_keep_ckpts": 2},
        {"interval": 3, "hooks": [{"type": "TextLoggerHook"}]},
    )
    target.register_hook(EMAHook(momentum=0.05), "ABOVE_NORMAL")
    dataset = Augmented(16)
    evaluation = EvalHook(DataLoader(dataset, 8), save_best="acc", by_epoch=by_epoch, test_fn=scores,
                          interval=1 if by_epoch else 4)  # fmt: skip
    target.register_hook(evaluation, "LOW")
    target.register_hook(drawing, "LOW")
    target.register_hook(lines, "LOW")
    if cut is not None:
        target.register_hook(SaveAndCut(*cut), at)
    with pytest.raises(Cut) if cut is not None else nullcontext():
        if driver == "native":
            if file is not None:
                runner.resume(file)
            runner.run(loaders, workflow)
        else:
            if file is not None and way == "resume":
                target.resume(file)
            trainer = L.Trainer(max_epochs=3 if by_epoch else -1, callbacks=[target], logger=False, accelerator="cpu",
                                enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False)  # fmt: skip
            trainer.fit(HookedModule(model, sgd), *loaders, ckpt_path=file if way == "ckpt_path" else None)
    for one in loaders:
        if isinstance(one, Loader):
            one.end()
    return {
        "weights": model.state_dict(),
        "optimizer": sgd.state_dict(),
        "counters": (runner.epoch, runner.iter),
        "best": runner.meta["hook_msgs"].get("best_score"),
        "drawn": drawing.drawn,
        "next": (random.random(), np.random.rand(), torch.rand(1).item()),
    }, lines.lines


def assert_equal(one, other, where=""):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), (where, one, other)
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}/{i}")
    else:
        assert one == other, where


def check(end, expected):
    (state, lines), (whole, all_lines) = end, expected
    assert_equal(state, whole)
    assert lines == {key: all_lines[key] for key in lines}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The end of a run that is not cut, natively."""
    found = {}

    def run(by_epoch, loader="shuffled", val=True):
        key = by_epoch, loader, val
        if key not in found:
            found[key] = leg("native", tmp_path_factory.mktemp("whole"), by_epoch, loader, val=val)
        return found[key]

    return run


#: Where the two legs are cut: the point, and the number of finished iterations from which on.
CUTS = {
    (True, "in an epoch"): (("after_train_iter", 2), ("after_train_iter", 7)),
    (True, "at an epoch's end"): (("after_train_epoch", 5), ("after_train_epoch", 10)),
    (True, "after an epoch's last iteration"): (("after_train_iter", 4), ("after_train_iter", 9)),
    (True, "before an epoch"): (("before_train_epoch", 0), ("before_train_epoch", 10)),
    (True, "at a validation"): (("before_val_epoch", 5), ("after_val_iter", 10)),
    (False, "in a pass"): (("after_train_iter", 1), ("after_train_iter", 7)),
    (False, "at a pass's end"): (("after_train_iter", 4), ("after_train_iter", 9)),
    (False, "in a validation"): (("after_val_iter", 3), ("after_val_iter", 9)),
}
ORDERS = [("native", "lightning", "native"), ("lightning", "native", "lightning"), ("lightning",) * 3, ("native",) * 3]


def cases():
    for kind in CUTS:
        for order in ORDERS:
            for loader in LOADERS:
                name = (
                    f"{'epochs' if kind[0] else 'iterations'} {kind[1]} {''.join(o[0].upper() for o in order)} {loader}"
                )
                often = (order in ORDERS[:2] and loader == "shuffled") or (order == ORDERS[0] and kind[1][:4] == "in a")
                yield pytest.param(kind, order, loader, id=name, marks=() if often else pytest.mark.slow)


@pytest.mark.parametrize(("kind", "order", "loader"), list(cases()))
def test_three_legs_end_as_one_run(tmp_path, whole, kind, order, loader):
    file = None
    for driver, cut in zip(order, (*CUTS[kind], None), strict=True):
        end = leg(driver, tmp_path, kind[0], loader, cut, file)
        file = tmp_path / "cut.pth"
    read_checkpoint(file)  # without unpickling
    check(end, whole(kind[0], loader))


@pytest.mark.parametrize("driver", ["native", "lightning"])
def test_the_whole_run_is_the_same_under_both(tmp_path, whole, driver):
    for by_epoch in (True, False):
        check(leg(driver, tmp_path, by_epoch), whole(by_epoch))


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize("way", ["ckpt_path", "resume"])
def test_both_ways_into_a_trainer(tmp_path, whole, by_epoch, way):
    leg("native", tmp_path, by_epoch, cut=("after_train_iter", 6))
    check(leg("lightning", tmp_path, by_epoch, file=tmp_path / "cut.pth", way=way), whole(by_epoch))


@pytest.mark.parametrize("order", [("native", "lightning"), ("lightning", "native")])
@pytest.mark.parametrize(("by_epoch", "point", "at"), [(True, "after_train_epoch", 5), (False, "after_train_iter", 3)])
def test_hooks_whose_turn_was_still_to_come_catch_up(tmp_path, whole, order, by_epoch, point, at):
    """The file is saved before the evaluation of the same epoch (or iteration), as a CheckpointHook's is."""
    leg(order[0], tmp_path, by_epoch, cut=(point, at), at="NORMAL")
    assert [name for name, _ in read_checkpoint(tmp_path / "cut.pth")["mmhooks"]["left"]["hooks"]][
        -1
    ] == "TextLoggerHook"
    check(leg(order[1], tmp_path, by_epoch, file=tmp_path / "cut.pth"), whole(by_epoch))


def drawn_cuts(seeds):
    return [pytest.param(seed, marks=() if seed < 10 else pytest.mark.slow) for seed in range(seeds)]


@pytest.mark.parametrize("seed", drawn_cuts(200))
def test_drawn_cuts(tmp_path, whole, seed):
    """Up to three cuts at drawn points, iterations and priorities, under drawn drivers."""
    draw = random.Random(seed)
    by_epoch, val = draw.random() < 0.5, draw.random() < 0.5
    loader = draw.choice([name for name in LOADERS if name != "workers"])
    points = ["after_train_iter", *(["after_train_epoch", "before_train_epoch"] if by_epoch else [])]
    file, done = None, 0
    for _ in range(draw.randint(1, 3)):
        cut, priority = (draw.choice(points), draw.randint(done, 9)), draw.choice(["NORMAL", "LOW", "LOWEST"])
        driver, way = draw.choice(["native", "lightning"]), draw.choice(["ckpt_path", "resume"])
        leg(driver, tmp_path, by_epoch, loader, cut, file, way, val=val, at=priority)
        file = tmp_path / "cut.pth"
        done = read_checkpoint(file)["mmhooks"]["position"]["iters"]
        if done > 9:
            break
    end = leg(draw.choice(["native", "lightning"]), tmp_path, by_epoch, loader, file=file, val=val)
    check(end, whole(by_epoch, loader, val))


@pytest.mark.parametrize("by_epoch", [True, False])
def test_the_file_of_a_checkpoint_hook(tmp_path, whole, by_epoch):
    """It is saved before the evaluation and the loggers have had their turn."""
    leg("native", tmp_path, by_epoch)
    file = min(tmp_path.glob("epoch_*.pth" if by_epoch else "iter_*.pth"))
    for driver in ("native", "lightning"):
        check(leg(driver, tmp_path / "again", by_epoch, file=file), whole(by_epoch))


@pytest.mark.parametrize("driver", ["native", "lightning"])
@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_run_that_was_complete_catches_up(tmp_path, whole, driver, by_epoch):
    """The last file is saved before the last evaluation, so that is still to be done."""
    leg("native", tmp_path, by_epoch)
    (state, _), (expected, _) = leg(driver, tmp_path, by_epoch, file=tmp_path / "latest.pth"), whole(by_epoch)
    assert state["counters"] == expected["counters"]
    for key in ("weights", "best", "drawn"):
        assert_equal(state[key], expected[key], key)
