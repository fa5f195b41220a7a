"""Hostile files are refused by name, and nothing of them runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
import hostile_files

resource = pytest.importorskip("resource")  # of POSIX
WATCH = Path(__file__).parent / "hostile" / "watch.py"
MEMORY = 8 << 30  # of addresses, most of which torch's libraries take


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, WATCH, folder], capture_output=True, text=True, env={**os.environ}, preexec_fn=limited
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_many(watched):
    assert len(watched["files"]) > 100


def test_each_is_refused_in_our_words(watched):
    wrong = {
        name: (way, text)
        for name, found in watched["files"].items()
        for way, text in found["said"].items()
        if way != "describe" and not text.startswith("CheckpointError: ")
    }
    assert not wrong


def test_what_is_inside_is_told_or_refused(watched):
    wrong = {
        name: found["said"]["describe"]
        for name, found in watched["files"].items()
        if not found["said"]["describe"].startswith(("CheckpointError: ", "read"))
    }
    assert not wrong


def test_nothing_runs(watched):
    assert not {name: found["seen"] for name, found in watched["files"].items() if found["seen"] or found["ran"]}
    assert watched["left"] == ["canary", "code.py"]


@pytest.mark.parametrize("name", ["os.system", "eval", "subprocess.check_output", "our getattr, called"])
def test_they_are_hostile(tmp_path, name):
    """Without the safe reader they run; what our list makes harmless is an error there."""
    call = hostile_files.calls(tmp_path)[name]
    for index, wrap in enumerate(hostile_files.FORMATS.values()):
        (tmp_path / f"{index}.pth").write_bytes(wrap(hostile_files.pickled({"meta": call})))
        try:
            torch.load(tmp_path / f"{index}.pth", weights_only=False)
        except AttributeError:
            assert name == "our getattr, called"
        else:
            assert (tmp_path / "ran").exists()
            (tmp_path / "ran").unlink()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os.system in meta, zip", "os.system"),
        ("posix.system in weights, legacy", "posix.system"),
        ("getattr in weights, zip", "pathlib.Path"),
        ("an own class in messages, zip", "torch_helpers_of_mine.Config"),
        ("a compressed bomb", "is compressed"),
        ("parts on top of each other", "overlaps"),
        ("two pickles of one name", "the same name"),
        ("a way out", "a part called 'a/../../canary/ran'"),
    ],
)
def test_the_reason_is_named(watched, name, says):
    found = {key: value["said"]["read"] for key, value in watched["files"].items()}
    match = [text for key, text in found.items() if key.partition(" in ")[0] == name.partition(" in ")[0]]
    assert match
    assert all(says in text for text in match)
