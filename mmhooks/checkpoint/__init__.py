"""Checkpoint files: what they hold, how they are written so that they survive, how they are read safely."""

from mmhooks.checkpoint.content import get_state_dict, model_state, plain, weights_to_cpu
from mmhooks.checkpoint.durable import atomic_write
from mmhooks.checkpoint.loader import CheckpointLoader, load_checkpoint_with_prefix
from mmhooks.checkpoint.optimizers import check_optimizer_state, optimizer_state
from mmhooks.checkpoint.read import read_file, verify_file
from mmhooks.checkpoint.storage import (
    check_writable,
    exists,
    is_remote,
    join,
    open_to_read,
    remove,
    storage_options_of,
    upload,
)
from mmhooks.checkpoint.weights import load_checkpoint, load_state_dict, read_checkpoint, revised
from mmhooks.checkpoint.write import (
    place_for,
    point_latest_at,
    save_checkpoint,
    telling_failures,
    write_checkpoint,
    write_weights,
)

__all__ = [
    "CheckpointLoader",
    "atomic_write",
    "check_optimizer_state",
    "check_writable",
    "exists",
    "get_state_dict",
    "is_remote",
    "join",
    "load_checkpoint",
    "load_checkpoint_with_prefix",
    "load_state_dict",
    "model_state",
    "open_to_read",
    "optimizer_state",
    "place_for",
    "plain",
    "point_latest_at",
    "read_checkpoint",
    "read_file",
    "remove",
    "revised",
    "save_checkpoint",
    "storage_options_of",
    "telling_failures",
    "upload",
    "verify_file",
    "weights_to_cpu",
    "write_checkpoint",
    "write_weights",
]
