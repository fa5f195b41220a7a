"""A pickle, read as data: what it says is noted down, and nothing that it names is imported or called."""

from __future__ import annotations

import contextlib
import io
import pickletools
import zipfile
from typing import IO, Any

from torch.serialization import MAGIC_NUMBER

from mmhooks.checkpoint.allowed import ALLOWED
from mmhooks.checkpoint.archive import has_archive
from mmhooks.errors import CheckpointError

_DICTS = ("collections.OrderedDict", "collections.Counter", "collections.defaultdict")
#: Names that torch's own reader makes without being told to.
_OWN = (
    "torch.",
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "builtins.complex",
    "_codecs.encode",
)
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_LARGEST = 1 << 28


class Named:
    """Something that a pickle names: a class or a function."""

    def __init__(self, name: str) -> None:
        self.name = name


class Made:
    """What a pickle would make by calling something.

    Args:
        name: what it would call.
        args: what with.
    """

    def __init__(self, name: str, args: Any) -> None:
        self.name = name
        self.args = args
        self.state: Any = None
        self.items: list[Any] = []


class Stored:
    """A reference to numbers elsewhere in the file: a storage of torch.

    Args:
        identity: what the pickle says of it.
    """

    def __init__(self, identity: Any) -> None:
        self.identity = identity


class _Mark:
    """The place on the stack from which items are collected."""


def read_as_data(file: IO[bytes], path: Any) -> Any:
    """Read what ``torch.save`` wrote, tensors as notes of their shapes, without running anything.

    Args:
        file: open for reading, and able to seek.
        path: what it is called, for the message.

    Returns:
        Dicts, lists and plain values; `Made` for whatever else the file would make.

    Raises:
        CheckpointError: it is broken, or no checkpoint.
    """
    try:
        return _run(file, set())
    except Exception as error:  # whatever a broken pickle makes the reader stumble over
        raise CheckpointError(f"{path} is no checkpoint, or a broken one: {error or type(error).__name__}") from error


def foreign_names(file: IO[bytes]) -> list[str]:
    """List what a file names that is neither torch's nor on our short list; nothing where that cannot be told."""
    allowed = {item[1] if isinstance(item, tuple) else f"{item.__module__}.{item.__qualname__}" for item in ALLOWED}
    names: set[str] = set()
    with contextlib.suppress(Exception):  # what has been found until then is told
        _run(file, names)
    return sorted(name for name in names if name not in allowed and not name.startswith(_OWN))


def _run(file: IO[bytes], names: set[str]) -> Any:
    """Read the pickles of a file, one after the other, and give what was saved."""
    file.seek(0)
    if has_archive(file):
        with zipfile.ZipFile(file) as archive:
            name = next(part for part in archive.namelist() if part.endswith("/data.pkl"))
            part = archive.getinfo(name)
            if part.file_size > _LARGEST or part.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"its part {name!r} is larger than any list of tensors, or compressed")
            return _Machine(names).run(io.BytesIO(archive.read(name)))
    if _Machine(names).run(file) != MAGIC_NUMBER:
        raise CheckpointError("it does not begin as a checkpoint does")
    for _ in range(2):  # the protocol, the system it was made on
        _Machine(names).run(file)
    return _Machine(names).run(file)


class _Machine:
    """Follows the operations of one pickle on a stack of its own.

    Args:
        names: takes what the pickle names.
    """

    def __init__(self, names: set[str]) -> None:
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}
        self.names = names

    def run(self, file: IO[bytes]) -> Any:
        for operation, argument, _ in pickletools.genops(file):
            step = getattr(self, "_" + operation.name.lower(), None)
            if step is not None:
                step(argument)
            elif operation.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[operation.name])
            elif operation.name in _VALUES:
                self.stack.append(argument)
            elif operation.name not in ("PROTO", "FRAME"):
                raise CheckpointError(f"it has a pickle with {operation.name}, which torch.save does not write")
        return self.stack[-1]

    def _since_mark(self) -> list[Any]:
        at = max(place for place, item in enumerate(self.stack) if item is _Mark)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _stop(self, _: Any) -> None:
        """Leave the result on the stack."""

    def _mark(self, _: Any) -> None:
        self.stack.append(_Mark)

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    # names and what is made ---------------------------------------------------------------------------------

    def _name(self, module: str, name: str) -> Named:
        found = f"{_OLD_NAMES.get(module, module)}.{name}"
        self.names.add(found)
        return Named(found)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self._name(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._name(str(module), str(name)))

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        args = self._since_mark()
        self.stack.append(_made(self._name(module, name), args))

    def _obj(self, _: Any) -> None:
        called, *args = self._since_mark()
        self.stack.append(_made(called, args))

    def _reduce(self, _: Any) -> None:
        args, called = self.stack.pop(), self.stack.pop()
        self.stack.append(_made(called, args))

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        keywords, args, called = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(_made(called, [args, keywords]))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def _persid(self, argument: Any) -> None:
        self.stack.append(Stored(argument))

    def _binpersid(self, _: Any) -> None:
        self.stack.append(Stored(self.stack.pop()))

    # containers ---------------------------------------------------------------------------------------------

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_set(self, _: Any) -> None:
        self.stack.append([])

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _tuple1(self, _: Any) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def _tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._put_all(items)

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    _additems = _appends

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, Made) else target).extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put_all([key, value])

    def _setitems(self, _: Any) -> None:
        self._put_all(self._since_mark())

    def _put_all(self, items: list[Any]) -> None:
        target = self.stack[-1]
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if isinstance(target, Made):
            target.items.extend(pairs)
        else:
            target.update((key if isinstance(key, _KEYS) else _Key(), value) for key, value in pairs)

    # the memo -----------------------------------------------------------------------------------------------

    def _put(self, argument: Any) -> None:
        self.memo[int(argument)] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    _binget = _long_binget = _get


class _Key:
    """Stands for a key that is neither a text nor a number: hashing what a file nests may end the process."""


_KEYS = (str, int, float, bool, bytes, type(None))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
#: Operations that put their argument on the stack.
_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    )
)


def _made(called: Any, args: Any) -> Any:
    name = called.name if isinstance(called, Named) else "?"
    if name in _DICTS:
        first = args[0] if isinstance(args, tuple) and args else []
        pairs = list(first.items()) if isinstance(first, dict) else first if isinstance(first, list) else []
        return {
            pair[0]: pair[1]
            for pair in pairs
            if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], _KEYS)
        }
    return Made(name, args)
