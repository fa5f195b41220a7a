"""Registry and build_from_cfg: a name in a config becomes a class, and a dict becomes an object."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload

import torch

from mmhooks.errors import ConfigError, RegistryError, nearest

Registrable = TypeVar("Registrable", bound=Callable[..., Any])


def build_from_cfg(cfg: Mapping[str, Any], registry: Registry, default_args: Mapping[str, Any] | None = None) -> Any:
    """Call what ``cfg['type']`` names with the other keys of ``cfg``, which stays as it is.

    Args:
        cfg: the keyword arguments, and ``type``: a registered name, a class or a function.
        registry: where a name is looked up.
        default_args: arguments (``type`` too) for the keys that ``cfg`` does not have.

    Returns:
        Whatever the class or function returns.

    Raises:
        ConfigError: neither ``cfg`` nor ``default_args`` has a ``type``.
        RegistryError: no registry in reach holds the name.
        TypeError: an argument is of the wrong type; or the class takes no such argument, and it says which it takes.
        Exception: what the class itself raises, with a note that says which class was built from which keys.

    Example:
        >>> build_from_cfg(dict(type="Linear", in_features=2), registry, default_args=dict(out_features=3))
        Linear(in_features=2, out_features=3, bias=True)
    """
    if not isinstance(registry, Registry):
        raise TypeError(f"registry must be a Registry, not {_described(registry)}")
    if not isinstance(cfg, Mapping):
        raise TypeError(f"a config for the {registry.name} registry must be a dict, not {_described(cfg)}")
    if default_args is not None and not isinstance(default_args, Mapping):
        raise TypeError(f"default_args must be a dict or None, not {_described(default_args)}")

    args = dict(cfg)
    for key, value in (default_args or {}).items():
        args.setdefault(key, value)
    if "type" not in args:
        raise ConfigError(
            f"a config for the {registry.name} registry needs a 'type', the name of what to build; "
            f"it has {_listed(args)}{_misspelt('type', args)}"
        )
    wanted = args.pop("type")
    if isinstance(wanted, str):
        target = registry.get(wanted)
        if target is None:
            raise RegistryError(_unknown(wanted, registry))
    elif _is_registrable(wanted):
        target = wanted
    else:
        raise TypeError(
            f"type must be a registered name, a class or a function, not {_described(wanted)}; "
            f"the config for the {registry.name} registry has {_listed(cfg)}"
        )
    try:
        return target(**args)
    except Exception as error:
        note = f"while building {_full_name(target)} for the {registry.name} registry from {_listed(args)}"
        told = _unknown_argument(error, target, args)
        if told is not None:
            told.add_note(note)
            raise told from error
        error.add_note(note)
        raise


class Elsewhere(Protocol):
    """Where a registry looks besides itself, see `Registry.elsewhere`."""

    def find(self, key: str, own: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Give what a key means, whose own entry (if there is one) is ``own``."""

    def keys(self) -> Iterable[str]:
        """List the keys that are found there."""


