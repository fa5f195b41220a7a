"""Lines of the local log: one JSON object each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from mmhooks.checkpoint import plain


def json_line(line: Mapping[str, Any]) -> str:
    """Write values as they are in a ``.log.json``: plain, and floats rounded to 5 digits."""
    return json.dumps({key: round(v, 5) if type(v) is float else _json_value(v) for key, v in line.items()})


def _json_value(value: Any) -> Any:
    return value if type(value) in (int, str) else _rounded(plain(value))


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, torch.Tensor):
        return _rounded(value.tolist())
    return round(value, 5) if isinstance(value, float) else value
