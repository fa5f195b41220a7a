"""Which loader reads a checkpoint: chosen by the beginning of its name."""

from __future__ import annotations

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from mmhooks.checkpoint.content import weights_of
from mmhooks.checkpoint.read import read_file
from mmhooks.checkpoint.storage import known_protocols, refuse_cluster
from mmhooks.checks import check_device, check_file, check_flag, check_logger
from mmhooks.errors import CheckpointError, ConfigError, RegistryError, nearest

Loader = Callable[..., Any]


class CheckpointLoader:
    """Finds the loader of a checkpoint by the prefix of its name. Use the class itself, as MMCV's code does.

    Local paths and the stores of fsspec (``s3://``, ``gs://``, ``memory://``, ...) are read. What MMCV would download
    ends in an error that says how to get the file, unless a loader is registered for it.
    """

    _schemes: ClassVar[dict[str, Loader]] = {}

    @classmethod
    def register_scheme(
        cls, prefixes: str | Sequence[str], loader: Loader | None = None, force: bool = False
    ) -> Callable[[Loader], Loader] | None:
        """Register a loader; without one, give a decorator that does.

        Args:
            prefixes: the beginning of the names that it reads, or several: regular expressions. Where more than
                one fits a name, the one that covers more of it is used, and among equals the latest.
            loader: ``loader(filename, map_location) -> content``.
            force: take the place of a loader with the very same prefix.

        Raises:
            RegistryError: a prefix is taken and ``force`` is not set. Nothing is registered then.
            ConfigError: a prefix that is none, or a loader that cannot be called.

        Example:
            >>> @CheckpointLoader.register_scheme("company://")
            ... def read_from_company(filename, map_location=None):
            ...     return torch.load(mount / filename.removeprefix("company://"), map_location, weights_only=True)
        """

        check_flag("register_scheme", "force", force)
        names = _checked(prefixes)

        def register(function: Loader) -> Loader:
            if not callable(function):
                raise ConfigError(
                    f"register_scheme's loader must be a function (filename, map_location) -> content, not {function!r}"
                )
            for prefix in names:
                if prefix in cls._schemes and not force:
                    raise RegistryError(
                        f"{prefix!r} has a loader already; register_scheme(..., force=True) replaces it"
                    )
            for prefix in names:
                cls._schemes.pop(prefix, None)
                cls._schemes[prefix] = function
            return function

        if loader is None:
            return register
        register(loader)
        return None

    @classmethod
    def load_checkpoint(
        cls,
        filename: str | os.PathLike[str],
        map_location: Any = None,
        logger: logging.Logger | None = None,
        weights_only: bool = True,
    ) -> Any:
        """Read a checkpoint.

        Args:
            filename: its path, or a name with a registered prefix.
            map_location: see ``torch.load``.
            logger: hears what is read.
            weights_only: False unpickles whatever the file holds, which runs code that it names. A registered
                loader decides for itself.

        Raises:
            CheckpointNotFound: there is no such file.
            CheckpointError: the file cannot be read.
            ConfigError: an argument that cannot be used, or a protocol that neither a registered loader nor fsspec
                knows.

        Returns:
            What the file holds.
        """
        name = check_file("load_checkpoint", "filename", filename)
        check_device("load_checkpoint", "map_location", map_location)
        check_logger("load_checkpoint", "logger", logger)
        check_flag("load_checkpoint", "weights_only", weights_only)
        loader = cls._loader(name)
        if logger is not None:
            logger.info("load checkpoint from %s", name)
        if loader is _read:
            return _read(name, map_location, weights_only=weights_only, logger=logger)
        return loader(name, map_location)

    @classmethod
    def _loader(cls, name: str) -> Loader:
        covered = -1
        found: Loader = _read
        for prefix, loader in cls._schemes.items():
            match = re.match(prefix, name)
            if match is not None and match.end() >= covered:
                covered, found = match.end(), loader
        return found


def _checked(prefixes: Any) -> list[str]:
    """Check the prefixes of a loader, all of them before one is registered."""
    names = [prefixes] if isinstance(prefixes, str) else prefixes
    if not isinstance(names, (list, tuple)) or not names:
        raise ConfigError(f"register_scheme's prefixes must be a str such as 'company://' or a list, not {prefixes!r}")
    for prefix in names:
        try:
            re.compile(prefix)
        except (TypeError, re.error) as error:
            raise ConfigError(
                f"register_scheme's prefixes must be regular expressions such as 'company://', not {prefix!r} ({error})"
            ) from None
        if prefix.isalnum():
            raise ConfigError(
                f"register_scheme's prefix {prefix!r} would take every file whose name begins with it: write "
                f"'{prefix}://' or '{prefix}:'"
            )
    return list(names)


