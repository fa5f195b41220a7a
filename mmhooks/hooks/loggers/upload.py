"""Log files, copied to another place when a run is over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmhooks.checkpoint import is_remote, join, place_for, telling_failures, upload
from mmhooks.checkpoint.storage import StorageOptions, local_path
from mmhooks.errors import CheckpointError, ConfigError
from mmhooks.runner.base import BaseRunner


def check_suffixes(owner: str, value: Any) -> tuple[str, ...]:
    """Check that an argument is one ending of file names, or several.

    Args:
        owner: whose ``out_suffix`` it is.
        value: a str, or a tuple or list of them.

    Raises:
        ConfigError: it is something else, or an empty ending, which every file has.
    """
    endings = (value,) if isinstance(value, str) else value
    if isinstance(endings, (tuple, list)) and endings and all(isinstance(one, str) and one for one in endings):
        return tuple(endings)
    raise ConfigError(
        f"{owner}'s out_suffix must be endings of file names such as ('.log.json', '.log'), not {value!r}"
    )


def upload_logs(
    runner: BaseRunner, folder: str, suffixes: Sequence[str], keep_local: bool, storage_options: StorageOptions = None
) -> None:
    """Copy the work_dir's files with some endings to a folder, and say in the log what became of each.

    A file appears there whole or not at all. One that cannot be copied stays where it is, whatever ``keep_local`` says.

    Args:
        runner: whose work_dir, and whose log.
        folder: where they go, local or in a store that fsspec reaches.
        suffixes: the endings. Hidden files are left out, as in MMCV.
        keep_local: otherwise a file is removed from the work_dir when it is safely there.
        storage_options: arguments of the store.
    """
    assert runner.work_dir is not None
    source = Path(runner.work_dir)
    left: list[str] = []
    for file in list(_found(source, folder, tuple(suffixes))):
        name = file.relative_to(source).as_posix()
        try:
            _copy(file, join(folder, name), storage_options)
        except (CheckpointError, ConfigError) as error:
            left.append(name)
            runner.logger.warning("%s is not copied: %s", file, error)
            continue
        runner.logger.info("%s has been copied to %s", file, join(folder, name))
        if not keep_local:
            _remove(runner, file)
    if left:
        runner.logger.warning("%s: %d log files are not there; they stay in %s: %s", folder, len(left), source, left)


def _found(source: Path, folder: str, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """List the files to be copied; the place where they go may be the work_dir itself, or in it."""
    target = None if is_remote(folder) else local_path(folder).resolve()
    if target == source.resolve():
        return
    for file in sorted(source.rglob("*")):
        if file.name.startswith(".") or not file.name.endswith(suffixes) or not file.is_file():
            continue
        if target is None or not file.resolve().is_relative_to(target):
            yield file


def _copy(file: Path, target: str, storage_options: StorageOptions) -> None:
    with telling_failures(target):  # where the file itself cannot be read, too
        if is_remote(target):
            upload(file, target, storage_options)
            return
        with place_for(target) as (temporary, finish):
            shutil.copyfile(file, temporary)
            finish()


def _remove(runner: BaseRunner, file: Path) -> None:
    try:
        file.unlink()
    except OSError as error:
        runner.logger.warning("%s has been copied, but stays: %s", file, error)
    else:
        runner.logger.info("%s has been removed, since keep_local=False", file)
