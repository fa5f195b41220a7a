import fsspec
import numpy as np
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
    hook.evaluate = lambda runner, results: seen.append(runner.epoch + 1 if by_epoch else runner.iter + 1)
    train(make_runner(max_epochs=6) if by_epoch else make_runner(IterBasedRunner, max_iters=6), hook, batches)
    assert seen == due


@pytest.mark.parametrize(("by_epoch", "unit"), [(True, "epoch"), (False, "iter")])
def test_points_of_the_other_unit_are_not_called(by_epoch, unit):
    stages = EvalHook(loader(), by_epoch=by_epoch).get_triggered_stages()
    assert stages == ["before_run", f"before_train_{unit}", f"after_train_{unit}"]


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
    assert hook.measure(runner.model, runner.logger) == {"accuracy": pytest.approx(float(scores.float().mean()))}
    assert runner.log_buffer.output["accuracy"] == pytest.approx(float(scores.float().mean()))
    assert not runner.model.training


def test_metrics_begin_anew_each_time(make_runner, batches):
    metrics = MetricCollection({"x_acc": MulticlassAccuracy(2, average="micro")})
    hook = EvalHook(batches, metrics=metrics, predict=predict)
    runner = make_runner(max_epochs=1)
    first = hook.measure(runner.model, runner.logger)
    with torch.no_grad():
        runner.model.last.bias += torch.tensor([100.0, 0.0])
    share = sum(int((batch["y"] == 0).sum()) for batch in batches) / 17
    assert hook.measure(runner.model, runner.logger) == {"x_acc": pytest.approx(share)}
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
        ({"interval": 0}, ConfigError, "EvalHook's interval must be a positive integer, not 0"),
        ({"interval": 0.5}, ConfigError, "interval must be a positive integer, not 0.5"),
        ({"interval": True}, ConfigError, "interval must be a positive integer, not True"),
        ({"interval": "2"}, ConfigError, "interval must be a positive integer, not '2'"),
        *(
            (
                {"start": value},
                ConfigError,
                f"start must be 0 or a positive integer, or None for the first one, not {value!r}",
            )
            for value in (-1, "2", True, 0.5)
        ),
        ({"out_dir": 5}, ConfigError, r"EvalHook's out_dir must be a path \(str or pathlib.Path\) or None, not 5"),
        ({"metrics": 3, "predict": print}, ConfigError, "metrics must be a MetricCollection of torchmetrics, not 3"),
        (
            {"metrics": accuracy(), "predict": 4},
            ConfigError,
            "predict must be a function of the model and a batch, not",
        ),
        ({"by_epoch": "no"}, ConfigError, "by_epoch must be True or False, not 'no'"),
        ({"zero_counts": 1}, ConfigError, "zero_counts must be True or False, not 1"),
        ({"restore_mode": None}, ConfigError, "restore_mode must be True or False, not None"),
        ({"save_best": 1}, ConfigError, "save_best must be a metric's name, 'auto' or None, not 1"),
        ({"test_fn": "fast"}, ConfigError, "test_fn must be a function of the model and the loader, not 'fast'"),
        ({"greater_keys": 3}, ConfigError, "greater_keys must be a name, a list of names or None, not 3"),
        ({"less_keys": ["a", 3]}, ConfigError, r"less_keys must be a name, a list of names or None, not \['a', 3\]"),
        ({"file_client_args": {"backend": "floppy"}}, ConfigError, "nobody knows backend='floppy'"),
        ({"out_dir": "s3://a", "file_client_args": {"backend": "gs"}}, ConfigError, "'gs' and 's3://a' the store 's3'"),
        ({"rule": ["greater"]}, ConfigError, "rule must be 'greater', 'less' or None"),
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
    data = loader()
    data.dataset.evaluate = lambda results, logger: {}
    train(make_runner(max_epochs=1), EvalHook(data, save_best="acc"), batches)
    assert files(tmp_path) == []
    assert "gave no values" in caplog.text


@pytest.mark.parametrize(("zero_counts", "kept"), [(False, []), (True, ["best_loss_epoch_1.pth"])])
def test_a_score_of_0(make_runner, batches, tmp_path, zero_counts, kept):
    hook = EvalHook(loader(0.0, key="loss"), save_best="loss", zero_counts=zero_counts)
    train(make_runner(max_epochs=2), hook, batches)
    assert files(tmp_path) == kept


@pytest.mark.parametrize("score", [torch.tensor(0.25), np.float32(0.25)])
def test_the_best_score_is_a_plain_number(make_runner, batches, tmp_path, score):
    runner = train(make_runner(max_epochs=1), EvalHook(loader(score), save_best="acc"), batches)
    assert type(runner.meta["hook_msgs"]["best_score"]) is float
    saved = read_checkpoint(tmp_path / "work" / "best_acc_epoch_1.pth")["meta"]["hook_msgs"]
    assert saved == runner.meta["hook_msgs"]


@pytest.mark.parametrize(("restore_mode", "trains"), [(False, [False, True]), (True, [True, True])])
def test_modes(make_runner, batches, at, restore_mode, trains):
    """As in MMCV, an evaluation before training lets the first epoch train in eval mode."""
    seen = []
    runner = make_runner(max_epochs=2)
    runner.model.first.eval()
    runner.register_hook(at(before_train_iter=lambda runner: seen.append(runner.model.training)), "LOWEST")
    train(runner, EvalHook(loader(), start=0, restore_mode=restore_mode), batches)
    assert seen == [mode for mode in trains for _ in batches]
    assert runner.model.training is restore_mode


