"""Checkpoint files: what they hold, how they are written so that they survive, how they are read safely."""

from mmhooks.checkpoint.content import model_state, plain
from mmhooks.checkpoint.read import load_state_dict, read_checkpoint
from mmhooks.checkpoint.write import atomic_write, commit, point_latest_at, telling_failures, write_checkpoint

__all__ = [
    "atomic_write",
    "commit",
    "load_state_dict",
    "model_state",
    "plain",
    "point_latest_at",
    "read_checkpoint",
    "telling_failures",
    "write_checkpoint",
]
