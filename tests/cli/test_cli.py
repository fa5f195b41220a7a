"""The command line: demo, train, test, their options and their errors."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

import mmhooks
from mmhooks import ConfigError, EpochBasedRunner
from mmhooks.checkpoint import read_checkpoint, write_checkpoint
from mmhooks.cli import app, repeat_option
from mmhooks.cli.demo import CONFIG, read_log
from mmhooks.cli.progress import ProgressBarHook, logging_to

pytest.importorskip("sklearn")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Images of 8x8 pixels are too small to share out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder, as for somebody who has no clone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The work_dir of two epochs under the native driver."""
    folder = tmp_path_factory.mktemp("trained")
    succeed("train", CONFIG, "--work-dir", folder, "--cfg-options", "runner.max_epochs=2", "data.samples_per_gpu=64")
    return folder


def lines(folder: Path) -> list[dict]:
    (log,) = folder.glob("*.log.json")
    return [json.loads(text) for text in log.read_text().splitlines()]


# train --------------------------------------------------------------------------------------------------------


def test_train_writes_checkpoints_and_both_logs(trained):
    assert {"epoch_1.pth", "epoch_2.pth", "latest.pth"} < {path.name for path in trained.glob("*.pth")}
    (log,) = (path for path in trained.glob("*.log"))
    assert "Start running" in log.read_text()
    head, *rest = lines(trained)
    assert (head["seed"], head["exp_name"]) == (0, "digits_cnn.py")
    assert [line["epoch"] for line in rest if "accuracy" in line] == [1, 2]
    (json_log,) = trained.glob("*.log.json")
    assert json_log.stem == log.name


@pytest.mark.parametrize("driver", ["native", "lightning"])
def test_a_resumed_run_does_what_was_left(trained, tmp_path, driver):
    output = succeed(
        "train", CONFIG, "--driver", driver, "--work-dir", tmp_path / "b", "--resume-from", trained / "epoch_1.pth",
        "--cfg-options", "runner.max_epochs=2", "data.samples_per_gpu=64",
    )  # fmt: skip
    assert "Trained for 2 epochs" in output
    assert sorted(path.name for path in (tmp_path / "b").glob("epoch_*.pth")) == ["epoch_2.pth"]
    assert min(line["epoch"] for line in lines(tmp_path / "b") if line.get("mode") == "train") == 2


def test_auto_resume_begins_anew_or_goes_on(tmp_path):
    words = [
        "train",
        CONFIG,
        "--work-dir",
        tmp_path / "w",
        "--auto-resume",
        "--cfg-options",
        "data.samples_per_gpu=256",
    ]
    assert "resumed" not in succeed(*words, "runner.max_epochs=1")
    assert "resumed" in succeed(*words, "runner.max_epochs=2")
    assert read_checkpoint(tmp_path / "w" / "latest.pth")["meta"]["epoch"] == 2


def test_sigterm_ends_a_run_that_auto_resume_takes_up(tmp_path):
    words = [sys.executable, "-m", "mmhooks", "train", str(CONFIG), "--work-dir", "w", "--auto-resume"]
    options = ["--cfg-options", "data.samples_per_gpu=64", "runner.max_epochs=1000"]
    process = subprocess.Popen([*words, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "Saving checkpoint at 2 epochs" in line:
            process.terminate()
            break
    said = process.stdout.read()
    assert process.wait(timeout=300) == 143, said
    assert "SIGTERM: the run ends after" in said
    latest = tmp_path / "w" / "latest.pth"
    assert latest.resolve().name == "preempted.pth"
    epochs = read_checkpoint(latest)["mmhooks"]["position"]["epochs"] + 1
    options[-1] = f"runner.max_epochs={epochs}"
    assert f"Trained for {epochs} epochs" in succeed(*words[3:], *options)


def test_load_from_takes_the_weights_and_begins_at_the_first_epoch(trained, tmp_path):
    output = succeed(
        "train", CONFIG, "--work-dir", tmp_path / "w", "--load-from", trained / "latest.pth", "--seed", 5,
        "--cfg-options", "runner.max_epochs=1", "data.samples_per_gpu=256",
    )  # fmt: skip
    assert "load checkpoint from" in output
    assert lines(tmp_path / "w")[0]["seed"] == 5


def test_the_work_dir_has_the_configs_name_by_default(tmp_path):
    succeed("train", CONFIG, "--cfg-options", "runner.max_epochs=1", "data.samples_per_gpu=256")
    assert (tmp_path / "work_dirs" / "digits_cnn" / "latest.pth").exists()


# --cfg-options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["c.py", "--cfg-options", "a=1", "b.c=2"], ["c.py", "--cfg-options", "a=1", "--cfg-options", "b.c=2"]),
        (["--cfg-options", "a=1", "c.py"], ["--cfg-options", "a=1", "c.py"]),
        (["--cfg-options=a=1", "b=2"], ["--cfg-options=a=1", "--cfg-options", "b=2"]),
        (["--cfg-options", "a=1", "--seed", "b=2"], ["--cfg-options", "a=1", "--seed", "b=2"]),
        (
            ["--cfg-options", "a=1", "--cfg-options", "b=2", "d=3"],
            ["--cfg-options", "a=1", "--cfg-options", "b=2", "--cfg-options", "d=3"],
        ),
        (["--cfg-options", "a=1", "--", "b=2"], ["--cfg-options", "a=1", "--", "b=2"]),
        (["--cfg-options"], ["--cfg-options"]),
        (["x=1", "--seed", "2"], ["x=1", "--seed", "2"]),
    ],
)
def test_several_values_after_one_option(written, read):
    assert repeat_option(written, "--cfg-options") == read