class Registry:
    """Classes and functions by name, so that a config can say which one it wants.

    Registries form a tree across packages. Every package has a scope; a key ``scope.Name`` is looked up in
    the child of that scope, and from the root when there is no such child. A key without a scope is looked up
    in this registry alone, never in its parent.

    Args:
        name: what is registered here, for messages: ``"hook"``.
        build_func: called by `build` as ``build_func(cfg, registry=..., **kwargs)``. Default: the parent's,
            and `build_from_cfg` without a parent.
        parent: the registry of which this one is a child.
        scope: the first part of a key. Default: the top package of the module that makes the registry.
        built_ins: a module that completes the registry: it is imported when the registry is first used.

    Attributes:
        elsewhere: where names that are not here are looked up, if anywhere: see `mmhooks.foreign`.

    Raises:
        RegistryError: the parent already has a child of this scope.

    Example:
        >>> MODELS = Registry("model", scope="lab")
        >>> @MODELS.register_module()
        ... class Net:
        ...     def __init__(self, width):
        ...         self.width = width
        >>> MODELS.build(dict(type="Net", width=8)).width
        8
        >>> MODELS.get("lab.Net") is Net
        True
    """

    def __init__(
        self,
        name: str,
        build_func: Callable[..., Any] | None = None,
        parent: Registry | None = None,
        scope: str | None = None,
        built_ins: str | None = None,
    ) -> None:
        if parent is not None and not isinstance(parent, Registry):
            raise TypeError(f"the parent of a registry must be a Registry, not {_described(parent)}")
        if scope is None:
            # The caller's globals, not inspect.stack(), which reads source files.
            scope = str(sys._getframe(1).f_globals.get("__name__", "__main__")).partition(".")[0]
        self._name = name
        self._scope = scope
        self._built_ins = built_ins
        self._module_dict: dict[str, Callable[..., Any]] = {}
        self._yielding: dict[str, Callable[..., Any]] = {}  # by the name that it gives up when another wants it
        self._children: dict[str, Registry] = {}
        self.elsewhere: Elsewhere | None = None
        self.parent = parent
        if build_func is None:
            build_func = build_from_cfg if parent is None else parent.build_func
        self.build_func: Callable[..., Any] = build_func
        if parent is not None:
            parent._add_child(self)

    @property
    def name(self) -> str:
        """What is registered here."""
        return self._name

    @property
    def scope(self) -> str:
        """The first part of a key that names this registry."""
        return self._scope

    @property
    def module_dict(self) -> dict[str, Callable[..., Any]]:
        """The registered objects by name."""
        if self._built_ins is not None:
            module, self._built_ins = self._built_ins, None
            importlib.import_module(module)
        return self._module_dict

    @property
    def children(self) -> dict[str, Registry]:
        """The child registries by scope."""
        return self._children

    def __len__(self) -> int:
        return len(self.module_dict)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self._name}, items={self.module_dict})"

    @staticmethod
    def split_scope_key(key: str) -> tuple[str | None, str]:
        """Split the first scope off a key.

        Example:
            >>> Registry.split_scope_key("mmdet.ResNet"), Registry.split_scope_key("ResNet")
            (('mmdet', 'ResNet'), (None, 'ResNet'))
        """
        scope, dot, rest = key.partition(".")
        return (scope, rest) if dot else (None, key)

    def get(self, key: str) -> Callable[..., Any] | None:
        """Look a name up.

        Args:
            key: ``"Name"``, or ``"scope.Name"`` for this scope, a child's, or one that the root knows.

        Returns:
            The class or function, or None when it is not there.
        """
        if not isinstance(key, str):
            raise TypeError(f"a key of the {self._name} registry must be a str, not {_described(key)}")
        scope, rest = self.split_scope_key(key)
        entries = self.module_dict  # first: what is elsewhere may be known only then
        if scope == self._scope:
            return entries.get(rest)
        if scope in self._children:
            return self._children[scope].get(rest)
        if scope is not None and self.parent is not None:
            return self._root().get(key)
        own = entries.get(key) if scope is None else None
        return own if self.elsewhere is None else self.elsewhere.find(key, own)

    def build(self, cfg: Any, **kwargs: Any) -> Any:
        """Build an object from its config with this registry's ``build_func``.

        Args:
            cfg: the config; see `build_from_cfg`.
            **kwargs: handed on to ``build_func``: ``default_args``.
        """
        return self.build_func(cfg, registry=self, **kwargs)

    @overload
    def register_module(self, name: Registrable) -> Registrable: ...
    @overload
    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        *,
        module: Registrable,
        yields: bool = False,
    ) -> Registrable: ...
    @overload
    def register_module(
        self,
        name: str | Sequence[str] | None = None,
        force: bool = False,
        module: None = None,
        *,
        yields: bool = False,
    ) -> Callable[[Registrable], Registrable]: ...
    def register_module(
        self,
        name: Callable[..., Any] | str | Sequence[str] | None = None,
        force: bool = False,
        module: Callable[..., Any] | None = None,
        *,
        yields: bool = False,
    ) -> Any:
        """Register a class or a function, as a decorator or by a call.

        Args:
            name: the name, or several, in place of the object's own.
            force: replace what already has the name.
            module: the class or function, when called as a function.
            yields: the next one of the name takes its place without ``force``. Built-ins that MMCV does not have are
                registered so, since projects written for MMCV have ones of their own by that name.

        Returns:
            The class or function itself, or the decorator that takes it.

        Raises:
            RegistryError: the name is taken, by what does not yield, and ``force`` is off. Nothing is registered then.
            TypeError: an argument is of the wrong type.

        Example:
            >>> @HOOKS.register_module()
            ... class MyHook(Hook): ...
            >>> HOOKS.register_module(name=["My", "Mine"], module=MyHook) is MyHook
            True
        """
        if module is None and _is_registrable(name):  # @REGISTRY.register_module, without parentheses
            name, module = None, name
        for flag, value in {"force": force, "yields": yields}.items():
            if not isinstance(value, bool):
                raise TypeError(f"{flag} must be True or False, not {_described(value)}")
        if name is None:
            names = None
        elif isinstance(name, str):
            names = [name]
        elif isinstance(name, Sequence) and all(isinstance(one, str) for one in name):
            names = list(name)
        else:
            raise TypeError(f"name must be a str, a sequence of str or None, not {_described(name)}")

        def register(module: Registrable) -> Registrable:
            self._register(module, names, force, yields)
            return module

        return register if module is None else register(module)

    def _register(self, module: Callable[..., Any], names: list[str] | None, force: bool, yields: bool) -> None:
        if not _is_registrable(module):
            raise TypeError(f"the {self._name} registry takes a class or a function, not {_described(module)}")
        names = [module.__name__] if names is None else names
        for name in names:
            holder = self.module_dict.get(name)
            if holder is not None and holder is not self._yielding.get(name) and not force:
                raise RegistryError(
                    f"{name!r} in the {self._name} registry is already {_full_name(holder)}, so it cannot be "
                    f"{_full_name(module)}; give the new one another name with register_module(name=...), or "
                    "replace the old one with register_module(force=True)"
                )
        self.module_dict.update(dict.fromkeys(names, module))
        if yields:
            self._yielding.update(dict.fromkeys(names, module))

    def _add_child(self, child: Registry) -> None:
        if child.scope in self._children:
            raise RegistryError(
                f"the {self._name} registry (scope {self._scope!r}) already has a child of scope "
                f"{child.scope!r}; give the new one another with Registry(..., scope=...)"
            )
        self._children[child.scope] = child

    def _root(self) -> Registry:
        registry = self
        while registry.parent is not None:
            registry = registry.parent
        return registry

    def all_keys(self) -> Iterator[str]:
        """List the keys of this registry, those below it and what it finds elsewhere, as they are written from here."""
        yield from self.module_dict
        for scope, child in self._children.items():
            for key in child.all_keys():
                yield f"{scope}.{key}"
        if self.elsewhere is not None:
            yield from self.elsewhere.keys()


