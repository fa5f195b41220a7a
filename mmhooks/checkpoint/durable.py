"""One way for every file on a local disk to appear: beside its name, flushed, then renamed, then its folder flushed."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_numbers = itertools.count()
_in_flight: set[str] = set()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a local file for writing that appears under its name only when it is complete and on the disk.

    Args:
        path: the final name. Its folder is made when missing; a file of that name is replaced at the end.

    Yields:
        A binary file in the same folder. When the block raises, it is removed and ``path`` is as before.
    """
    target = Path(path)
    with temporary_beside(target) as temporary:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, target)


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Give a name in the folder of a file that says who writes there, and remove in the end what is left under it.

    What writers on this machine have left there that are dead is removed first.

    Args:
        target: the final name. Its folder is made when missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(target.parent)
    temporary = target.with_name(f".{target.name}.{_machine()}.{os.getpid()}-{next(_numbers)}.tmp")
    _in_flight.add(temporary.name)
    try:
        yield temporary
    finally:
        _in_flight.discard(temporary.name)
        with contextlib.suppress(
            OSError
        ):  # the folder is gone, or may not be written to any more: that is told already
            temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, target: Path) -> None:
    """Make a file that is on the disk the one of a name, which is on the disk too afterwards."""
    temporary.replace(target)
    sync_folder(target.parent)


def flush(file: Path) -> None:
    """Bring what somebody else wrote to the disk."""
    with file.open("r+b") as opened:  # Windows flushes only what is open for writing
        os.fsync(opened.fileno())


def remove_stale(folder: Path) -> None:
    """Remove the temporary files of writers on this machine that are dead; those of others may still be written.

    Args:
        folder: where they are.
    """
    if os.name == "nt":  # there, asking for a process by its number would end it
        return
    ours = re.compile(rf"\..+\.{re.escape(_machine())}\.(\d+)-\d+\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208  (names are all that is needed)
            writer = ours.fullmatch(name)
            if writer is not None and name not in _in_flight and not _writes(int(writer[1])):
                (folder / name).unlink(missing_ok=True)


def point_latest_at(path: Path, folder: Path) -> None:
    """Make ``latest.pth`` in a folder stand for a file: a link, or a copy where there are no links."""
    with temporary_beside(folder / "latest.pth") as temporary:
        try:
            temporary.symlink_to(path.relative_to(folder))
        except (OSError, NotImplementedError):
            shutil.copyfile(path, temporary)
            flush(temporary)
        put_in_place(temporary, folder / "latest.pth")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _machine() -> str:
    """Name where process numbers mean what they mean here: containers may share the name of a host."""
    host = re.sub(r"[^\w-]", "-", socket.gethostname())
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except (OSError, NotImplementedError):
        return host
    return f"{host}-{re.sub(r'[^0-9]', '', space)}"


def _writes(process: int) -> bool:
    """Tell whether a process lives; this one knows what it writes itself."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
