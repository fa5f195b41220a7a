"""The call table: who is called at which point, in which order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Self, SupportsIndex

from mmhooks.errors import HookError, nearest
from mmhooks.hook import GENERIC, POINTS, Hook
from mmhooks.priority import get_priority, priority_name

Call = Callable[[Any], object]

#: What `CallTable.call` accepts by name besides the ten points.
GENERIC_POINTS = ("before_epoch", "after_epoch", "before_iter", "after_iter")


def find_method(hook: object, name: str) -> Call | None:
    """Find what a hook really does at a point.

    Args:
        hook: a `Hook`, a hook written against the real mmcv, or any object with some of the ten methods.
        name: a point, one of the four generic names, or a point of the caller's own.

    Returns:
        The bound method (or the function set on the instance), or None where the hook only inherits the
        method of its base class, which does nothing, or says by `when` that it has nothing to do there.
    """
    for own in (name, GENERIC.get(name)):
        if own is not None and _overrides(hook, own):
            method: Call = getattr(hook, own)
            return method if _is_needed(method, hook) else None
    return None


def _is_needed(method: Call, hook: object) -> bool:
    function = getattr(method, "__func__", None)
    decorated, needed = getattr(function, "when", (None, None))
    return decorated is not function or needed is None or bool(needed(hook))


def _overrides(hook: object, name: str) -> bool:
    # not by way of hook.__dict__: once somebody has asked for that, every attribute of the object takes longer
    method = getattr(hook, name, None)
    for cls in type(hook).__mro__:
        if name in cls.__dict__:
            return not _is_base(cls) or getattr(method, "__func__", None) is not cls.__dict__[name]
    return method is not None


def _is_base(cls: type) -> bool:
    """Tell a base class of hooks, ours or the real mmcv's: it defines all ten points, and they do nothing."""
    return cls is Hook or (cls.__name__ == "Hook" and all(point in cls.__dict__ for point in POINTS))