def _is_registrable(candidate: object) -> bool:
    return inspect.isclass(candidate) or inspect.isfunction(candidate)


def _unknown(wanted: str, registry: Registry) -> str:
    """Say that a name is not there, what is near it, and how one comes to be there."""
    root = registry._root()
    keys = [*registry.all_keys(), *root.all_keys(), *(f"{root.scope}.{name}" for name in root.module_dict)]
    known: dict[tuple[int, str], str] = {}  # the shortest way to write each one that `get` finds from here
    for key in keys:
        found = registry.get(key)
        if found is not None:
            known.setdefault((id(found), _last(key)), key)
    elsewhere = [key for key in known.values() if _last(key) == _last(wanted)]
    hint = nearest(wanted, known.values())
    if elsewhere:  # the right name with a wrong scope: nearest() judges the whole key
        hint = f"; did you mean {' or '.join(map(repr, elsewhere))}?"
    return (
        f"{wanted!r} is not in the {registry.name} registry (scope {registry.scope!r}){hint or '.'} "
        "A class of your own gets in with the registry's decorator, register_module(), in a "
        "module that the config imports: custom_imports=dict(imports=['my_package.my_module'])"
    )


def _unknown_argument(error: Exception, target: Callable[..., Any], args: Mapping[str, Any]) -> TypeError | None:
    """Tell of an argument that a class does not take in the words of who asked for the class.

    Python names the method that stumbled over it, which may be that of a base class.
    """
    if not isinstance(error, TypeError):
        return None
    taken = arguments_of(target)
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    key = found[1] if found else next(iter(args), "") if str(error).endswith("takes no arguments") else ""
    if key not in args or key in taken:
        return None
    return TypeError(
        f"{target.__qualname__} got an unexpected keyword argument {key!r}{nearest(key, taken) or '.'} "
        f"It takes {', '.join(taken) or 'none'}"
    )


def arguments_of(target: Callable[..., Any]) -> list[str]:
    """Name the arguments of a class or a function.

    Where ``__init__`` has ``**kwargs``, they are taken to reach that of the next base class that has one.

    Args:
        target: the class or function; of one written in C nothing may be known.
    """
    return list(parameters_of(target))


def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Give what `arguments_of` names, with the defaults; the first one of a name counts."""
    functions: list[Any] = [target]
    if inspect.isclass(target) and "__new__" not in vars(target):
        functions = [vars(cls)["__init__"] for cls in target.__mro__[:-1] if "__init__" in vars(cls)] or [target]
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # some classes written in C have no signature
            break
        own = parameters if function is target else parameters[1:]
        for one in own:
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                found.setdefault(one.name, one)
        if not any(one.kind is one.VAR_KEYWORD for one in own):
            break
    return found


def _misspelt(wanted: str, keys: Iterable[Any]) -> str:
    """Say which key looks like the one that is wanted."""
    found = difflib.get_close_matches(wanted, map(str, keys), n=1, cutoff=0.7)
    return f"; did you mean {wanted!r} by {found[0]!r}?" if found else ""


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _listed(keys: Mapping[str, Any]) -> str:
    return f"the keys {', '.join(map(repr, keys))}" if keys else "no keys"


def _described(value: object) -> str:
    return f"{value!r:.60} ({type(value).__name__})"


def _full_name(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{target.__qualname__}"


HOOKS = Registry("hook", scope="mmhooks", built_ins="mmhooks.hooks")
RUNNERS = Registry("runner", scope="mmhooks", built_ins="mmhooks.runner")
MODELS = Registry("model", scope="mmhooks", built_ins="mmhooks.foreign")
DATASETS = Registry("dataset", scope="mmhooks")
OPTIMIZERS = Registry("optimizer", scope="mmhooks", built_ins="mmhooks.foreign")
OPTIMIZER_BUILDERS = Registry("optimizer builder", scope="mmhooks", built_ins="mmhooks.optim")
RUNNER_BUILDERS = Registry("runner builder", scope="mmhooks", built_ins="mmhooks.runner")

for _found in list(vars(torch.optim).values()):
    if isinstance(_found, type) and issubclass(_found, torch.optim.Optimizer):
        OPTIMIZERS._module_dict[_found.__name__] = _found
