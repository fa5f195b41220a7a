"""TensorboardLoggerHook, read back by tensorboard's own reader."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmhooks import ConfigError, EpochBasedRunner, TensorboardLoggerHook

sys.path.insert(0, str(Path(__file__).parent))

from small_run import META, Shows, Small, check_values, is_red, train


def read(folder):
    events = EventAccumulator(str(folder))
    return events.Reload()


def scalars(events):
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def text(events, tag):
    (event,) = events.Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def test_both_drivers_write_the_same(tmp_path):
    found = {}
    for driver in ("native", "lightning"):
        train(driver, tmp_path / driver, Shows(), TensorboardLoggerHook(interval=2))
        events = read(tmp_path / driver / "tf_logs")
        found[driver] = scalars(events)
        assert set(found[driver]) == {"train/loss", "val/loss", "learning_rate", "momentum"}
        (image,) = events.Images("shown/image")
        assert is_red(Image.open(io.BytesIO(image.encoded_image_string)))
        (figure,) = events.Images("shown/figure")
        assert (figure.width, figure.height, figure.step) == (100, 100, 4)
        (histogram,) = events.Histograms("shown/weight")
        of_weight = histogram.histogram_value
        assert (of_weight.num, of_weight.min, of_weight.max, of_weight.sum) == (12, 0, 11, 66)
        assert text(events, "shown/text") == "2 < 3"
        assert "| log.0.interval | 2 |" in text(events, "hyper_parameters")
        assert "    log = [dict(interval=2)]" in text(events, "config")
    check_values(found["native"], found["lightning"])


def test_the_folder_and_the_system_metrics(tmp_path):
    hook = TensorboardLoggerHook(tmp_path / "elsewhere", interval=2, hyper_parameters=False, system_metrics=True)
    train("native", None, hook)
    events = read(tmp_path / "elsewhere")
    found = scalars(events)
    assert events.Tags()["tensors"] == []
    steps = {tag: [step for step, _ in values] for tag, values in found.items() if tag.startswith("system/")}
    assert set(steps) >= {"system/memory_mib", "system/samples_per_second"}
    assert all(own == [2, 4, 6, 8] for own in steps.values())
    assert all(value > 0 for values in found.values() for _, value in values)


def test_without_any_folder():
    with pytest.raises(ConfigError, match=r"log_dir=\.\.\. where the runner has no work_dir"):
        train("native", None, TensorboardLoggerHook())


def test_from_a_log_config(tmp_path):
    model = Small()
    runner = EpochBasedRunner(model, work_dir=tmp_path, meta=META)
    hooks = [{"type": "TensorboardLoggerHook", "log_dir": "there"}, {"type": "TensorboardLoggerHook", "interval": 3}]
    runner.register_logger_hooks({"interval": 7, "hooks": hooks})
    first, second = runner.hooks
    assert (first.log_dir, first.interval, second.interval) == ("there", 7, 3)
