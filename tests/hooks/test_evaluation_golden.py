"""EvalHook against what MMCV 1.7.2 did; see tests/oracle/evaluations.py."""

import importlib.util
import json
from pathlib import Path

import pytest

import mmhooks

TESTS = Path(__file__).parents[1]


def load():
    spec = importlib.util.spec_from_file_location("evaluations", TESTS / "oracle" / "evaluations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evaluations = load()
GOLDEN = json.loads((TESTS / "golden" / "evaluations.json").read_text(encoding="utf-8"))


def test_the_record_has_every_plan():
    assert [name for name in GOLDEN if name != "made with"] == list(evaluations.PLANS)


@pytest.mark.parametrize("name", evaluations.PLANS)
def test_plan(name, tmp_path):
    ours, theirs = evaluations.play(mmhooks, evaluations.PLANS[name], tmp_path), GOLDEN[name]
    assert list(ours) == list(theirs)
    for part in theirs:
        assert evaluations.same(ours[part], theirs[part]), f"{part}: {ours[part]} is not {theirs[part]}"


def test_a_changed_decision_is_seen(tmp_path):
    plan = {**evaluations.PLANS["the best"], "values": [{"acc": 0.1}]}
    assert not evaluations.same(evaluations.play(mmhooks, plan, tmp_path), GOLDEN["the best"])
