"""Trains with a ClearMLLoggerHook in offline mode: ``python clearml_worker.py whole native``, in an empty folder."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

if "media" in sys.argv:
    import matplotlib.pyplot as plt  # before clearml, which changes how modules are imported
from clearml import Task

from mmhooks import ClearMLLoggerHook, Hook
from tests.lightning.two_drivers import train

PLAIN = {
    "project_name": "digits",
    "task_name": "cnn",
    "reuse_last_task_id": False,
    "auto_connect_frameworks": False,
    "auto_connect_arg_parser": False,
    "auto_connect_streams": False,
    "auto_resource_monitoring": False,
}
META = {"seed": 3, "config": "optimizer = dict(lr=0.1)\n"}


class Draw(Hook):
    """Logs one thing of each kind."""

    def after_train_epoch(self, runner):
        figure = plt.figure(figsize=(1, 1))
        runner.log_media("grey", np.full((4, 6), 200, np.uint8))
        runner.log_media("figure", figure)
        runner.log_media("weights", np.arange(5.0))
        runner.log_media("note", "fine")


class Note(Hook):
    """Notes where the task of a hook is kept."""

    def __init__(self, hook):
        self.hook = hook

    def after_run(self, runner):
        self.folder = str(self.hook.task.get_offline_mode_folder())


def whole(run):
    """Train with a task that the hook begins and closes, and say where it is kept."""
    hook = ClearMLLoggerHook(PLAIN, interval=2)
    note = Note(hook)
    hooks = [*([Draw()] if run == "media" else []), note, hook]
    train("lightning" if run == "lightning" else "native", Path.cwd() / run, hooks, meta=META)
    return [note.folder, Task.current_task() is None]


def into_one(runs):
    """Train with one task that is there already and stays open, without the ten seconds that its closing takes."""
    task = Task.init(**PLAIN)
    kept = Path(task.get_offline_mode_folder(), "metrics.jsonl")
    for run in runs:
        train(run, Path.cwd() / run, [ClearMLLoggerHook(PLAIN, interval=2)], meta=META)
    assert Task.current_task() is task
    while not kept.exists() or len(events_in(kept)) < int(os.environ["EVENTS"]):  # another process writes them
        time.sleep(0.1)
    return [str(kept.parent), True]


def events_in(file):
    return [event for line in file.read_text().splitlines() for event in json.loads(line)]


if __name__ == "__main__":
    how, *runs = sys.argv[1:]
    said = {"both": into_one(runs)} if how == "open" else {run: whole(run) for run in runs}
    Path("said.json").write_text(json.dumps(said))
    if how == "open":
        os._exit(0)
