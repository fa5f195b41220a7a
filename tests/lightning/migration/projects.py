"""What the tests of generated projects share."""

import os
import subprocess
import sys
from pathlib import Path

from mmhooks.plan import plan_run
from mmhooks_lightning.migration import plain
from mmhooks_lightning.migration.project import shared_files

ROOT = Path(__file__).parents[3]


def config(**changes):
    """Give a small config of one's own code; None leaves a key out."""
    values = {
        "model": {"type": "Net"},
        "data": {"samples_per_gpu": 2, "train": {"type": "Data"}, "val": {"type": "Data"}},
        "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "optimizer_config": {},
        "lr_config": {"policy": "step", "step": [2]},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 3},
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


def planned(codebase="mmcv", **changes):
    return plan_run(config(**changes), codebase)


def written(folder, plans, names):
    """Write a project, with what projects of both styles have."""
    for path, text in {**shared_files(plans, names, "lightning"), **plain.project_files(plans, names)}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def run(folder, *command):
    """Run Python in a project."""
    path = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "adapters")])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
