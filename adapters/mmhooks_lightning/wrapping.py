"""as_hook: a callback of Lightning's among the hooks, in the order of priorities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder

from mmhooks.dispatch import CallTable
from mmhooks.errors import ConfigError, HookError
from mmhooks.hook import Hook, when
from mmhooks.priority import priority_name
from mmhooks.runner.registration import HookRegistration
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.placing import check, place
from mmhooks_lightning.standins import METHODS, StandIn

if TYPE_CHECKING:
    from mmhooks_lightning.callback import HookCallback
    from mmhooks_lightning.runner import LightningRunner

_TRAIN_BATCHES = ("on_train_batch_start", "on_train_batch_end")
_VAL_BATCHES = ("on_validation_batch_start", "on_validation_batch_end")
_BATCHES = _TRAIN_BATCHES + _VAL_BATCHES
_VAL_EPOCHS = ("on_validation_epoch_start", "on_validation_epoch_end")
_RUN = ("on_train_start", "on_train_end")
_AT_POINTS = (*_RUN, "on_train_epoch_start", *_BATCHES, *_VAL_EPOCHS)


def as_hook(callback: pl.Callback) -> CallbackHook:
    """Let a Lightning callback be registered like a hook, with a priority.

    Where a method has a point, it is called among the hooks at that point, by priority:

    | method | point |
    |---|---|
    | on_train_start, on_train_end | before_run, after_run |
    | on_train_epoch_start | before_train_epoch |
    | on_train_batch_start, on_train_batch_end | before_train_iter, after_train_iter |
    | on_validation_epoch_start, on_validation_epoch_end | before_val_epoch, after_val_epoch |
    | on_validation_batch_start, on_validation_batch_end | before_val_iter, after_val_iter |

    With an ordinary module ``on_validation_epoch_end`` is called before all hooks at after_val_epoch, which wait for
    what the module logs in its own.

    All other methods keep the Trainer's own moment, and are called by priority among the wrapped callbacks, where the
    `HookCallback` stands among the Trainer's. So does ``on_train_epoch_end``: hooks are at after_train_epoch before
    the Trainer validates, but a callback that monitors a metric expects to be called afterwards (and EarlyStopping
    and checkpoint callbacks last of all, as under Lightning). And so do the methods above where no point is called:
    in a sanity check, in ``trainer.validate``, and those of epochs in an iteration-based run.

    With a `HookedModule`, on_train_batch_end is called at the end of the training step, before the Trainer counts the
    batch as processed, with the outputs that it will pass on. With another module nothing differs from a callback
    that is given to the Trainer but the order. A file that is saved there, at the last batch of an epoch, was saved
    before after_train_epoch: the resumed run begins with the next epoch and does not call that point again.

    In ``trainer.callbacks`` there is a stand-in from the first setup on: ``trainer.checkpoint_callback``,
    ``ckpt_path="best"`` and the like find it. What a Trainer brings itself (a ModelCheckpoint, a progress bar, a model
    summary) makes way for a wrapped one. State is saved with every checkpoint as Lightning does it, so a file
    resumes with the same callback, wrapped or not. See `HookCallback.callbacks` for what a Trainer must know of before
    its first fit.

    Args:
        callback: an object of a class of ``lightning.pytorch.Callback``.

    Returns:
        What ``register_hook`` takes, under the name of the callback's class.

    Raises:
        TypeError: no callback, or a class in place of an object.
        ConfigError: a callback of the package pytorch_lightning.
        HookError: a callback that cannot be a hook, or is one already.

    Example:
        >>> hooks = [(as_hook(EarlyStopping("val_loss")), "LOW"), (EMAHook(), "HIGH")]
        >>> L.Trainer(callbacks=[HookCallback(hooks)]).fit(lit_module, loader, val_loader)
    """
    _check_callback(callback)
    cls: Any = type(type(callback).__name__, (CallbackHook,), {"__doc__": CallbackHook.__doc__})  # messages name it
    hook: CallbackHook = cls(callback)
    return hook


def _check_callback(callback: Any) -> None:
    name = callback.__name__ if isinstance(callback, type) else type(callback).__name__
    bases = {base.__module__.partition(".")[0] for base in type(callback).__mro__ if base.__name__ == "Callback"}
    if isinstance(callback, CallbackHook) or type(callback) is StandIn:
        raise HookError(f"this {name} is wrapped already: register what as_hook has returned")
    if isinstance(callback, type):
        raise TypeError(f"as_hook takes a callback, not the class: write as_hook({name}(...))")
    if isinstance(callback, HookRegistration):
        raise HookError(f"a {name} holds hooks and is none: register its hooks on one HookCallback")
    if isinstance(callback, (BatchSizeFinder, LearningRateFinder)):
        raise HookError(
            f"{name} runs trial fits without any callback before the fit begins, so it has no place among hooks: find "
            f"the value beforehand with lightning.pytorch.tuner.Tuner and a Trainer without a HookCallback"
        )
    if isinstance(callback, pl.Callback):
        return
    if "pytorch_lightning" in bases:
        raise ConfigError(
            f"this {name} comes from pytorch_lightning, and HookCallback is written for the package lightning: "
            "write `from lightning.pytorch.callbacks import ...` and `lightning.pytorch.Callback`"
        )
    if isinstance(callback, Hook):
        raise TypeError(f"{name} is a hook: register it as it is, without as_hook")
    raise TypeError(f"as_hook takes a lightning.pytorch.Callback, not {name}")


def _calling(method: str) -> Callable[[Any, Any], None]:
    """Make what a point calls: one method of the callback, where it overrides it."""

    @when(lambda hook: hook.overrides(method))
    def call(self: CallbackHook, runner: LightningRunner) -> None:
        self.call_at_point(runner, method)

    return call


class CallbackHook:
    """A Lightning callback among the hooks of a `HookCallback`; made by `as_hook`.

    Attributes:
        callback: what is wrapped.
        stand_in: what the Trainer's list of callbacks holds in its place.
        overridden: the methods that it overrides, bound, as the last setup found them.
    """

    before_run = _calling("on_train_start")
    before_train_epoch = _calling("on_train_epoch_start")
    before_train_iter = _calling("on_train_batch_start")
    after_train_iter = _calling("on_train_batch_end")
    before_val_epoch = _calling("on_validation_epoch_start")
    before_val_iter = _calling("on_validation_batch_start")
    after_val_iter = _calling("on_validation_batch_end")
    after_val_epoch = _calling("on_validation_epoch_end")
    after_run = _calling("on_train_end")

    _priority: int
    _table: CallbackTable | None = None

    def __init__(self, callback: pl.Callback) -> None:
        self.callback = callback
        self.overridden: dict[str, Callable[..., Any]] = {}
        self.stand_in: Any = StandIn(self)

    @property
    def priority(self) -> int:
        """The value of the priority, set at registration."""
        return self._priority

    @priority.setter
    def priority(self, value: int) -> None:
        if self._table is None:  # neither a native runner nor a list of hooks knows what it takes
            raise HookError(
                f"{type(self).__name__} is a callback of Lightning's and needs a Trainer: a native runner cannot call "
                "it. Register it with HookCallback(...).register_hook(...), before the fit, and pass the HookCallback "
                "to L.Trainer(callbacks=[...])"
            )
        self._priority = value

    def overrides(self, method: str) -> bool:
        """Tell whether the callback does anything in a method."""
        found = getattr(self.callback, method)
        return callable(found) and getattr(found, "__func__", None) is not getattr(pl.Callback, method)

    def is_at_point(self, method: str) -> bool:
        """Tell whether a point calls a method now, so that the Trainer need not."""
        table = self._table
        assert table is not None
        return table.bridge is not None and _is_at_point(table.bridge, method)

    def set_up(self) -> None:
        """Look at what the callback overrides."""
        self.overridden = {name: getattr(self.callback, name) for name in METHODS if self.overrides(name)}
        self.stand_in.refresh()

    def call(self, trainer: pl.Trainer, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method as the Trainer would."""
        profiler: Any = trainer.profiler  # type: ignore[attr-defined]
        with profiler.profile(f"[Callback]{self.callback.state_key}.{method}"):
            getattr(self.callback, method)(trainer, trainer.lightning_module, *args, **kwargs)

    def call_at_point(self, runner: LightningRunner, method: str) -> None:
        """Call a method at its point, unless the Trainer is not at this method."""
        module = runner.module
        in_step = method == "on_train_batch_end" and isinstance(module, HookedModule)
        fx_name = module._current_fx_name
        if fx_name != ("training_step" if in_step else method):
            return  # a hook calls the point by name, or the run was finished already
        assert self._table is not None
        given = self._table.given
        if method != "on_train_batch_end":
            self.call(runner.trainer, method, *(given if method in _BATCHES else ()))
            return
        try:
            module._current_fx_name = method  # what self.log goes by
            self.call(runner.trainer, method, *((_passed_on(runner.outputs), *given) if in_step else given))
        finally:
            module._current_fx_name = fx_name


