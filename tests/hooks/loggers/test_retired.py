"""Loggers of MMCV whose services are gone: a config may name them."""

import json

import pytest

from mmhooks import EpochBasedRunner, IterBasedRunner
from mmhooks.plan import plan_run
from mmhooks.walk import acts, walk

#: As configs of code bases have them.
LOGGERS = [
    {"type": "TextLoggerHook"},
    {"type": "PaviLoggerHook", "init_kwargs": {"project": "me"}, "add_graph_kwargs": {"active": True}},
    {"type": "SegmindLoggerHook", "interval": 3},
]


@pytest.mark.parametrize("kind", [EpochBasedRunner, IterBasedRunner])
def test_they_are_reported_once_and_all_else_goes_on(make_runner, batches, tmp_path, caplog, kind):
    by_epoch = kind is EpochBasedRunner
    runner = make_runner(kind, **({"max_epochs": 1} if by_epoch else {"max_iters": 4}))
    runner.register_training_hooks(None, {}, log_config={"interval": 2, "hooks": LOGGERS})
    runner.run([batches], [("train", 1)])
    longer = {"max_epochs": 2} if by_epoch else {"max_iters": 8}
    runner.run([batches], [("train", 1)], **longer)  # and not again
    (file,) = (tmp_path / "work").glob("*.log.json")
    iters = [json.loads(line)["iter"] for line in file.read_text().splitlines()]
    assert iters == ([2, 4, 2, 4] if by_epoch else [2, 4, 6, 8])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert warnings[0].startswith("PaviLoggerHook is retired: the service Pavi is gone, so nothing is logged there")
    assert "Segmind" in warnings[1]


def test_a_plan_with_one(capsys):
    config = {
        "model": {"type": "Net"},
        "optimizer": {"type": "SGD", "lr": 0.1},
        "optimizer_config": {},
        "log_config": {"interval": 50, "hooks": LOGGERS},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 2},
    }
    plan = plan_run(config, "mmcv")
    assert walk(plan, 3).unwalked == []
    said = {(act.point, act.hook): (act.every, act.key) for act in acts(plan)}
    assert said["before_run", "PaviLoggerHook"] == ("once, to say that Pavi is gone", "log_config.hooks[1]")
    assert ("after_train_iter", "PaviLoggerHook") not in said