def _read(name: str, map_location: Any = None, **reading: Any) -> Any:
    refuse_cluster(name)
    protocol = re.match(r"([\w.+-]{2,})://", name)
    if protocol is not None and protocol[1] not in known_protocols():
        hint = nearest(protocol[1], known_protocols()) or "."
        raise ConfigError(
            f"{name}: the protocol {protocol[1]!r} is not known to fsspec{hint} "
            f"A loader of your own reads it: CheckpointLoader.register_scheme('{protocol[0]}', loader)"
        )
    if "://" in name and re.search(r"::https?://", name):
        _refuse(name[name.index("http") :])
    return read_file(name, map_location, **reading)


_ELSEWHERE = {
    ("modelzoo://", "torchvision://"): (
        'is downloaded by torchvision. Get the file once, where there is a network: python -c "import torch, '
        "torchvision.models as m; torch.save(m.get_model('{model}', weights='{weights}').state_dict(), '{file}.pth')\""
    ),
    ("open-mmlab://", "openmmlab://"): (
        "is a name in OpenMMLab's model zoo. Look up its address in mmcv/model_zoo/open_mmlab.json and download it "
        "once with a browser"
    ),
    ("mmcls://",): (
        "is a name in MMClassification's model zoo. Download its file once with a browser (the addresses are in the "
        "model zoo of mmcls); its backbone is read by load_checkpoint_with_prefix('backbone', ...), or by "
        "revise_keys=[(r'^backbone\\.', '')]"
    ),
    ("http://", "https://"): "is on the web, and nothing is downloaded. Download it once with a browser or curl",
    ("pavi://",): "lives in the Pavi service, for which there is no client any more. Get the file from its owner",
}


def _refuse(name: str, map_location: Any = None) -> Any:
    prefix, advice = next((p, text) for ps, text in _ELSEWHERE.items() for p in ps if name.startswith(p))
    short = name.removeprefix(prefix).rpartition("/")[2] or "model"
    file = short.removesuffix(".pth")
    model, _, weights = short.lower().replace("_weights", "").partition(".")  # the spellings that MMCV takes
    advice = advice.format(model=model, weights=weights.upper() or "IMAGENET1K_V1", file=file)
    raise CheckpointError(
        f"{name} {advice}. Put it, say, at checkpoints/{file}.pth and write "
        f"'checkpoints/{file}.pth' in place of '{name}'; or register a loader: "
        f"CheckpointLoader.register_scheme({prefix!r}, loader, force=True)"
    )


CheckpointLoader.register_scheme(["", r"[\w.+-]{2,}://", r"\S+:s3://"], _read)
for _prefixes in _ELSEWHERE:
    CheckpointLoader.register_scheme(_prefixes, _refuse)


def load_checkpoint_with_prefix(prefix: str, filename: str | os.PathLike[str], map_location: Any = None) -> Any:
    """Read the weights of one part of a model.

    Args:
        prefix: the part's name in the file, such as ``"backbone"``.
        filename: see `CheckpointLoader.load_checkpoint`.
        map_location: see ``torch.load``.

    Raises:
        CheckpointError: the file has no such part, or cannot be read.
        ConfigError: an argument that cannot be used.

    Returns:
        The part's tensors by name, without the prefix.
    """
    if not isinstance(prefix, str):
        raise ConfigError(f"prefix must be the name of a part such as 'backbone', not {prefix!r}")
    state = weights_of(CheckpointLoader.load_checkpoint(filename, map_location), filename)
    beginning = prefix if prefix.endswith(".") else prefix + "."
    part = OrderedDict(
        (key.removeprefix(beginning), value) for key, value in state.items() if key.startswith(beginning)
    )
    if not part:
        parts = ", ".join(sorted({key.partition(".")[0] for key in state}))
        raise CheckpointError(
            f"{os.fspath(filename)} holds nothing under {beginning!r}; it has {parts or 'no weights'}"
        )
    return part
