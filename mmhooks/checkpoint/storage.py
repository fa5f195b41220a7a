"""Where files live: local folders, and every store that fsspec reaches."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import fsspec

from mmhooks.errors import CheckpointError, ConfigError, nearest

StorageOptions = Mapping[str, Any] | None

_PROTOCOL = re.compile(r"^((?:[\w.+-]+::)*[\w.+-]{2,})://")  # two letters at least: C:\ is a drive
_LOCAL = ("file", "local")
#: Stores where an upload shows its object when it is complete; elsewhere it is uploaded under another name first.
_OBJECT_STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "ocilake", "oss", "tos", "obs", "hf", "memory")
)
#: MMCV's backends that only read.
_READ_ONLY = ("http", "https", "memcached", "lmdb")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path names a store other than the local file system, as ``s3://bucket/name`` does."""
    return _protocol(path) not in (None, *_LOCAL)


def local_path(path: str | os.PathLike[str]) -> Path:
    """Give the path of a local file, written plainly, as ``file://...`` or with a leading ``~``."""
    text = os.fspath(path)
    match = _PROTOCOL.match(text)
    return Path(text[match.end() :] if match else text).expanduser()


def join(folder: str, name: str) -> str:
    """Give the path of a file in a folder, local or not."""
    if _protocol(folder) is None:
        return str(Path(folder) / name)
    return f"{folder.rstrip('/')}/{name}"


def split(path: str) -> tuple[str, str]:
    """Give the folder and the name of a file, local or not."""
    if _protocol(path) is None:
        return str(Path(path).parent), Path(path).name
    folder, _, name = path.rpartition("/")
    return folder, name


def real_path(path: str | os.PathLike[str]) -> str:
    """Give the path of a file by which it is known: a local one without links."""
    return os.fspath(path) if is_remote(path) else str(local_path(path).resolve())


def exists(path: str, storage_options: StorageOptions = None) -> bool:
    """Tell whether there is a file.

    Args:
        path: local, or with a protocol of fsspec.
        storage_options: arguments of the store, see ``fsspec.filesystem``.
    """
    check_storage_options(storage_options)
    if not is_remote(path):
        return local_path(path).is_file()
    store, name = _store(path, storage_options)
    with _telling("looked for", path):
        return bool(store.isfile(name))


def remove(path: str, storage_options: StorageOptions = None) -> None:
    """Delete a file; a missing one is fine.

    Args:
        path: local, or with a protocol of fsspec.
        storage_options: arguments of the store.

    Raises:
        CheckpointError: the store refuses.
        OSError: the local file system does.
    """
    check_storage_options(storage_options)
    if not is_remote(path):
        local_path(path).unlink(missing_ok=True)
        return
    store, name = _store(path, storage_options)
    with _telling("deleted", path), contextlib.suppress(FileNotFoundError):
        store.rm_file(name)


