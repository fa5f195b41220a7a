"""The zip archive of a checkpoint: every part is compared with its checksum before anything is made of it."""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from typing import IO

from mmhooks.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SIGNATURE = b"PK\x03\x04"
_UTF8 = 0x800
_ENCRYPTED = 0x1
_RESAVE = "read it with torch.load(..., weights_only=True) and save it again, if you know where it comes from"


def has_archive(file: IO[bytes]) -> bool:
    """Tell whether a file begins as a zip archive does, which is what ``torch.load`` goes by."""
    file.seek(0)
    start = file.read(len(_SIGNATURE))
    file.seek(0)
    return start == _SIGNATURE


def check_archive(file: IO[bytes], path: str | os.PathLike[str]) -> bool:
    """Compare every part of an archive with its checksum: torch does not look, and a flipped bit is a wrong weight.

    Nothing is inflated or extracted. An archive that ``torch.save`` would not write is refused: compressed or
    overlapping parts (which may be a few bytes in the file and any number in memory), two parts of one name, names
    that lead out of the archive.

    Args:
        file: a file on the disk, open for reading; its position afterwards is its beginning.
        path: what it is called, for the message.

    Returns:
        False when the archive was written without checksums (see ``torch.serialization.set_crc32_options``), so that
        nothing could be compared.

    Raises:
        CheckpointError: it is damaged, or not an archive of ``torch.save``.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is broken: {error}") from error
    _check_names(parts, path)
    recorded = any(part.CRC for part in parts)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        if hasattr(mapped, "madvise") and hasattr(mmap, "MADV_SEQUENTIAL"):
            mapped.madvise(mmap.MADV_SEQUENTIAL)
        with memoryview(mapped) as data:
            _check_parts(data, parts, path, recorded)
    file.seek(0)
    return recorded


def _check_names(parts: list[zipfile.ZipInfo], path: str | os.PathLike[str]) -> None:
    names = [part.orig_filename for part in parts]
    for name in names:
        if any(piece in ("", ".", "..") for piece in name.split("/")) or any(sign in name for sign in "\\:\0"):
            raise CheckpointError(
                f"{path} is no checkpoint: it has a part called {name!r}, which torch.save never does"
            )
    if len({name.partition("/")[0] for name in names}) > 1 or not all("/" in name for name in names):
        raise CheckpointError(f"{path} is no checkpoint: its parts are not all in one folder, as torch.save puts them")
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path} is no checkpoint: two of its parts have the same name")


def _check_parts(data: memoryview, parts: list[zipfile.ZipInfo], path: str | os.PathLike[str], recorded: bool) -> None:
    end = 0
    for part in sorted(parts, key=lambda part: part.header_offset):
        name = part.orig_filename
        if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & _ENCRYPTED:
            raise CheckpointError(
                f"{path}: its part {name!r} is compressed or encrypted ({part.file_size} bytes once it is inflated), "
                f"which torch.save never does; {_RESAVE}"
            )
        start = part.header_offset
        if start < end:
            raise CheckpointError(f"{path} is no checkpoint: its part {name!r} overlaps another one")
        body = _body_of(data, part)
        end = -1 if body is None else body + part.file_size
        if body is None or part.compress_size != part.file_size or end > len(data):
            raise _damaged(path, name)
        if recorded and zlib.crc32(data[body:end]) != part.CRC:
            raise _damaged(path, name)


def _body_of(data: memoryview, part: zipfile.ZipInfo) -> int | None:
    """Find where the bytes of a part begin; None where its own header does not agree with the list of parts."""
    start = part.header_offset
    if start + _LOCAL_HEADER.size > len(data):
        return None
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(data, start)
    start += _LOCAL_HEADER.size
    name = bytes(data[start : start + name_length])
    listed = part.orig_filename.encode("utf-8" if part.flag_bits & _UTF8 else "cp437", "replace")
    return start + name_length + extra_length if signature == _SIGNATURE and name == listed else None


def _damaged(path: str | os.PathLike[str], name: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: its part {name!r} is not what was written. Copy it again, or use an older one"
    )
