"""The Trainer's counters: what they say in a file that a hook saves, and where a resumed run has them."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl


def settle_progress(fit_loop: dict[str, Any], batch_finished: bool, at_epoch_end: bool) -> None:
    """Make the saved counters true at a point in the middle of the Trainer's loop.

    The Trainer would repeat or skip a step otherwise, should it resume the file without a `HookCallback`.

    Args:
        fit_loop: the state of the Trainer's fit loop, changed in place.
        batch_finished: the iteration in progress is finished; otherwise it has not begun.
        at_epoch_end: the epoch is finished as well.
    """
    batch = fit_loop["epoch_loop.batch_progress"]
    for tracker in (batch["total"], batch["current"]):
        count = tracker["ready"] if batch_finished else tracker["processed"]
        tracker.update(ready=count, started=count, processed=count, completed=count)
    if at_epoch_end:
        batch["current"].update(ready=0, started=0, processed=0, completed=0)
        epoch = fit_loop["epoch_progress"]
        for tracker in (epoch["total"], epoch["current"]):
            tracker.update(started=tracker["ready"], processed=tracker["ready"], completed=tracker["ready"])


def settle_step(fit_loop: dict[str, Any]) -> None:
    """Make the saved counters say that the training step in progress is done, as they do at on_train_batch_end.

    Args:
        fit_loop: the state of the Trainer's fit loop, changed in place.
    """
    for tracker in (fit_loop["epoch_loop.batch_progress"]["total"], fit_loop["epoch_loop.batch_progress"]["current"]):
        tracker.update(processed=tracker["ready"])


def move_progress(trainer: pl.Trainer, epochs: int, iters: int, steps: int) -> None:
    """Let the Trainer begin an epoch, as if it had done so many already.

    What it would do of its own to go on in the middle of a file's epoch is taken back: no point would be fired for
    the rest of it, and its loader would begin anew.

    Args:
        trainer: about to train.
        epochs: the train epochs that are finished.
        iters: the batches that are.
        steps: the steps of optimizers that were taken.
    """
    fit = trainer.fit_loop
    loop = fit.epoch_loop
    for tracker, number in (
        (fit.epoch_progress.current, epochs),
        (fit.epoch_progress.total, epochs),
        (loop.batch_progress.total, iters),
        (loop.batch_progress.current, 0),
        (loop.manual_optimization.optim_step_progress.total, steps),
    ):
        for name in vars(tracker):  # ready, started, processed, completed, as far as it has them
            setattr(tracker, name, number)
    loop._batches_that_stepped = steps
    fit.restarting = False
    for one in (fit, loop, loop.val_loop):
        one.reset_restart_stage()


def validate_now(trainer: pl.Trainer) -> None:
    """Validate before the next batch: a file was saved when this was still to be done."""
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