@contextlib.contextmanager
def open_to_read(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> Iterator[IO[bytes]]:
    """Open a file for reading; one in a remote store is fetched first.

    Args:
        path: local, or with a protocol of fsspec.
        storage_options: arguments of the store.

    Yields:
        A binary file that can seek.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the store cannot be read.
        ConfigError: fsspec does not know the protocol, or lacks the package that speaks it.
    """
    check_storage_options(storage_options)
    if not is_remote(path):
        with local_path(path).open("rb") as file:
            yield file
        return
    store, name = _store(os.fspath(path), storage_options)
    with tempfile.TemporaryFile() as copy:
        with _telling("read", path, but=(FileNotFoundError,)), store.open(name, "rb") as source:
            shutil.copyfileobj(source, copy, 1 << 22)
        copy.seek(0)
        yield copy


def upload(file: str | os.PathLike[str], path: str, storage_options: StorageOptions = None) -> None:
    """Copy a finished local file to a remote store, where it appears whole or not at all.

    Args:
        file: the local file.
        path: its new place, with a protocol; a file of that name is replaced.
        storage_options: arguments of the store.

    Raises:
        CheckpointError: the store refuses, or holds less than was sent. A file of that name is as before.
    """
    check_storage_options(storage_options)
    store, name = _store(path, storage_options)
    with _telling("written", path, "; what was there before is untouched"):
        if (_protocol(path) or "").rpartition("::")[2] in _OBJECT_STORES:
            store.put_file(os.fspath(file), name)
        else:
            _put_and_move(store, os.fspath(file), name)
        sent, there = Path(file).stat().st_size, store.size(name)
    if there is not None and there != sent:
        raise CheckpointError(f"{path} holds {there} bytes where {sent} were sent: the store did not keep the file")


def check_writable(folder: str, storage_options: StorageOptions = None, *, argument: str = "out_dir") -> None:
    """See that checkpoints can go to a folder, before a run that would end at its first save.

    A local folder is made, as a save makes it, and a file is opened in it that leaves nothing behind. Of a store the
    client alone is made, as a save makes it: nothing is written there, so a store that refuses is told by the save.

    Args:
        folder: local, or with a protocol of fsspec.
        storage_options: arguments of the store.
        argument: what names the folder, for the message.

    Raises:
        ConfigError: fsspec does not know the protocol, lacks the package that speaks it, or cannot make the client;
            the store can only be read; a local folder cannot be made, or no file in it.

    Example:
        >>> check_writable("s3://bucket/runs", argument="CheckpointHook's out_dir")
    """
    check_storage_options(storage_options)
    if is_remote(folder):
        if (_protocol(folder) or "").rpartition("::")[2] in _READ_ONLY:
            raise ConfigError(
                f"{argument}: {folder} can be read but not written; name a local folder, or a store such as "
                "'s3://bucket/folder'"
            )
        try:
            _store(folder, storage_options)
        except ConfigError as error:
            raise ConfigError(f"{argument}: {error}") from error
        except Exception as error:  # each client has errors of its own
            raise ConfigError(f"{argument}: {folder} cannot be reached ({type(error).__name__}: {error})") from error
        return
    place = local_path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except (OSError, ValueError) as error:  # a ValueError: a name with a null byte
        raise ConfigError(
            f"{argument}: nothing can be written to {folder} ({type(error).__name__}: {error}); name a folder "
            "that can be made and written to"
        ) from error


def check_storage_options(storage_options: Any) -> None:
    """Refuse arguments of a store that are no dict, also where a local file does without them.

    Raises:
        ConfigError: they are something else.
    """
    if storage_options is None:
        return
    if not isinstance(storage_options, Mapping) or not all(isinstance(key, str) for key in storage_options):
        raise ConfigError(
            "storage_options must be a dict of the store's arguments, such as dict(endpoint_url='https://...'), or "
            f"None, not {storage_options!r}"
        )


def storage_options_of(file_client_args: Mapping[str, Any] | None) -> dict[str, Any]:
    """Translate MMCV's ``file_client_args`` into the arguments of a store of fsspec.

    Args:
        file_client_args: ``dict(backend=...)`` or ``dict(prefix=...)`` with the arguments of the store:
            ``"disk"``, ``"petrel"`` (read and written as ``s3``), or a protocol of fsspec.

    Raises:
        ConfigError: a backend that cannot write, that nobody knows, or an argument without an equal.

    Returns:
        The arguments, for ``storage_options`` here and in ``fsspec.filesystem``.

    Example:
        >>> storage_options_of(dict(backend="petrel", endpoint_url="https://store.example.org"))
        {'endpoint_url': 'https://store.example.org'}
    """
    if file_client_args is None:
        return {}
    _backend(file_client_args)
    _mapping(file_client_args)
    if "conf_path" in file_client_args:
        raise ConfigError(
            f"file_client_args: conf_path={file_client_args['conf_path']!r} is a file of the petrel client; write what "
            "it says as arguments of s3fs instead: endpoint_url='https://...', key='...', secret='...', or leave the "
            "credentials to the environment"
        )
    # enable_mc was a cache in front of the petrel client: without it the same bytes are read
    ours = ("backend", "prefix", "path_mapping", "enable_mc")
    return {key: value for key, value in file_client_args.items() if key not in ours}


def located(path: str, file_client_args: Mapping[str, Any] | None) -> str:
    """Give the path that ``file_client_args`` makes of one: mapped by its ``path_mapping``, in its backend's store.

    Args:
        path: as the user wrote it.
        file_client_args: see `storage_options_of`.

    Raises:
        ConfigError: the path names another store than the backend, or arguments that `storage_options_of` refuses.
    """
    file_client_args = {} if file_client_args is None else file_client_args
    backend = _backend(file_client_args)
    for old, new in _mapping(file_client_args).items():
        path = path.replace(old, new, 1)
    refuse_cluster(path)
    if backend is None:
        return path
    said = _protocol(path)
    if said is None and backend not in _LOCAL:
        raise ConfigError(
            f"file_client_args=dict(backend={backend!r}, ...) and the folder {path!r} do not go together: write the "
            f"folder as '{backend}://...', or map its beginning with path_mapping={{{path!r}: '{backend}://...'}}"
        )
    if said is not None and _canonical(said) != _canonical(backend):
        raise ConfigError(
            f"file_client_args names the backend {backend!r} and {path!r} the store {said!r}: leave one of them out"
        )
    return path


def refuse_cluster(path: str) -> None:
    """Refuse ``cluster:s3://bucket/name``, which only MMCV's petrel client understands."""
    if re.match(r"[\w.-]+:s3://", path):
        cluster, _, rest = path.partition(":")
        raise ConfigError(
            f"{path!r} names a cluster of the petrel client; write {rest!r} and say where {cluster!r} is: "
            "file_client_args=dict(backend='s3', endpoint_url='https://...'), or AWS_ENDPOINT_URL in the environment"
        )


def _protocol(path: str | os.PathLike[str]) -> str | None:
    match = _PROTOCOL.match(os.fspath(path))
    return match[1] if match else None


def _canonical(protocol: str) -> str:
    names = {"local": "file", "gcs": "gs", "s3a": "s3", "abfss": "abfs"}
    return names.get(protocol, protocol)


def _mapping(file_client_args: Mapping[str, Any]) -> Mapping[str, str]:
    mapping = file_client_args.get("path_mapping")
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping) or not all(isinstance(part, str) for pair in mapping.items() for part in pair):
        raise ConfigError(
            f"file_client_args: path_mapping={mapping!r} must be a dict of old and new beginnings, such as "
            "{'work_dirs': 's3://bucket/runs'}"
        )
    return mapping