def _passed_on(outputs: dict[str, Any]) -> dict[str, Any]:
    """Give what the Trainer passes on of a training step's outputs."""
    loss = outputs.get("loss")
    return {**outputs, "loss": loss.detach()} if loss is not None else dict(outputs)


def _is_at_point(bridge: HookCallback, method: str) -> bool:
    """Tell whether a method of a callback is called by a point of this bridge now."""
    if method in _RUN or method in _TRAIN_BATCHES:
        return True
    if method in _VAL_BATCHES:
        return bridge.active
    if method == "on_validation_epoch_end" and bridge._logged.ends_val_late:
        return False
    if method in _VAL_EPOCHS:
        return bridge.active and bridge.by_epoch
    return method == "on_train_epoch_start" and bridge.by_epoch


class CallbackTable(CallTable):
    """A call table that takes callbacks of Lightning's too, wrapped by `as_hook`.

    Args:
        adopt: see `CallTable`.

    Attributes:
        bridge: the `HookCallback`, from its first setup on.
        given: what the Trainer gave with the batch that is in progress.
        shown_late: the wrapped callbacks that the Trainer did not know of when the fit began.
    """

    def __init__(self, adopt: Callable[[Any], Any]) -> None:
        super().__init__(adopt)
        self.bridge: HookCallback | None = None
        self.given: tuple[Any, ...] = ()
        self.shown_late: list[CallbackHook] = []
        self._in_fit = False

    @property
    def wrapped(self) -> list[CallbackHook]:
        """The wrapped callbacks in calling order."""
        return [hook for hook in self.hooks if isinstance(hook, CallbackHook)]

    def add(self, hook: Any, priority: Any = "NORMAL") -> None:
        """Register a hook, or a callback that is wrapped as one.

        Args:
            hook: see `CallTable.add`.
            priority: see `get_priority`.

        Raises:
            ConfigError: a priority that is none.
            HookError: the object, or the callback in it, is registered already, or comes too late.
            TypeError: an object that is no hook.
        """
        name = type(hook).__name__
        if isinstance(hook, pl.Callback):
            raise TypeError(f"{name} is a callback of Lightning's: register as_hook({name}(...))")
        if not isinstance(hook, CallbackHook):
            super().add(hook, priority)
            return
        if self._in_fit:
            raise HookError(
                f"{name} is registered in the middle of a fit, when the Trainer has called some of its methods on the "
                "other callbacks: register it before trainer.fit(...)"
            )
        for other in self.wrapped:
            if other is not hook and other.callback is hook.callback:
                raise HookError(
                    f"this {name} is registered already (priority {priority_name(other.priority)}): as_hook was called "
                    "twice on it"
                )
        table, hook._table = hook._table, self
        try:
            super().add(hook, priority)
        except BaseException:
            hook._table = table
            raise

    def set_up(self, bridge: HookCallback, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Put the wrapped callbacks' stand-ins into a Trainer, and call their setup.

        Raises:
            HookError: callbacks that cannot work together.
        """
        self.bridge = bridge
        hooks = self.wrapped
        for hook in hooks:
            hook.set_up()
        check(bridge, trainer, module, hooks)
        listed: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        self.shown_late = [hook for hook in hooks if not any(one is hook.stand_in for one in listed)]
        place(bridge, trainer, hooks)
        self._in_fit = stage == "fit"
        for names in (_TRAIN_BATCHES, _VAL_BATCHES):
            if self._in_fit and any(name in hook.overridden for hook in hooks for name in names):
                self._listen(bridge, names)
        for hook in hooks:
            callback: Any = hook.callback
            callback.log, callback.log_dict = module.log, module.log_dict  # as the Trainer has done with the others
        for hook in hooks:
            if "setup" in hook.overridden:
                hook.call(trainer, "setup", stage=stage)

    def _listen(self, bridge: HookCallback, names: Sequence[str]) -> None:
        """Keep what the Trainer gives with a batch; only here, so that it costs nothing where nothing is wrapped."""
        for name in names:
            setattr(bridge, name, self._keeping(getattr(bridge, name), keep=name.endswith("_start")))

    def _keeping(self, method: Callable[..., None], keep: bool) -> Callable[..., None]:
        def listening(trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
            self.given = args
            method(trainer, module, *args)
            if not keep:
                self.given = ()

        return listening

    def leave(self, bridge: HookCallback) -> None:
        """Undo what `set_up` did to the bridge; the stand-ins stay, for ``ckpt_path="best"`` and the like."""
        self._in_fit = False
        self.given = ()
        for name in _BATCHES:
            vars(bridge).pop(name, None)


def callback_info(hooks: Sequence[Any]) -> str:
    """Describe which wrapped callbacks are called at the Trainer's own moments, in which order."""
    wrapped = [hook for hook in hooks if isinstance(hook, CallbackHook)]
    blocks = []
    for method in METHODS:
        lines = [
            f"({priority_name(hook.priority):<12}) {type(hook).__name__}" for hook in wrapped if hook.overrides(method)
        ]
        if lines and method not in _AT_POINTS:
            blocks.append("\n".join([f"{method} (the Trainer's):", *lines, " -------------------- "]))
    return "\n".join(blocks)
