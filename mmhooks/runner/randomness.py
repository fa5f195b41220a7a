"""Random generators: where they are, and back to there."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

Snapshot = dict[str, Any]


def random_state() -> dict[str, Any]:
    """Tell where the generators of this process are: Python's, NumPy's, PyTorch's on the CPU and on every GPU.

    Returns:
        Plain values and tensors, so that a file with it can be read with ``weights_only=True``.
    """
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _cuda_in_use() else [],
    }
    found: Any = np.random.get_state(legacy=False)
    if found["bit_generator"] == "MT19937":  # unless somebody has put another one in its place
        state["numpy"] = {
            "words": torch.from_numpy(found["state"]["key"].astype(np.int64)),
            "place": int(found["state"]["pos"]),
            "has_gauss": int(found["has_gauss"]),
            "gauss": float(found["gauss"]),
        }
    return state


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def set_random_state(state: Mapping[str, Any]) -> None:
    """Bring the generators to where `random_state` found them; those of GPUs that are not here are left out."""
    random.setstate(_python(state))
    if "numpy" in state:
        np.random.set_state(_numpy(state))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available():
        for device, one in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(one.cpu(), device)


def check_random_state(state: Any) -> None:
    """See that a state can be set, on generators of nobody.

    Raises:
        Exception: whatever it is that they say of it.
    """
    random.Random().setstate(_python(state))
    if "numpy" in state:
        np.random.RandomState().set_state(_numpy(state))
    torch.Generator().set_state(state["torch"].cpu())
    if not all(isinstance(one, torch.Tensor) for one in state["cuda"]):
        raise TypeError("the state of a GPU's generator must be a tensor")


def _python(state: Mapping[str, Any]) -> tuple[int, tuple[int, ...], float | None]:
    own = state["python"]
    return own["version"], tuple(own["words"].tolist()), own["gauss"]


def _numpy(state: Mapping[str, Any]) -> tuple[Any, ...]:
    own = state["numpy"]
    return "MT19937", own["words"].cpu().numpy().astype(np.uint32), own["place"], own["has_gauss"], own["gauss"]


def generators_of(loader: Any) -> list[torch.Generator]:
    """List the random generators that belong to a loader and its samplers."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    holders = [loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    found: dict[int, torch.Generator] = {}
    for holder in holders:
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            found.setdefault(id(generator), generator)
    return list(found.values())


def states_of(loader: Any) -> list[torch.Tensor]:
    """Tell where the generators of a loader are."""
    return [generator.get_state() for generator in generators_of(loader)]


def set_states_of(loader: Any, states: Iterable[torch.Tensor]) -> None:
    """Bring the generators of a loader to where `states_of` found them."""
    for generator, state in zip(generators_of(loader), states, strict=False):
        generator.set_state(state.cpu())


def snapshot(loaders: Sequence[Any]) -> Snapshot:
    """Tell where the generators of this process and those of some loaders are."""
    return {"random": random_state(), "generators": [states_of(loader) for loader in loaders]}


def restore(taken: Mapping[str, Any], loaders: Sequence[Any]) -> None:
    """Bring them to where `snapshot` found them."""
    for loader, states in zip(loaders, taken["generators"], strict=False):
        set_states_of(loader, states)
    set_random_state(taken["random"])
