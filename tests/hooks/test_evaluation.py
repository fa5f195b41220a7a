import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from mmhooks import CheckpointError, ConfigError, EvalHook, HookError, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint

TRAIN = [("train", 1)]


class Scored(Dataset):
    """Evaluates to the scores that it was given, one after the other."""

    def __init__(self, scores=(0.5,), key="acc"):
        self.scores, self.key, self.asked = list(scores), key, []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"x": torch.ones(3) * index, "y": index % 2}

    def evaluate(self, results, logger=None, **kwargs):
        assert len(results) == 3
        self.asked.append(kwargs)
        return {self.key: self.scores[min(len(self.asked), len(self.scores)) - 1], "other": 1.0}


def loader(*scores, key="acc"):
    return DataLoader(Scored(scores or (0.5,), key), batch_size=2)


def files(folder):
    return sorted(path.name for path in (folder / "work").iterdir())


def predict(model, batch):
    return torch.stack(model(batch["x"])), batch["y"]


def accuracy():
    return MetricCollection({"accuracy": MulticlassAccuracy(2, average="micro")})


def train(runner, hook, batches):
    runner.register_hook(hook, "LOW")
    runner.run([batches], TRAIN)
    return runner


@pytest.mark.parametrize(
    ("arguments", "due"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"interval": 2}, [2, 4, 6]),
        ({"start": 3}, [3, 4, 5, 6]),
        ({"start": 3, "interval": 2}, [3, 5]),
        ({"start": 1, "interval": 4}, [1, 5]),
        ({"start": 7}, []),
    ],
)
@pytest.mark.parametrize("by_epoch", [True, False])
def test_when(make_runner, batches, at, arguments, due, by_epoch):
    hook, seen = EvalHook(loader(), by_epoch=by_epoch, **arguments), []
    hook.evaluate = lambda runner: seen.append(runner.epoch + 1 if by_epoch else runner.iter + 1) or {}
    train(make_runner(max_epochs=6) if by_epoch else make_runner(IterBasedRunner, max_iters=6), hook, batches)
    assert seen == due


def test_start_0_evaluates_before_training_too(make_runner, batches):
    data = loader()
    train(make_runner(max_epochs=2), EvalHook(data, start=0), batches)
    assert len(data.dataset.asked) == 3


def test_arguments_reach_the_data_set(make_runner, batches):
    data = loader()
    train(make_runner(max_epochs=1), EvalHook(data, metric="bbox"), batches)
    assert data.dataset.asked == [{"metric": "bbox"}]


def test_torchmetrics_measure_the_model(make_runner, batches):
    hook = EvalHook(batches, metrics=accuracy(), predict=predict, save_best="accuracy")
    runner = make_runner(max_epochs=3)
    runner.register_optimizer_hook({})
    train(runner, hook, batches)
    scores = torch.cat([predict(runner.model, batch)[0].argmax(1) == batch["y"] for batch in batches])
    assert hook.evaluate(runner) == {"accuracy": pytest.approx(float(scores.float().mean()))}
    assert runner.log_buffer.output["accuracy"] == pytest.approx(float(scores.float().mean()))
    assert not runner.model.training


def test_metrics_begin_anew_each_time(make_runner, batches):
    metrics = MetricCollection({"x_acc": MulticlassAccuracy(2, average="micro")})
    hook = EvalHook(batches, metrics=metrics, predict=predict)
    runner = make_runner(max_epochs=1)
    first = hook.evaluate(runner)
    with torch.no_grad():
        runner.model.last.bias += torch.tensor([100.0, 0.0])
    share = sum(int((batch["y"] == 0).sum()) for batch in batches) / 17
    assert hook.evaluate(runner) == {"x_acc": pytest.approx(share)}
    assert first.keys() == {"x_acc"}


