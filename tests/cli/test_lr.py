"""mmhooks lr: schedules in the terminal, as pictures and compared, by the command in this process."""

import pytest
from typer.testing import CliRunner

from mmhooks.cli import app

CONFIG = """
model = dict(type='FasterRCNN')
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
optimizer_config = dict()
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "detector.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "later.py"
    path.write_text(CONFIG.replace("[8, 11]", "[9, 11]"))
    return path


def call(*words, **env):
    return CliRunner().invoke(app, ["lr", *map(str, words)], env={"COLUMNS": "80", **env})


def succeed(*words, **env):
    result = call(*words, **env)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def words_of(text):
    return " ".join(text.replace("│", "").split())


def test_a_schedule_is_drawn_at_80_columns_without_colours(config):
    output = succeed(config)
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in output
    assert lines[0] == "detector.py"
    assert "12 epochs x 1,000 iterations (assumed: set --epoch-len), step (step=[8, 11])" in words_of(output)
    assert "lr  * others  o backbone" in lines
    assert "lr  warmup  * others  o backbone" in lines
    assert [line.split()[0] for line in lines if line.startswith(("iteration", "epoch"))] == ["iteration", "epoch"] * 2
    assert "momentum" not in output


def test_the_length_of_an_epoch_can_be_said(config):
    output = words_of(succeed(config, "--epoch-len", 7330, "--momentum"))
    assert "12 epochs x 7,330 iterations, step" in output
    assert "assumed" not in output
    assert "momentum" in output


def test_an_iteration_based_run_assumes_nothing(tmp_path):
    path = tmp_path / "segmentor.py"
    text = CONFIG.replace("FasterRCNN", "EncoderDecoder").replace("warmup_iters=500", "warmup_iters=5, by_epoch=False")
    path.write_text(text.replace("EpochBasedRunner', max_epochs=12", "IterBasedRunner', max_iters=20"))
    output = succeed(path)
    assert "assumed" not in output
    assert "20 iterations, step" in output
    assert "\nepoch" not in output
    assert "\nepoch" in succeed(path, "--epoch-len", 5)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_written(suffix, config, tmp_path):
    file = tmp_path / "new" / f"lr.{suffix}"
    assert f"written: {file}" in succeed(config, "-o", file, "--momentum").replace("\n", "")
    assert file.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    if suffix == "svg":
        text = file.read_text()
        assert all(f">{word}<" in text for word in ("detector.py", "iteration", "epoch", "warmup", "2e-2", "backbone"))


def test_two_schedules_are_compared(config, other):
    output = words_of(succeed(config, "--compare", other))
    said = "first apart at iteration 8,000 (epoch 9): 0.002 and 0.02, 0.018 apart; 1,000 of 12,000 iterations differ"
    assert f"lr others: {said}" in output
    assert "lr backbone: first apart at iteration 8,000" in output
    assert "detector.py and later.py" in output
    assert call(config, "--compare", other, "--exit-code").exit_code == 1
    equal = succeed(config, "--compare", config, "--exit-code", "--momentum")
    assert "momentum others: the same at 12,000 iterations, bit for bit" in words_of(equal)


def test_values_can_be_laid_over(config):
    output = words_of(succeed(config, "--cfg-options", "runner.max_epochs=3", "lr_config.step=[2]"))
    assert "3 epochs" in output
    assert "step (step=[2])" in output


def test_groups_that_a_constructor_makes_are_told(config):
    config.write_text(CONFIG.replace("momentum=0.9,", "momentum=0.9, constructor='LayerDecay',"))
    assert "LayerDecay makes param groups from the model: the lr shown is the one they multiply" in words_of(
        succeed(config)
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "lr.gif"], "a picture must end in .png, .svg, .pdf, not 'lr.gif': write lr.png"),
        (["--exit-code"], "--exit-code needs --compare OTHER"),
        (["--compare", "absent.py"], "there is no config absent.py"),
        (["--epoch-len", "0"], "should be greater than or equal to 1"),
        (["--codebase", "mmdt"], "did you mean 'mmdet'"),
    ],
)
def test_a_misuse_exits_with_2(words, said, config):
    result = call(config, *words)
    assert result.exit_code == 2
    assert said in words_of(result.output)


def test_a_policy_that_is_not_here_exits_with_1(config):
    config.write_text(CONFIG.replace("policy='step'", "policy='YOLOX'"))
    result = call(config)
    assert result.exit_code == 1
    assert "there is no lr to plot: lr_config: YOLOXLrUpdaterHook: the policy 'YOLOX' cannot be found" in result.output
    assert "--imports" in result.output


def test_a_policy_of_ones_own_is_imported_where_that_is_asked(config, tmp_path, monkeypatch):
    (tmp_path / "own_policies.py").write_text(
        "from mmhooks import HOOKS, LrUpdaterHook\n"
        "@HOOKS.register_module()\n"
        "class HalvingLrUpdaterHook(LrUpdaterHook):\n"
        "    def get_lr(self, runner, base_lr):\n"
        "        return base_lr * 0.5**runner.epoch\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        CONFIG.replace("policy='step'", "policy='Halving'").replace(", step=[8, 11]", "").replace("FasterRCNN", "Own")
    )
    config.write_text(text + "custom_imports = dict(imports=['own_policies'])\n")
    assert call(config, "--codebase", "mmcv").exit_code == 1
    assert "Halving, linear warmup" in words_of(succeed(config, "--codebase", "mmcv", "--imports"))