class HookList(list[Any]):
    """The hooks of a runner in calling order; a change made to the list itself is seen by the call table.

    Args:
        changed: called after each change.
        adopt: gives what is to be in the list for a hook that is put into it.
    """

    def __init__(self, changed: Callable[[], None], adopt: Callable[[Any], Any]) -> None:
        super().__init__()
        self._changed = changed
        self._adopt = adopt

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(index, slice) and not hasattr(value, "priority"):
            value.priority = self[index].priority  # the newcomer takes the place, so also the priority
        super().__setitem__(index, list(map(self._adopt, value)) if isinstance(index, slice) else self._adopt(value))
        self._changed()

    def __delitem__(self, index: Any) -> None:
        super().__delitem__(index)
        self._changed()

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Insert a hook at a place of the caller's choice; without a priority it takes that of its neighbour."""
        if not hasattr(value, "priority"):
            neighbours = self[: int(index)][-1:] or self[:1]
            value.priority = neighbours[0].priority if neighbours else get_priority("NORMAL")
        super().insert(index, self._adopt(value))
        self._changed()

    def append(self, value: Any) -> None:
        """Put a hook last."""
        self.insert(len(self), value)

    def extend(self, values: Iterable[Any]) -> None:
        """Put hooks last."""
        for value in list(values):
            self.insert(len(self), value)

    def __iadd__(self, values: Iterable[Any]) -> Self:  # type: ignore[misc]  # list takes more than we do
        self.extend(values)
        return self

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        """Bring the hooks into another order."""
        super().sort(key=key, reverse=reverse)
        self._changed()

    def reverse(self) -> None:
        """Turn the order around."""
        super().reverse()
        self._changed()

    def remove(self, value: Any) -> None:
        """Take a hook out."""
        super().remove(value)
        self._changed()

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Take a hook out and give it back."""
        value = super().pop(index)
        self._changed()
        return value

    def clear(self) -> None:
        """Take all hooks out."""
        super().clear()
        self._changed()


class Entry:
    """What one point calls: the bound methods, and the hook that each belongs to.

    Attributes:
        calls: what is left to be called in one pass: nothing more when the hooks have changed meanwhile.
        turns: all of it, each with its hook.
        stale: the hooks have changed since.
    """

    __slots__ = ("calls", "stale", "turns")

    def __init__(self, found: list[tuple[Any, Call]]) -> None:
        self.calls: list[Call] = []
        for _, call in found:  # two hooks may have been given one function: each call must be found again
            self.calls.append(functools.partial(call) if call in self.calls else call)
        self.turns = tuple(zip((hook for hook, _ in found), self.calls, strict=True))
        self.stale = False

    def give_up(self) -> None:
        """End a pass that is going on, after the call that is being made."""
        self.stale = True
        self.calls.clear()


def _as_it_is(hook: Any) -> Any:
    return hook


class CallTable:
    """For each point, the methods to call; calling a point is one loop over it (`BaseRunner.call_hook`).

    Hooks of a lower priority value come first, hooks of equal priority in the order of registration.

    Args:
        adopt: gives what is to be registered for a hook; the hook itself by default.

    Attributes:
        hooks: in calling order.
        entries: what the points call that have been called since the hooks changed last.

    Example:
        >>> table = CallTable()
        >>> table.add(MyHook(), "HIGH")
        >>> table.entry("before_run").calls
        [<bound method MyHook.before_run ...>]
    """

    def __init__(self, adopt: Callable[[Any], Any] = _as_it_is) -> None:
        self._adopt = adopt
        self.hooks = HookList(self.rebuild, adopt)
        self.entries: dict[str, Entry] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Give the hooks alone: a copy looks their methods up anew."""
        return {"hooks": list(self.hooks), "adopt": self._adopt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the hooks."""
        self.__init__(state["adopt"])  # type: ignore[misc]
        list.extend(self.hooks, state["hooks"])  # as they are: those that refer to this table are not whole yet

    def add(self, hook: Any, priority: Any = "NORMAL") -> None:
        """Register a hook.

        Args:
            hook: a `Hook`, or any object with some of the ten methods.
            priority: see `get_priority`.

        Raises:
            ConfigError: a priority that is none.
            HookError: the object is registered already, or brings a ``priority`` of its own.
            TypeError: an object (or a class) without any of the points.
        """
        value = get_priority(priority)
        name = type(hook).__name__
        if isinstance(hook, type):
            raise TypeError(f"register_hook takes a hook, not the class: write {hook.__name__}()")
        if not isinstance(hook, Hook) and not any(hasattr(hook, point) for point in (*POINTS, *GENERIC_POINTS)):
            raise TypeError(f"{name} is no hook: it has none of the methods {', '.join(POINTS)}")
        if any(hook is other for other in self.hooks):
            raise HookError(
                f"this {name} is registered already (priority {priority_name(hook.priority)}); "
                "register a hook object once, and make a second object for a second registration"
            )
        if hasattr(hook, "priority"):
            raise HookError(
                f"this {name} has an attribute 'priority', which is set at registration: the object "
                "belongs to another runner, or its class uses the name; give register_hook a fresh "
                "object and the priority as its second argument"
            )
        hook.priority = value
        place = next((i for i, other in enumerate(self.hooks) if other.priority > value), len(self.hooks))
        self.hooks.insert(place, hook)

    def rebuild(self) -> None:
        """Look again, at the next call of each point, at which methods the hooks override."""
        for entry in self.entries.values():
            entry.give_up()
        self.entries.clear()

    def owners(self, point: str) -> tuple[Any, ...]:
        """List the hooks that a point would call now, in order."""
        return tuple(hook for hook in self.hooks if find_method(hook, point) is not None)

    def go_on(self, point: str, runner: Any, entry: Entry, call: Call) -> None:
        """Finish a point whose hooks changed while it was being called: whose turn is past stays past.

        Args:
            point: the point.
            runner: what the hooks get as their argument.
            entry: what was being called.
            call: the last one of it that was called.
        """
        calls = [one for _, one in entry.turns]
        done = [hook for hook, _ in entry.turns[: calls.index(call) + 1]]
        while True:
            entry = self.entry(point)
            order = {id(hook): place for place, hook in enumerate(self.hooks)}
            last = max((order.get(id(hook), -1) for hook in done), default=-1)
            turn = next(((hook, call) for hook, call in entry.turns if order[id(hook)] > last), None)
            if turn is None:
                return
            hook, call = turn
            call(runner)
            done.append(hook)

    def entry(self, point: str) -> Entry:
        """Look up what a point calls.

        Args:
            point: one of the ten points, of the four generic names, or a name that some hook has a method for.

        Raises:
            HookError: no hook knows the name.
        """
        entry = self.entries.get(point)
        if entry is None:
            entry = Entry([(hook, call) for hook in self.hooks if (call := find_method(hook, point)) is not None])
            if not entry.calls and point not in POINTS and point not in GENERIC_POINTS:
                raise HookError(f"no hook has a method {point!r}{nearest(point, (*POINTS, *GENERIC_POINTS))}")
            self.entries[point] = entry
        return entry
