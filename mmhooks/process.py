"""What a config says of the process itself: how cuDNN chooses kernels, workers start, and OpenCV uses threads."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import sys

import torch

from mmhooks.checks import check_count, check_flag
from mmhooks.config.source import Source
from mmhooks.errors import ConfigError, nearest
from mmhooks.recipes import Recipe


def prepare_process(source: Source, recipe: Recipe) -> None:
    """Set ``cudnn_benchmark``, ``mp_start_method`` and ``opencv_num_threads``.

    A code base sets the latter two without the config saying so: workers are forked, and OpenCV uses no threads of its
    own, since every worker would start as many as there are cores.

    Args:
        source: the config.
        recipe: how its code base consumes it.

    Raises:
        ConfigError: a value that cannot be.
    """
    values = source.values
    if check_flag(source.name, "cudnn_benchmark", values.get("cudnn_benchmark", False)):
        torch.backends.cudnn.benchmark = True
    is_codebase = recipe.builders is not None
    method = values.get("mp_start_method", "fork" if is_codebase and sys.platform != "win32" else None)
    if method is not None and method != multiprocessing.get_start_method(allow_none=True):
        known = multiprocessing.get_all_start_methods()
        if method not in known:
            near = nearest(str(method), known)
            raise ConfigError(f"{source.name}: mp_start_method={method!r} is none of {', '.join(known)}{near}")
        multiprocessing.set_start_method(method, force=True)
    threads = values.get("opencv_num_threads", 0 if is_codebase else None)
    if threads is not None and importlib.util.find_spec("cv2") is not None:
        importlib.import_module("cv2").setNumThreads(check_count(source.name, "opencv_num_threads", threads, minimum=0))
