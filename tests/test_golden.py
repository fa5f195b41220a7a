"""mmhooks against what MMCV 1.7.2 did; see tests/oracle."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import mmhooks

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / "oracle" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> tuple[bool, dict[str, Any]]:
    """Give what was recorded, and whether this machine computes with the same kernels, so the same bits."""
    content = json.loads((HERE / "golden" / f"{name}.json").read_text(encoding="utf-8"))
    made_with = content.pop("made with")
    here = (torch.__version__.partition("+")[0], KERNELS)
    return here == (made_with["torch"], made_with["kernels"]), content


scenarios, rates, refusals = load("scenarios"), load("rates"), load("refusals")
OWN = load("own_updaters").own_updaters(mmhooks)
KERNELS = load("kernels").fingerprint()
TRACES, RATES, RUNS = read("traces"), read("rates"), read("runs")
HEX = re.compile(r"-?0x[01]\.[0-9a-f]+p[+-]\d+")


def close(ours: Any, theirs: Any) -> bool:
    """Compare to 1e-5 (log lines are rounded to as much), for a machine with other kernels."""
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(key == "sha" or close(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(theirs, float):
        return ours == pytest.approx(theirs, rel=1e-5, abs=2e-5)
    if isinstance(theirs, str) and HEX.search(theirs):
        mine, other = ([float.fromhex(text) for text in HEX.findall(value)] for value in (ours, theirs))
        return mine == pytest.approx(other, rel=1e-5, abs=1e-5) and HEX.sub("", ours) == HEX.sub("", theirs)
    return bool(ours == theirs)


def check(ours: Any, theirs: Any, *, exact: bool) -> None:
    if exact:
        assert ours == theirs
    else:
        assert close(ours, theirs)


def test_the_record_has_every_scenario():
    assert list(TRACES[1]) == [*scenarios.TRACES, "order"]
    assert list(RATES[1]) == [*rates.POLICIES, "events", "own", "refusals"]
    assert all(list(RATES[1][family]) == list(policies) for family, policies in rates.POLICIES.items())
    assert list(RATES[1]["own"]) == list(OWN)
    assert list(RATES[1]["refusals"]) == list(refusals.REFUSALS)
    assert list(RUNS[1]) == list(scenarios.RUNS)


@pytest.mark.parametrize("name", scenarios.TRACES)
def test_trace(name):
    assert scenarios.trace(mmhooks, name) == TRACES[1][name]


def test_order_within_a_point():
    assert scenarios.order(mmhooks) == TRACES[1]["order"]


@pytest.mark.parametrize(
    ("family", "policy"), [(family, policy) for family in rates.POLICIES for policy in rates.POLICIES[family]]
)
def test_learning_rates_and_momenta(family, policy):
    # Python's own arithmetic: the same bits on every CPU
    assert rates.matrix(mmhooks, family, policy) == RATES[1][family][policy]
    assert rates.events(mmhooks, family, policy) == RATES[1]["events"][family][policy]


@pytest.mark.parametrize("name", OWN)
def test_updaters_of_a_users_own(name):
    assert rates.own(mmhooks, *OWN[name]) == RATES[1]["own"][name]


@pytest.mark.parametrize("name", refusals.REFUSALS)
def test_refusals_of_updaters(name):
    ours, theirs = rates.refusal(mmhooks, refusals.REFUSALS[name]), RATES[1]["refusals"][name]
    if theirs.endswith("Error"):
        # an argument that is missing or unknown: Python says so, and names it
        assert ours in ("ConfigError", "HookError", "RegistryError") or ours == theirs == "TypeError"
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", scenarios.RUNS)
def test_run(name, tmp_path):
    # through JSON, as what is compared with was
    ours = json.loads(json.dumps(scenarios.train(mmhooks, name, tmp_path)))
    exact, theirs = RUNS
    for part, value in theirs[name].items():
        check(ours[part], value, exact=exact)


def test_a_changed_number_is_seen():
    _, theirs = RUNS
    ours = json.loads(json.dumps(theirs["plain"]))
    assert close(ours, theirs["plain"])
    weights = ours["weights"][-1]
    weights["last.bias"] = (float.fromhex(weights["last.bias"]) + 1e-3).hex()
    assert not close(ours, theirs["plain"])


exchange, EXCHANGED = load("exchange"), read("exchanged")


@pytest.fixture
def one_thread():
    """As the fingerprint of the kernels: several threads sum in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", exchange.KINDS)
def test_a_file_that_mmcv_wrote_goes_on_here(kind, tmp_path):
    file = HERE / "golden" / "exchanged" / f"{kind.replace(' ', '_')}.pth"
    ours = exchange.weights(exchange.run(mmhooks, kind, tmp_path, end=True, resume=file))
    check(ours, EXCHANGED[1][kind], exact=EXCHANGED[0])
