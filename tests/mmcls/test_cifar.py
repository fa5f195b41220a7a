"""An unmodified config of mmcls, trained by mmcls and by both drivers: the same numbers and files."""

import cifar
import mmcls.datasets.cifar
import mmcv
import pytest
import runs

CONFIG = "resnet/resnet18_8xb16_cifar10.py"


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Small data in place of CIFAR-10; that much a config has to be told."""
    for name, value in cifar.write(tmp_path / "data", size=16).items():
        monkeypatch.setattr(mmcls.datasets.cifar.CIFAR10, name, value)
    prefixes = [f"data.{part}.data_prefix={tmp_path / 'data'}" for part in ("train", "val")]
    return [*prefixes, "runner.max_epochs=2", "log_config.interval=2"]


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["native", "lightning"])
def test_x(tmp_path, options, driver):
    theirs = runs.theirs(CONFIG, tmp_path / "mmcls", options)
    print(theirs.losses, theirs.lrs, theirs.log)
    ours = runs.ours(
        driver,
        CONFIG,
        tmp_path / driver,
        {k: mmcv.DictAction._parse_iterable(v) for k, v in (o.split("=", 1) for o in options)},
    )
    print(ours.losses, ours.lrs, ours.log)
    assert ours.losses == theirs.losses