@pytest.mark.parametrize(
    ("key", "scores", "best", "score"),
    [
        ("acc", (0.1, 0.3, 0.2), 2, 0.3),
        ("val_loss", (3.0, 2.0, 1.0), 3, 1.0),
        ("mIoU", (0.5, 0.5, 0.5), 1, 0.5),
        ("acc", (0.0, -1.0, 0.0), 2, -1.0),  # a score of 0 is never the best, as in MMCV
    ],
)
def test_the_best_file_stays(make_runner, batches, tmp_path, key, scores, best, score):
    runner = train(make_runner(max_epochs=3), EvalHook(loader(*scores, key=key), save_best=key), batches)
    assert files(tmp_path) == [f"best_{key}_epoch_{best}.pth"]
    assert runner.meta["hook_msgs"]["best_score"] == score
    saved = read_checkpoint(tmp_path / "work" / f"best_{key}_epoch_{best}.pth")["meta"]
    assert saved["epoch"] == best
    assert saved["hook_msgs"]["best_score"] == score


def test_auto_takes_the_first_key(make_runner, batches, tmp_path):
    train(make_runner(max_epochs=1), EvalHook(loader(key="loss"), save_best="auto"), batches)
    assert files(tmp_path) == ["best_loss_epoch_1.pth"]


def test_the_best_of_iterations(make_runner, batches, tmp_path):
    runner = make_runner(IterBasedRunner, max_iters=6)
    train(runner, EvalHook(loader(0.1, 0.9), by_epoch=False, interval=3, save_best="acc"), batches)
    assert files(tmp_path) == ["best_acc_iter_6.pth"]


def test_a_resumed_run_knows_the_best(make_runner, batches, tmp_path):
    train(make_runner(max_epochs=1), EvalHook(loader(0.8), save_best="acc"), batches)
    again = make_runner(max_epochs=3)
    again.resume(tmp_path / "work" / "best_acc_epoch_1.pth")
    train(again, EvalHook(loader(0.7, 0.9), save_best="acc"), batches)
    assert files(tmp_path) == ["best_acc_epoch_3.pth"]


def test_a_failing_save_keeps_the_previous_best(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=2)
    (tmp_path / "work" / "best_acc_epoch_2.pth" / "x").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="could not be written"):
        train(runner, EvalHook(loader(0.1, 0.2), save_best="acc"), batches)
    assert (tmp_path / "work" / "best_acc_epoch_1.pth").is_file()
    assert runner.meta["hook_msgs"]["best_score"] == 0.1


@pytest.mark.parametrize(
    ("key", "rule"),
    [("acc", "greater"), ("top1", "greater"), ("AR@100", "greater"), ("bbox_mAP", "greater"), ("MIOU", "greater"),
     ("loss", "less"), ("decode_loss", "less"), ("loss_acc", "greater")],
)  # fmt: skip
def test_the_rule_of_a_name(key, rule):
    assert EvalHook(loader(), save_best=key).rule == rule


def test_own_keys():
    assert EvalHook(loader(), save_best="PCK", greater_keys="pck").rule == "greater"
    assert EvalHook(loader(), save_best="NME", less_keys=["NME"]).rule == "less"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dataloader": iter([])}, TypeError, "must be a sized loader, not list_iterator"),
        ({"interval": 0}, ConfigError, "interval must be a positive number, not 0"),
        ({"start": -1}, ConfigError, "start must be 0 or later"),
        ({"rule": "greter"}, ConfigError, "did you mean 'greater'"),
        ({"save_best": "PCK"}, ConfigError, "cannot tell whether a greater or a smaller 'PCK' is better.*rule="),
        ({"metrics": accuracy()}, ConfigError, "metrics and predict together"),
        ({"dataloader": [1]}, ConfigError, r"does not know what to measure.*evaluate\(results"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        EvalHook(**{"dataloader": loader(), **arguments})


def test_a_misspelt_metric_names_the_nearest(make_runner, batches):
    hook = EvalHook(batches, metrics=accuracy(), predict=predict, save_best="acuracy", rule="greater")
    with pytest.raises(HookError, match=r"gave accuracy; did you mean 'accuracy'"):
        train(make_runner(max_epochs=1), hook, batches)


def test_nowhere_to_write(make_runner, batches):
    with pytest.raises(ConfigError, match="nowhere to write"):
        train(make_runner(work_dir=None, max_epochs=1), EvalHook(loader(), save_best="acc"), batches)


def test_no_values_keep_no_file(make_runner, batches, tmp_path, caplog):
    hook = EvalHook(loader(), save_best="acc")
    hook.evaluate = lambda runner: {}
    train(make_runner(max_epochs=1), hook, batches)
    assert files(tmp_path) == []
    assert "gave no values" in caplog.text