def test_every_module_gets_its_own_mode_back(make_runner, batches, at):
    seen = []
    runner = make_runner(max_epochs=1)
    runner.register_hook(at(before_train_epoch=lambda runner: runner.model.first.eval()), "HIGH")
    runner.register_hook(at(after_train_epoch=lambda runner: seen.append((model.first.training, model.last.training))))
    model = runner.model
    runner.register_hook(EvalHook(loader(), restore_mode=True), "HIGH")
    runner.run([batches], TRAIN)
    assert seen == [(False, True)]


def test_modes_come_back_after_an_error(make_runner, batches):
    def fail(model, dataloader):
        model.eval()
        raise RuntimeError("out of memory")

    runner = make_runner(max_epochs=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(runner, EvalHook(loader(), test_fn=fail, restore_mode=True), batches)
    assert runner.model.training


def test_an_own_test_function(make_runner, batches):
    data = loader()
    train(make_runner(max_epochs=1), EvalHook(data, test_fn=lambda model, loader: [0] * len(loader.dataset)), batches)
    assert len(data.dataset.asked) == 1


def test_metrics_may_be_an_argument_of_the_data_set(make_runner, batches):
    data = loader()
    train(make_runner(max_epochs=1), EvalHook(data, metrics=["top_k_accuracy"]), batches)
    assert data.dataset.asked == [{"metrics": ["top_k_accuracy"]}]


def test_positional_arguments_are_in_mmcvs_order():
    hook = EvalHook(loader(), 2, 3, False, "acc", "less", print, ["a"], ["b"], "out", {"backend": "disk"})
    assert (hook.start, hook.interval, hook.by_epoch, hook.save_best, hook.rule) == (2, 3, False, "acc", "less")
    assert (hook.test_fn, hook.greater_keys, hook.less_keys, hook.out_dir) == (print, ["a"], ["b"], "out")
    assert hook.file_client_args == {"backend": "disk"}


def test_the_best_in_another_folder(make_runner, batches, tmp_path):
    hook = EvalHook(loader(0.1, 0.2), save_best="acc", out_dir=str(tmp_path / "elsewhere"))
    runner = train(make_runner(max_epochs=2), hook, batches)
    assert files(tmp_path) == []
    (best,) = (tmp_path / "elsewhere" / "work").iterdir()
    assert str(best) == runner.meta["hook_msgs"]["best_ckpt"] == hook.best_ckpt_path
    assert best.name == "best_acc_epoch_2.pth"


@pytest.mark.parametrize("arguments", [None, {"backend": "memory"}, {"backend": "memory", "use_listings_cache": False}])
def test_the_best_in_a_store(make_runner, batches, tmp_path, arguments):
    store = f"memory://{tmp_path.name}"
    hook = EvalHook(loader(0.1, 0.2), save_best="acc", out_dir=store, file_client_args=arguments)
    runner = train(make_runner(max_epochs=2), hook, batches)
    assert files(tmp_path) == []
    assert runner.meta["hook_msgs"]["best_ckpt"] == f"{store}/work/best_acc_epoch_2.pth"
    assert fsspec.filesystem("memory").find(store) == [f"/{tmp_path.name}/work/best_acc_epoch_2.pth"]
    assert read_checkpoint(f"{store}/work/best_acc_epoch_2.pth")["meta"]["epoch"] == 2


def test_a_metric_that_names_a_folder(make_runner, batches, tmp_path):
    scores = iter([0.1, 0.2])
    hook = type("Scored", (EvalHook,), {"evaluate": lambda self, runner, results: next(scores)})
    train(make_runner(max_epochs=2), hook(loader(0.1), save_best="bbox/acc"), batches)
    assert [path.name for path in (tmp_path / "work" / "best_bbox").iterdir()] == ["acc_epoch_2.pth"]


def test_a_previous_best_that_cannot_be_deleted_stays(make_runner, batches, tmp_path, caplog):
    folder = tmp_path / "best_acc_epoch_1.pth"
    folder.mkdir()
    runner = make_runner(max_epochs=1, meta={"hook_msgs": {"best_score": 0.1, "best_ckpt": str(folder)}})
    train(runner, EvalHook(loader(0.2), save_best="acc"), batches)
    assert "the previous best checkpoint stays" in caplog.text
    assert files(tmp_path) == ["best_acc_epoch_1.pth"]


@pytest.mark.parametrize("name", ["thesis.tex", "best_models/resnet_epoch_5.pth", "my_best_acc_epoch_1.pth"])
def test_a_file_that_no_evaluation_wrote_is_not_deleted(make_runner, batches, tmp_path, caplog, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.touch()
    runner = make_runner(max_epochs=1, meta={"hook_msgs": {"best_score": 0.1, "best_ckpt": str(mine)}})
    train(runner, EvalHook(loader(0.2), save_best="acc"), batches)
    assert mine.exists()
    assert f"is not a file of this hook, so it stays: {mine}" in caplog.text
    assert files(tmp_path) == ["best_acc_epoch_1.pth"]


def test_values_must_have_names(make_runner, batches):
    data = loader()
    data.dataset.evaluate = lambda results, logger: 0.5
    with pytest.raises(HookError, match=r"values by name, a dict; dataset\.evaluate gave a float"):
        train(make_runner(max_epochs=1), EvalHook(data), batches)


def test_an_evaluation_by_epoch_of_a_run_by_iteration_is_told(make_runner, batches, caplog):
    data = loader()
    train(make_runner(IterBasedRunner, max_iters=2), EvalHook(data), batches)
    assert data.dataset.asked == []
    assert "never evaluates in an iteration-based run" in caplog.text


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_that_shuffles_is_told(make_runner, batches, caplog, shuffle):
    data = DataLoader(Scored(), shuffle=shuffle)
    train(make_runner(max_epochs=1), EvalHook(data), batches)
    assert ("EvalHook's loader shuffles" in caplog.text) is shuffle
