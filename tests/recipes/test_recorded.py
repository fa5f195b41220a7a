"""Plans against what the code bases' own tools/train.py was seen to register, with and without options."""

from __future__ import annotations

import shlex

import planned
import pytest
from runtime_configs import CONFIGS

from mmhooks.config import Config, parse_option

PACKAGES = {"mmcls": "mmcls", "mmdet": "mmdet", "mmpose": "mmpose", "mmseg": "mmsegmentation"}


def cases() -> list[tuple[str, str]]:
    """Give what is of the config, and makes a run: some options are errors in the code base itself."""
    return [
        (name, options)
        for name, package in PACKAGES.items()
        for options, recorded in planned.recorded_options(package).items()
        if _is_of_the_config(options) and not all(isinstance(one, str) for one in recorded)
    ]


def _is_of_the_config(options: str) -> bool:
    """Leave out those of the command line, which a config knows nothing of."""
    words = shlex.split(options)[1:]
    return not words or words[0] == "--cfg-options"


def test_there_are_cases() -> None:
    assert len(cases()) > 90


@pytest.mark.parametrize(("name", "options"), cases())
def test_a_plan_is_what_the_code_base_registers(name: str, options: str) -> None:
    cfg = Config(CONFIGS[name])
    cfg.merge_from_dict(dict(parse_option(word) for word in shlex.split(options)[2:]))
    recorded = planned.recorded_options(PACKAGES[name])[options]
    assert planned.differences(PACKAGES[name], cfg, recorded) == []
