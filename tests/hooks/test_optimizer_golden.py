"""The optimizer hooks, in fp16 among them, against what MMCV 1.7.2 did; see tests/oracle/mixed.py."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

import mmhooks

TESTS = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, TESTS / "oracle" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mixed = load("mixed")
GOLDEN = json.loads((TESTS / "golden" / "mixed.json").read_text(encoding="utf-8"))
MADE_WITH = GOLDEN.pop("made with")
SAME_KERNELS = (MADE_WITH["torch"], MADE_WITH["kernels"], GOLDEN.pop("fp16 kernels")) == (
    torch.__version__.partition("+")[0],
    load("kernels").fingerprint(),
    mixed.fingerprint(),
)


def test_the_record_has_every_plan():
    assert list(GOLDEN) == list(mixed.PLANS)
    assert any(state["scale"] == 8192.0 for state in GOLDEN["dynamic"]["EpochBasedRunner"]["scalers"])


@pytest.mark.parametrize("name", mixed.PLANS)
def test_plan(name, tmp_path):
    for kind, ours in mixed.play(mmhooks, name, tmp_path).items():
        theirs = GOLDEN[name][kind]
        assert ours["scalers"] == theirs["scalers"]
        assert len(ours["norms"]) == len(theirs["norms"])
        if SAME_KERNELS:
            assert ours["weights"] == theirs["weights"]
            assert ours["norms"] == theirs["norms"]
        else:  # a unit of fp16 is 1e-3
            assert ours["sums"] == pytest.approx(theirs["sums"], rel=1e-2, abs=1e-2, nan_ok=True)