def test_options_reach_the_config(tmp_path):
    file = tmp_path / "c.py"
    file.write_text(
        "model = dict(type='Nowhere')\nrunner = dict(max_epochs=1)\ndata = dict()\noptimizer_config = dict()\n"
    )
    result = call("train", file, "--cfg-options", "a=1", "model.type=Elsewhere")
    assert result.exit_code == 1
    assert "'Elsewhere' is not in the model registry" in result.output


# test ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_worth_what_was_logged_when_it_was_written(trained):
    accuracy = [line["accuracy"] for line in lines(trained) if "accuracy" in line][-1]
    output = succeed("test", CONFIG, trained / "epoch_2.pth", "--cfg-options", "data.samples_per_gpu=100")
    assert "accuracy" in output
    assert f"{accuracy:.5f}" in output


def test_weights_of_another_model_are_refused(trained):
    result = call("test", CONFIG, trained / "epoch_2.pth", "--cfg-options", "model.channels=8")
    assert result.exit_code == 1
    assert "the weights do not fit the model" in result.output


# errors -------------------------------------------------------------------------------------------------------


def test_an_error_is_one_line_on_stderr():
    result = call("train", CONFIG, "--cfg-options", "optimizer.type=SDG")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "did you mean 'SGD'" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("model=None", "model must be a dict, not None"),
        ("data=None", "data must be a dict, not None"),
        ("optimizer=None", "optimizer must be a dict, not None"),
        ("lr_config=step", "lr_config must be a dict such as lr_config=dict(policy='step', step=[8, 11]), or a hook"),
        ("lr_config.policy=stepp", "lr_config has the policy 'stepp', which nobody registered; did you mean 'step'"),
        ("optimizer_config=5", "optimizer_config must be a dict such as optimizer_config=dict(grad_clip="),
        ("checkpoint_config=x", "checkpoint_config must be a dict such as checkpoint_config=dict(interval=1)"),
        ("momentum_config=5", "momentum_config must be a dict such as momentum_config=dict(policy="),
        ("log_config=5", "log_config must be a dict such as log_config=dict(interval=10"),
        ("log_config.hooks=[5]", "log_config.hooks[0] must be a dict such as dict(type='TextLoggerHook')"),
        ("log_config.interval=x", "log_config's interval must be a positive integer, not 'x'"),
        ("custom_hooks=[None]", "custom_hooks[0] must be a dict such as dict(type='EMAHook'"),
        ("custom_hooks=5", "custom_hooks must be a list of hooks such as [dict(type='EMAHook'"),
        ("custom_hooks.0.priority=None", "custom_hooks[0]: priority must be an integer, a name or a Priority"),
        ("custom_hooks.0.type=5", "type must be a registered name, a class or a function, not 5"),
        ("custom_imports=5", "custom_imports must be a list such as ['my_package.my_module']"),
        ("custom_imports=['']", "custom_imports takes names of modules such as 'my_package.my_module', not ''"),
        ("custom_imports.import_=[a]", "custom_imports takes imports, allow_failed_imports, not 'import_'"),
        ("custom_imports.allow_failed_imports=no", "allow_failed_imports must be True or False, not 'no'"),
        ("work_dir=5", "work_dir must be a path (str or pathlib.Path) or None, not 5"),
        ("work_dir=s3://a/b", "work_dir must be a folder of this machine, not 's3://a/b'"),
        ("load_from=5", "load_from must be a path (str or pathlib.Path) or None, not 5"),
        ("resume_from=5", "resume_from must be a path (str or pathlib.Path) or None, not 5"),
        ("model.type=5", "type must be a registered name, a class or a function, not 5"),
        ("data.train.type=5", "type must be a registered name, a class or a function, not 5"),
        ("optimizer.type=5", "type must be a registered name, a class or a function, not 5"),
        ("evaluation=5", "evaluation must be a dict, not 5"),
        ("evaluation.type=5", "type must be a registered name, a class or a function, not 5"),
        ("evaluation.priority=None", "evaluation: priority must be an integer, a name or a Priority"),
        ("runner.max_epoch=5", "runner takes type, max_epochs, max_iters, not 'max_epoch'; did you mean 'max_epochs'"),
        ("fp16.type=OptimizerHook", "write optimizer_config=dict(type='OptimizerHook') in place of fp16"),
        ("workflow=[(train,1),(val,-1)]", "0 (never) or more, not ('val', -1)"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_key_and_file(option, says):
    result = call("train", CONFIG, "--cfg-options", option)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert str(CONFIG) in result.stderr
    assert "Traceback" not in result.output


def test_an_error_of_the_evaluation_is_not_laid_to_its_metric():
    result = call("train", CONFIG, "--cfg-options", "evaluation.interval=0")
    assert result.exit_code == 1
    assert "EvalHook's interval must be a positive integer, not 0" in result.stderr
    assert "did you mean" not in result.stderr


def test_a_misspelt_type_is_named(tmp_path):
    file = tmp_path / "c.py"
    file.write_text(f"_base_ = {str(CONFIG)!r}\ncustom_hooks = [dict(tpye='EMAHook')]\n")
    result = call("train", file)
    assert result.exit_code == 1
    assert "it has the keys 'tpye'; did you mean 'type' by 'tpye'?" in result.stderr
    assert f"while building the hooks of {file}" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--work-dir", "taken"], "work_dir cannot be 'taken', since taken is a file: choose another folder"),
        (["--work-dir", "taken/below"], "work_dir cannot be 'taken/below', since taken is a file"),
        (["--work-dir", "s3://a/b"], "not 's3://a/b': it holds the logs, and checkpoints go to a store with "),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(tmp_path, options, says):
    (tmp_path / "taken").touch()
    result = call("train", CONFIG, *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("folder", ["s3://a/b", "taken"])
def test_the_demo_refuses_the_same_folders(tmp_path, folder):
    (tmp_path / "taken").touch()
    result = call("demo", "--work-dir", folder)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: work_dir ")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_an_evaluation_that_is_none_is_refused(trained):
    result = call("test", CONFIG, trained / "epoch_2.pth", "--cfg-options", "evaluation=5")
    assert result.exit_code == 1
    assert f"{CONFIG}: evaluation must be a dict, not 5" in result.stderr


def test_a_misspelt_key_of_the_evaluation_is_a_warning():
    output = succeed("train", CONFIG, "--cfg-options", "runner.max_epochs=0", "evaluation.intervall=1")
    assert "evaluation.intervall goes to dataset.evaluate; did you mean 'interval'?" in output


def test_debug_shows_where_an_error_came_from():
    words = ["train", CONFIG, "--cfg-options", "optimizer.type=SDG"]
    for debugged in (["--debug", *words], [*words, "--debug"]):
        assert isinstance(call(*debugged).exception, mmhooks.RegistryError)


def test_the_version():
    assert succeed("--version").strip() == f"mmhooks {mmhooks.__version__}"


# demo ---------------------------------------------------------------------------------------------------------


def test_the_demo_compares_the_drivers_and_clears_what_the_last_one_wrote(tmp_path):
    folder = tmp_path / "work_dirs" / "digits"
    (folder / "native").mkdir(parents=True)
    (folder / "native" / "earlier.log.json").write_text('{"seed": 0, "exp_name": "digits_cnn.py"}\n')
    (folder / "native" / "epoch_99.pth").touch()
    (folder / "native" / "notes.txt").touch()
    output = succeed("demo")
    assert "final weights: identical (largest absolute difference 0" in output
    assert "files kept by both drivers: best_accuracy_epoch_" in output
    assert "Start running" not in output
    assert not (folder / "native" / "epoch_99.pth").exists()
    assert (folder / "native" / "notes.txt").exists()
    native, lightning = (read_log(folder / name) for name in ("native", "lightning"))
    assert list(native) == list(range(1, 7))
    assert native == lightning
    assert native[6].accuracy > 0.95
    assert f"{native[6].accuracy:.5f}" in output


def test_the_demo_leaves_the_files_of_another_run_alone(tmp_path):
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "epoch_12.pth").touch()
    result = call("demo", "--work-dir", tmp_path)
    assert result.exit_code == 1
    assert "another run's files" in result.stderr
    assert (tmp_path / "native" / "epoch_12.pth").exists()


def test_a_demo_that_finds_a_difference_fails(tmp_path, monkeypatch):
    weights = {"native": torch.zeros(2), "lightning": torch.tensor([0.0, 0.5])}

    def run(driver, folder, seed, console):
        folder.mkdir(parents=True, exist_ok=True)
        lines = ['{"exp_name": "digits_cnn.py"}', '{"mode": "val", "epoch": 1, "accuracy": 0.97, "lr": 0.1, "iter": 1}']
        (folder / "x.log.json").write_text("\n".join(lines))
        write_checkpoint({"meta": {}, "state_dict": {"w": weights[driver]}}, str(folder / "latest.pth"))

    # by its full name: mmhooks.cli.demo is the command, which hides the module of that name
    monkeypatch.setattr(sys.modules["mmhooks.cli.demo"], "_run", run)
    result = call("demo", "--work-dir", tmp_path)
    assert result.exit_code == 1
    assert "different (largest absolute difference 0.5" in result.output
    weights["lightning"] = torch.zeros(2)
    assert call("demo", "--work-dir", tmp_path).exit_code == 0


@pytest.mark.parametrize("package", ["lightning", "sklearn"])
def test_a_demo_without_its_packages_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    result = call("demo")
    assert result.exit_code == 1
    assert 'pip install "mmhooks[demo]"' in result.stderr


def test_the_script_without_a_config_trains(tmp_path):
    pytest.importorskip("torchmetrics")
    from mmhooks.examples.digits.script import train

    runner = train(str(tmp_path / "w"), max_epochs=1)
    assert runner.epoch == 1
    assert [line["accuracy"] > 0.5 for line in lines(tmp_path / "w") if "accuracy" in line] == [True]


# the bar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_draws_on_a_terminal_alone(make_runner, batches, terminal):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120)
    runner = make_runner(EpochBasedRunner, max_epochs=2)
    runner.register_training_hooks(lr_config=None, optimizer_config={})
    runner.register_hook(ProgressBarHook(console, "native", interval=0), priority="LOWEST")
    with logging_to(console):
        runner.run([batches], [("train", 1)])
    assert ("epoch 2/2" in screen.getvalue()) == terminal
    assert ("8/8" in screen.getvalue()) == terminal
    assert ("Start running" in screen.getvalue()) == terminal  # log lines share the bar's console


def test_the_bar_reads_the_loss_at_a_refresh_alone(make_runner, batches):
    class Loss:
        reads = 0

        def __float__(self):
            Loss.reads += 1
            return 1.0

    class Model(type(make_runner().model)):
        def train_step(self, data, optimizer, **kwargs):
            return {"loss": Loss()}

    runner = make_runner(EpochBasedRunner, model=Model(), max_epochs=50)
    console = Console(file=io.StringIO(), force_terminal=True)
    runner.register_hook(ProgressBarHook(console, interval=3600), priority="LOWEST")
    runner.run([batches], [("train", 1)])
    assert 1 <= Loss.reads <= 2  # the first (if the clock says so) and the last iteration of 200


def test_an_error_leaves_the_terminal_and_the_logger_as_they_were(make_runner):
    logger = logging.getLogger("mmhooks")
    before = list(logger.handlers), logger.level
    with pytest.raises(ConfigError), logging_to(Console(file=io.StringIO())):
        raise ConfigError("no")
    assert (list(logger.handlers), logger.level) == before


def test_an_argument_that_a_class_refuses_is_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mmhooks", "train", str(CONFIG), "--work-dir", str(tmp_path / "work"),
         "--cfg-options", "optimizer_config.grad_clp=1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "did you mean 'grad_clip'?" in done.stderr
