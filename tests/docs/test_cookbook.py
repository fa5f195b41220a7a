"""Every recipe of the cookbook under both drivers: the same weights, and what the recipe says that it does."""

import json
import logging

import lightning as L
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from docs.make.blocks import DOCS, blocks
from mmhooks import EpochBasedRunner, EvalHook, Hook
from mmhooks_lightning import HookCallback, HookedModule

PAGE = DOCS / "cookbook.md"
RECIPES = [block.text for block in blocks(PAGE) if block.recipe]
EPOCHS = 2
IMAGES, LABELS = load_digits(return_X_y=True)


class Digits(Dataset):
    """Some of the digits, with noise on them while they are strongly augmented."""

    def __init__(self, first, stop):
        self.x = torch.from_numpy(IMAGES[first:stop]).float() / 16
        self.y = torch.from_numpy(LABELS[first:stop])
        self.strong = True

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        noise = torch.randn(64) * 0.1 if self.strong else 0
        return self.x[index] + noise, self.y[index]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.head = nn.Linear(32, 10)
        self.smoothing = 0.0

    def train_step(self, data, optimizer=None, **kwargs):
        scores = self.head(self.backbone(data[0]))
        loss = nn.functional.cross_entropy(scores, data[1], label_smoothing=self.smoothing)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[1]), "scores": scores}


