"""Hook: what may happen at the ten points of a training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from mmhooks.runner.base import BaseRunner

#: The ten points, in the order in which a run reaches them.
POINTS = (
    "before_run",
    "before_train_epoch",
    "before_train_iter",
    "after_train_iter",
    "after_train_epoch",
    "before_val_epoch",
    "before_val_iter",
    "after_val_iter",
    "after_val_epoch",
    "after_run",
)

#: A method that serves a train and a val point at once, for a hook that does not override these.
GENERIC = {
    "before_train_epoch": "before_epoch",
    "before_val_epoch": "before_epoch",
    "after_train_epoch": "after_epoch",
    "after_val_epoch": "after_epoch",
    "before_train_iter": "before_iter",
    "before_val_iter": "before_iter",
    "after_train_iter": "after_iter",
    "after_val_iter": "after_iter",
}


Method = TypeVar("Method", bound=Callable[..., Any])


def when(needed: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Decorate a method of a hook that has something to do only for some arguments of the hook.

    Where it has not, its point is not called, which costs nothing at every iteration. A subclass that overrides
    the method is called as ever.

    Args:
        needed: asked with the hook when a run starts, again after ``before_run``, and when hooks have been registered
            or removed; a change of the hook at another time is not seen.

    Example:
        >>> class Every(Hook):
        ...     def __init__(self, by_epoch):
        ...         self.by_epoch = by_epoch
        ...     @when(lambda hook: not hook.by_epoch)
        ...     def after_train_iter(self, runner): ...
        >>> Every(by_epoch=True).get_triggered_stages()
        []
    """

    def decorate(method: Method) -> Method:
        # find_method reads it; with the method, since functools.wraps hands attributes on to other functions
        method.when = (method, needed)  # type: ignore[attr-defined]
        return method

    return decorate


class Hook:
    """Base of hooks: override the points at which something is to happen.

    A method that is not overridden costs nothing: it is not called. ``before_epoch``, ``after_epoch``,
    ``before_iter`` and ``after_iter`` stand for their train and val points together.

    Example:
        >>> class PrintLoss(Hook):
        ...     def after_train_iter(self, runner):
        ...         if self.every_n_iters(runner, 100):
        ...             print(runner.iter + 1, runner.outputs["loss"].item())
    """

    stages: ClassVar[tuple[str, ...]] = POINTS

    #: Set at registration: the value of the priority (0 first, 100 last).
    priority: int

    #: Where a checkpoint is saved by a hook whose turn comes before this one's, at the end of an iteration or epoch:
    #: call this one for that iteration or epoch when the file is resumed. ``runner.outputs`` and ``runner.data_batch``
    #: are None then.
    catches_up: ClassVar[bool] = False

    def before_run(self, runner: BaseRunner) -> None:
        """Called once, before anything else."""

    def after_run(self, runner: BaseRunner) -> None:
        """Called once, when the run has ended without an error."""

    def before_epoch(self, runner: BaseRunner) -> None:
        """Called before a train or val epoch; in an iteration-based run, once before the first iteration."""

    def after_epoch(self, runner: BaseRunner) -> None:
        """Called after a train or val epoch; in an iteration-based run, once after the last iteration."""

    def before_iter(self, runner: BaseRunner) -> None:
        """Called before a train or val iteration."""

    def after_iter(self, runner: BaseRunner) -> None:
        """Called after a train or val iteration."""

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Called before the iterator of the train loader is made."""
        self.before_epoch(runner)

    def before_val_epoch(self, runner: BaseRunner) -> None:
        """Called before the iterator of the val loader is made."""
        self.before_epoch(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Called after the last iteration of a train epoch, before ``runner.epoch`` grows."""
        self.after_epoch(runner)

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Called after the last iteration of a val epoch."""
        self.after_epoch(runner)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Called with ``runner.data_batch`` on the device, before ``train_step``."""
        self.before_iter(runner)

    def before_val_iter(self, runner: BaseRunner) -> None:
        """Called with ``runner.data_batch`` on the device, before ``val_step``."""
        self.before_iter(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Called with ``runner.outputs`` of ``train_step``, before ``runner.iter`` grows."""
        self.after_iter(runner)

    def after_val_iter(self, runner: BaseRunner) -> None:
        """Called with ``runner.outputs`` of ``val_step``."""
        self.after_iter(runner)

    def every_n_epochs(self, runner: BaseRunner, n: int) -> bool:
        """Tell whether the current epoch is the n-th, 2n-th, ... of the run; never for n <= 0."""
        return n > 0 and (runner.epoch + 1) % n == 0

    def every_n_inner_iters(self, runner: BaseRunner, n: int) -> bool:
        """Tell whether the current iteration is the n-th, 2n-th, ... of its epoch; never for n <= 0."""
        return n > 0 and (runner.inner_iter + 1) % n == 0

    def every_n_iters(self, runner: BaseRunner, n: int) -> bool:
        """Tell whether the current iteration is the n-th, 2n-th, ... of the run; never for n <= 0."""
        return n > 0 and (runner.iter + 1) % n == 0

    def end_of_epoch(self, runner: BaseRunner) -> bool:
        """Tell whether the current iteration is the last one of the loader."""
        return runner.inner_iter + 1 == len(runner.data_loader)

    def is_last_epoch(self, runner: BaseRunner) -> bool:
        """Tell whether the current epoch is the last one of the run, by its length or by `BaseRunner.stop`."""
        return runner.epoch + 1 == runner.max_epochs or runner.stop_reason is not None

    def is_last_iter(self, runner: BaseRunner) -> bool:
        """Tell whether the current iteration is the last one of the run, by its length or by `BaseRunner.stop`."""
        return runner.iter + 1 == runner.max_iters or runner.stop_reason is not None

    def get_triggered_stages(self) -> list[str]:
        """List the points at which this hook does something, in the order of a run."""
        from mmhooks.dispatch import find_method  # dispatch reads this class

        return [point for point in POINTS if find_method(self, point) is not None]

    @property
    def state_name(self) -> str:
        """The name of this hook's state in a file; hooks of the same name are told apart by their order."""
        return type(self).__name__

    def state_dict(self) -> dict[str, Any]:
        """Give what this hook must remember across a resume, as plain Python values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave.

        Args:
            state: the value from the checkpoint.
        """
