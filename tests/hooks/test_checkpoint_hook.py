import pytest

from mmhooks import CheckpointError, CheckpointHook, ConfigError, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint

TRAIN = [("train", 1)]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"interval": 2, "save_last": False}, ["epoch_2.pth", "epoch_4.pth", "latest.pth"]),
        ({"interval": 2}, ["epoch_2.pth", "epoch_4.pth", "epoch_5.pth", "latest.pth"]),
        ({}, ["epoch_5.pth", "latest.pth"]),
        ({"interval": 1, "max_keep_ckpts": 2}, ["epoch_4.pth", "epoch_5.pth", "latest.pth"]),
        ({"interval": 2, "max_keep_ckpts": 1}, ["epoch_5.pth", "latest.pth"]),
        ({"filename_tmpl": "at_{}.pth", "create_symlink": False}, ["at_5.pth"]),
        ({"interval": 10, "by_epoch": False}, ["epoch_3.pth", "epoch_5.pth", "latest.pth"]),
    ],
)
def test_files_of_five_epochs(make_runner, batches, tmp_path, arguments, left):
    runner = make_runner(max_epochs=5)
    runner.register_hook(CheckpointHook(**arguments))
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == left


def test_files_of_iterations(make_runner, batches, tmp_path):
    runner = make_runner(IterBasedRunner, max_iters=7)
    runner.register_training_hooks(None, checkpoint_config={"interval": 3})
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["iter_3.pth", "iter_6.pth", "iter_7.pth", "latest.pth"]


def test_an_out_dir_gets_the_name_of_the_work_dir(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=1)
    runner.register_hook(CheckpointHook(1, out_dir=str(tmp_path / "far")))
    runner.run([batches], TRAIN)
    assert files(tmp_path / "far" / "work") == ["epoch_1.pth", "latest.pth"]


@pytest.mark.parametrize("save_optimizer", [True, False])
def test_content(make_runner, make_model, batches, tmp_path, save_optimizer):
    model = make_model()
    model.CLASSES = ("cat", "dog")
    runner = make_runner(model=model, max_epochs=2, meta={"seed": 1})
    runner.register_optimizer_hook({})
    runner.register_hook(CheckpointHook(1, save_optimizer=save_optimizer))
    runner.run([batches], TRAIN)
    content = read_checkpoint(tmp_path / "work" / "latest.pth")
    meta = content["meta"]
    assert (meta["epoch"], meta["iter"], meta["seed"], meta["CLASSES"]) == (2, 8, 1, ("cat", "dog"))
    assert ("optimizer" in content) == save_optimizer


def test_a_failing_save_deletes_no_predecessor(make_runner, batches, tmp_path, at):
    runner = make_runner(max_epochs=3)
    runner.register_hook(CheckpointHook(1, max_keep_ckpts=1))
    # a folder of that name: the new file cannot take its place
    blocked = tmp_path / "work" / "epoch_2.pth"
    runner.register_hook(at(before_train_epoch=lambda r: r.epoch == 1 and (blocked / "x").mkdir(parents=True)))
    with pytest.raises(CheckpointError, match=r"epoch_2\.pth could not be written.*untouched"):
        runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]
    assert read_checkpoint(tmp_path / "work" / "latest.pth")["meta"]["epoch"] == 1


def test_the_record_survives_a_resume_with_another_interval(make_runner, batches, tmp_path):
    first = make_runner(max_epochs=2)
    first.register_hook(CheckpointHook(1, max_keep_ckpts=2))
    first.run([batches], TRAIN)
    (tmp_path / "work" / "epoch_77.pth").touch()  # somebody else's
    again = make_runner(max_epochs=6)
    again.register_hook(CheckpointHook(2, max_keep_ckpts=2))
    again.resume(tmp_path / "work" / "epoch_2.pth")
    again.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_4.pth", "epoch_6.pth", "epoch_77.pth", "latest.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, r"interval=0.*-1 for 'last only'"),
        ({"max_keep_ckpts": 0}, "max_keep_ckpts=0"),
        ({"filename_tmpl": "epoch.pth"}, "has no {} for the number"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CheckpointHook(**arguments)


def test_nowhere_to_write(make_runner, batches):
    runner = make_runner(work_dir=None, max_epochs=1)
    runner.register_hook(CheckpointHook(1))
    with pytest.raises(ConfigError, match="nowhere to write"):
        runner.run([batches], TRAIN)