class Watch(Hook):
    """Notes the state of a run as every iteration ends."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner):
        model = runner.model
        self.seen.append(
            {
                "epoch": runner.epoch,
                "backbone": model.backbone[0].weight.detach().clone(),
                "mean": model.backbone[1].running_mean.clone(),
                "lr": runner.current_lr()[0],
                "strong": runner.data_loader.dataset.strong,
                "smoothing": model.smoothing,
            }
        )


class Run:
    """What a run leaves behind."""

    def __init__(self, model, hooks, runner, watch, folder):
        self.model, self.hooks, self.runner, self.seen, self.folder = model, hooks, runner, watch.seen, folder

    def lines(self):
        """Give the lines of the log that have a loss."""
        (log,) = self.folder.glob("*.log.json")
        return [line for text in log.read_text().splitlines() if "loss" in (line := json.loads(text))]


def predict(model, batch):
    return model.head(model.backbone(batch[0])), batch[1]


def run(recipe, driver, folder, epochs=EPOCHS, resume=None):
    torch.manual_seed(0)
    model = Net()
    loader = DataLoader(Digits(0, 256), batch_size=32, shuffle=True)
    val_loader = DataLoader(Digits(256, 320), batch_size=64)
    val_loader.dataset.strong = False
    accuracy = MetricCollection({"accuracy": MulticlassAccuracy(10, average="micro")})
    names = {"val_loader": val_loader, "accuracy": accuracy, "predict": predict}
    exec(recipe, names)
    watch = Watch()
    hooks = [*names["hooks"], (watch, "LOWEST")]
    if "StopEarly" in recipe:
        hooks.append((EvalHook(val_loader, metrics=accuracy, predict=predict), "LOW"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    configs = {
        "lr_config": None,
        "optimizer_config": {"grad_clip": {"max_norm": 5.0}},
        "checkpoint_config": None if "CheckpointHook(" in recipe else {"interval": 1},
        "log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
    }
    if driver == "native":
        runner = EpochBasedRunner(model, optimizer=optimizer, work_dir=folder, max_epochs=epochs)
        for hook in hooks:
            runner.register_hook(*hook) if isinstance(hook, tuple) else runner.register_hook(hook)
        runner.register_training_hooks(**configs)
        if resume:
            runner.resume(resume)
        runner.run([loader], [("train", 1)])
    else:
        bridge = HookCallback(hooks, work_dir=folder)
        bridge.register_training_hooks(**configs)
        if resume:
            bridge.resume(resume)
        flags = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = L.Trainer(max_epochs=epochs, callbacks=[bridge], accelerator="cpu", **flags)
        trainer.fit(HookedModule(model, optimizer), loader)
        runner = bridge.runner
    own = [hook[0] if isinstance(hook, tuple) else hook for hook in names["hooks"]]
    return Run(model, own, runner, watch, folder)


def recipe_of(name):
    """Find a recipe by a class in it."""
    (recipe,) = (text for text in RECIPES if f"class {name}(" in text or (name in text and "class " not in text))
    return recipe


@pytest.fixture(autouse=True)
def quiet():
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


@pytest.fixture(params=["native", "lightning"])
def driver(request):
    return request.param


@pytest.mark.parametrize("recipe", RECIPES, ids=[text.partition("class ")[2].partition("(")[0] for text in RECIPES])
def test_a_recipe_gives_the_same_weights_under_both_drivers(recipe, tmp_path):
    native, lit = (run(recipe, driver, tmp_path / driver) for driver in ("native", "lightning"))
    theirs = lit.model.state_dict()
    for name, value in native.model.state_dict().items():
        assert value.equal(theirs[name]), name
    assert [{**line, "time": 0, "data_time": 0} for line in native.lines()] == [
        {**line, "time": 0, "data_time": 0} for line in lit.lines()
    ]


def test_a_frozen_backbone_stays_as_it_is_for_its_epochs(tmp_path, driver):
    seen = run(recipe_of("FreezeBackbone"), driver, tmp_path).seen
    first = seen[0]
    for now in seen[1:]:
        frozen = now["epoch"] < 1
        assert now["backbone"].equal(first["backbone"]) == frozen
        assert now["mean"].equal(first["mean"]) == frozen
    assert first["mean"].eq(0).all()


def test_batch_norm_keeps_its_statistics(tmp_path, driver):
    seen = run(recipe_of("FreezeBatchNorm"), driver, tmp_path).seen
    by_epoch = [[now["mean"] for now in seen if now["epoch"] == epoch] for epoch in range(EPOCHS)]
    assert not by_epoch[0][0].equal(by_epoch[0][-1])
    assert all(mean.equal(by_epoch[0][-1]) for mean in by_epoch[1])


def test_norms_of_parts_are_logged(tmp_path, driver):
    for line in run(recipe_of("GradNorms"), driver, tmp_path).lines():
        parts = line["grad_norm/backbone"], line["grad_norm/head"]
        assert 0 < max(parts) <= 5.01
        assert min(parts) > 0


def test_a_run_stops_early(tmp_path, driver):
    recipe = recipe_of("StopEarly").replace("score > self.best", "score > 1.5 + 0 * self.best")  # it never grows
    ended = run(recipe, driver, tmp_path, epochs=6)
    assert ended.runner.epoch == 2
    assert ended.hooks[0].bad == 2
    gone_on = run(recipe, driver, tmp_path / "on", epochs=6, resume=str(tmp_path / "epoch_1.pth"))
    assert gone_on.hooks[0].bad == 2  # it knew of the first
    assert gone_on.runner.epoch == 2


def test_the_augmentation_is_switched(tmp_path, driver):
    seen = run(recipe_of("SwitchMode"), driver, tmp_path).seen
    assert [now["strong"] for now in seen] == [now["epoch"] < EPOCHS - 1 for now in seen]


def test_averages_are_saved_and_evaluated(tmp_path, driver):
    run(recipe_of("EMAHook"), driver, tmp_path)
    content = torch.load(tmp_path / "epoch_2.pth", weights_only=True)["state_dict"]
    assert not content["head.weight"].equal(content["ema_head_weight"])
    assert list(tmp_path.glob("best_accuracy_epoch_*.pth"))


def test_the_best_by_a_value_of_ones_own_is_kept(tmp_path, driver):
    ended = run(recipe_of("SaveBestLoss"), driver, tmp_path)
    best = torch.load(tmp_path / "best_loss.pth", weights_only=True)["state_dict"]
    assert best["head.weight"].equal(ended.model.head.weight)  # the second epoch is the better one
    assert 0 < ended.hooks[0].best < 2


def test_a_count_goes_on_when_a_run_is_resumed(tmp_path, driver):
    recipe = recipe_of("CountSamples")
    assert run(recipe, driver, tmp_path).hooks[0].seen == EPOCHS * 256
    gone_on = run(recipe, driver, tmp_path / "on", epochs=3, resume=str(tmp_path / "epoch_2.pth"))
    assert gone_on.hooks[0].seen == 3 * 256
    assert gone_on.lines()[-1]["samples_seen"] > EPOCHS * 256


def test_a_high_loss_ends_the_run(tmp_path, driver):
    recipe = recipe_of("StopOnHighLoss").replace("limit=50.0", "limit=0.0, interval=3")
    assert run(recipe, driver, tmp_path).runner.iter == 3


def test_the_learning_rate_is_dropped(tmp_path, driver):
    seen = run(recipe_of("DropLr"), driver, tmp_path).seen
    assert [now["lr"] for now in seen] == pytest.approx([0.1 if now["epoch"] < 1 else 0.01 for now in seen])


def test_a_policy_of_ones_own(tmp_path, driver):
    seen = run(recipe_of("TriangleLrUpdaterHook"), driver, tmp_path).seen
    assert seen[10]["lr"] == pytest.approx(0.05)
    assert seen[0]["lr"] < 0.02  # the warmup


def test_a_number_of_the_model_grows(tmp_path, driver):
    seen = run(recipe_of("RaiseSmoothing"), driver, tmp_path).seen
    values = [now["smoothing"] for now in seen]
    assert values == pytest.approx([0.1 * index / len(seen) for index in range(len(seen))])


def test_hits_are_logged(tmp_path, driver):
    lines = run(recipe_of("CountHits"), driver, tmp_path).lines()
    assert lines[-1]["train_acc"] > lines[0]["train_acc"]


def test_gradients_are_shown_in_tensorboard(tmp_path, driver):
    run(recipe_of("GradHistograms"), driver, tmp_path)
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(tmp_path / "tf_logs"), size_guidance={"histograms": 0})
    events.Reload()
    shown = events.Histograms("gradients/head.weight")
    assert [event.step for event in shown] == [4, 8, 12, 16]
    assert sum(shown[0].histogram_value.bucket) == 320
