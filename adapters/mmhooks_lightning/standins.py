"""Stand-ins: what a Trainer sees, in its list of callbacks, of those that are registered as hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl

if TYPE_CHECKING:
    from mmhooks_lightning.wrapping import CallbackHook

#: What a Trainer calls on its callbacks, apart from what saves and loads their state.
METHODS = tuple(
    name
    for name in vars(pl.Callback)
    if name in ("setup", "teardown") or (name.startswith("on_") and not name.endswith("_checkpoint"))
)

_WHILE_TRAINING = (
    "on_validation_epoch_start",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_validation_epoch_end",
)


class StandIn:
    """Passes for a callback wherever the Trainer looks for one, and is silent where a hook point calls it.

    ``isinstance`` takes it for an object of the callback's class, every attribute is the callback's own, and what
    the Trainer calls on it at moments of its own (to save its state, say) reaches the callback. Methods that it does
    not override are None, which the Trainer passes over, as are those that a point calls.

    Args:
        hook: the hook that the callback is wrapped in.
    """

    _mmhooks_hook: CallbackHook

    def __init__(self, hook: CallbackHook) -> None:
        vars(self)["_mmhooks_hook"] = hook

    def refresh(self) -> None:
        """Look again at what the callback overrides and which of it the points of this run call."""
        hook, own = self._mmhooks_hook, vars(self)
        for name in METHODS:
            own.pop(name, None)
        # setup: the HookCallback calls it, for the Trainer is in the middle of its list then
        silent = {"setup", *_WHILE_TRAINING, *(name for name in METHODS if hook.is_at_point(name))}
        own.update({name: method for name, method in hook.overridden.items() if name not in silent})

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # what isinstance asks
        return type(self._mmhooks_hook.callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mmhooks_hook.callback, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._mmhooks_hook.callback, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._mmhooks_hook.callback, name)

    def __eq__(self, other: object) -> bool:  # so that `callback in trainer.callbacks`
        return other is self or other is self._mmhooks_hook.callback

    def __hash__(self) -> int:
        return hash(self._mmhooks_hook.callback)

    def __repr__(self) -> str:
        return f"<stand-in of {self._mmhooks_hook.callback!r}>"


def _outside_points(name: str) -> property:
    """Give the Trainer a method of the callback except while the points of a run call it."""

    def method(stand_in: StandIn) -> Any:
        hook = stand_in._mmhooks_hook
        return None if hook.is_at_point(name) else hook.overridden.get(name)

    return property(method)


for _name in METHODS:
    setattr(StandIn, _name, _outside_points(_name) if _name in _WHILE_TRAINING else None)