def _backend(file_client_args: Mapping[str, Any]) -> str | None:
    if not isinstance(file_client_args, Mapping) or not all(isinstance(key, str) for key in file_client_args):
        raise ConfigError(f"file_client_args={file_client_args!r} must be a dict such as dict(backend='disk'), or None")
    name = file_client_args.get("backend", file_client_args.get("prefix"))
    if name is None:
        if file_client_args.keys() - {"path_mapping", "backend", "prefix"}:
            raise ConfigError(
                f"file_client_args={dict(file_client_args)!r} names no backend; begin with backend='disk', 's3', ..."
            )
        return None
    if not isinstance(name, str):
        raise ConfigError(f"file_client_args: the backend must be a name such as 'disk' or 's3', not {name!r}")
    if name in _READ_ONLY:
        raise ConfigError(
            f"file_client_args: backend={name!r} can be read but not written; write backend='disk' and a local "
            "out_dir, or a store such as out_dir='s3://bucket/folder'"
        )
    name = {"disk": "file", "petrel": "s3", "ceph": "s3"}.get(name, name)
    known = known_protocols()
    if name not in known:
        raise ConfigError(
            f"file_client_args: nobody knows backend={name!r}; allowed are 'disk', 'petrel' and the protocols of "
            f"fsspec, such as 's3', 'gs' and 'memory'{nearest(name, [*known, 'disk', 'petrel'])}"
        )
    return name


def known_protocols() -> set[str]:
    """Give the names of the stores that fsspec reaches, their packages installed or not."""
    return {*fsspec.available_protocols(), *fsspec.registry}


def _store(path: str, storage_options: StorageOptions) -> tuple[Any, str]:
    """Give fsspec's file system for a path, and the path's name there."""
    try:
        store, name = fsspec.core.url_to_fs(path, **(storage_options or {}))
    except ImportError as error:
        protocol = (_protocol(path) or "").rpartition("::")[2]
        package = _PACKAGES.get(protocol)
        hint = f"pip install {package}" if package else str(error)
        raise ConfigError(f"{path}: the package that speaks {protocol!r} is not installed: {hint}") from error
    except (ValueError, TypeError) as error:
        unknown = re.search(r"Protocol not known: (\S+)", str(error))
        allowed = "; allowed are those of fsspec, such as 's3', 'gs' and 'memory'"
        hint = (nearest(unknown[1], known_protocols()) or allowed) if unknown else ""
        raise ConfigError(f"{path}: {error}{hint}") from error
    return store, str(name)


_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
}


def _put_and_move(store: Any, file: str, name: str) -> None:
    folder, _, last = name.rpartition("/")
    temporary = f"{folder}/.{last}.{os.getpid()}.tmp"
    store.makedirs(folder, exist_ok=True)
    try:
        store.put_file(file, temporary)
        store.mv(temporary, name)
    except BaseException:
        with contextlib.suppress(Exception):
            store.rm_file(temporary)
        raise


@contextlib.contextmanager
def _telling(
    done: str, path: str | os.PathLike[str], left: str = "", but: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Name the path in whatever a store raises: each client has errors of its own."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{os.fspath(path)} could not be {done} ({cause}){left}") from error
