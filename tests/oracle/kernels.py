"""Which bits this machine's kernels give: CPUs of one capability, but of two makers, differ."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def fingerprint() -> str:
    """Hash the weights after a short training in plain PyTorch, on one thread.

    Where two machines agree, a recorded run can be demanded bit for bit; elsewhere the sums have another order.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
            for size in (6, 6, 6, 2, 5) * 4:
                x, y = torch.randn(size, 6), torch.randint(3, (size,))
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
    finally:
        torch.set_num_threads(threads)
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
