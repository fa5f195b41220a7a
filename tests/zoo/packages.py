"""The real configs: wheels from the package index, downloaded once, checked, and unpacked."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "zoo"
GOLDEN = ROOT / "tests" / "golden" / "zoo"
PACKAGES = Path(__file__).with_name("packages.txt")


@dataclass(frozen=True)
class Case:
    """One config file of a package."""

    package: str
    name: str
    file: Path


def wanted() -> dict[str, str]:
    """Give the name of each package and the checksum of its wheel."""
    lines = [line.split() for line in PACKAGES.read_text().splitlines() if not line.startswith("#")]
    return {name.partition("==")[0]: checksum.rpartition(":")[2] for name, checksum in lines}


def fetch() -> None:
    """Download and unpack what is not there yet; pip checks what it downloads, and this what was kept."""
    checksums = wanted()
    if not all(_kept(package, checksum) for package, checksum in checksums.items()):
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", str(CACHE), "--requirement", str(PACKAGES)]
        subprocess.run(command, check=True)
    for package, checksum in checksums.items():
        folder = CACHE / package
        done = folder / ".unpacked"
        if not done.is_file() or done.read_text() != checksum:
            shutil.rmtree(folder, ignore_errors=True)
            _unpack(wheel(package), folder)
            done.write_text(checksum)


def cases(packages: list[str] | None = None) -> list[Case]:
    """List the configs, sorted."""
    return [
        Case(package, file.relative_to(CACHE / package).as_posix(), file)
        for package in packages or sorted(wanted())
        for file in sorted((CACHE / package).rglob("*.py"))
    ]


def golden(package: str) -> dict[str, str]:
    """Give what MMCV made of each config: a digest, or `!` and the error."""
    lines = (GOLDEN / f"{package}.txt").read_text().splitlines()
    return dict(line.split(" ") for line in lines)


def wheel(package: str) -> Path | None:
    """Give the wheel of a package that has been downloaded."""
    return next(CACHE.glob(f"{package}-*.whl"), None)


def _kept(package: str, checksum: str) -> bool:
    kept = wheel(package)
    return kept is not None and hashlib.sha256(kept.read_bytes()).hexdigest() == checksum


def _unpack(wheel: Path | None, folder: Path) -> None:
    assert wheel is not None
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            _, found, inside = name.partition("/.mim/configs/")
            if found and inside.endswith(".py"):
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
