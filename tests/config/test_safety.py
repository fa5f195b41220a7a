"""Reading a config opens the config and its bases, and nothing else; it executes and imports nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: an audit hook cannot be taken away again.
WATCHED = """
import json, sys
from mmhooks.config import Config
from mmhooks.errors import ConfigError

seen = None
def watch(event, args):
    if seen is not None:
        seen.append([event, str(args[0]) if args else ""])
sys.addaudithook(watch)
results = []
for file in sys.argv[1:]:
    seen = []
    try:
        Config.fromfile(file).to_dict()
        said = ""
    except ConfigError as error:
        said = str(error)
    results.append([seen, said])
seen = None
json.dump(results, sys.stdout)
"""

# ast.parse is a compile event; deepcopy asks for an id
HARMLESS = {"open", "compile", "builtins.id", "object.__getattr__", "object.__setattr__"}


TRAP = "trap"
HOSTILE = [
    "import os\nos.mkdir('{trap}')",
    "x = open('{trap}', 'w')",
    "x = __import__('os').mkdir('{trap}')",
    "x = [c for c in ().__class__.__base__.__subclasses__()]",
    """x = eval('open("{trap}", "w")')""",
    "@open('{trap}', 'w')\ndef f(): pass",
    "x = '{0.__class__.__init__.__globals__}'.format(dict())",
    "x = '{x.__class__}'.format(**dict(x=1))",
    "x = f'{[].__class__}'",
    "x = str(b'x', 'idna')",
    "x = dict(__class__=1).__class__",
]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """What Python's audit events say while each file is read, and the ConfigError's message; the first is harmless."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "base.py").write_text("model = dict(type='Net')\n")
    (folder / "a.py").write_text(
        "_base_ = './base.py'\nx = [f'{i:>3}' for i in range(3)]\nm = {{ _base_.model }}\n"
        "y = '{:d}'.format(3) + str(sum([1, 2]))\ncustom_imports = dict(imports=['os'])\n"
    )
    files = [folder / "a.py", *(folder / f"{number}.py" for number in range(len(HOSTILE)))]
    for file, text in zip(files[1:], HOSTILE, strict=True):
        file.write_text(text.replace("{trap}", str(folder / TRAP)))
    command = [sys.executable, "-c", WATCHED, *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return dict(zip(files, json.loads(run.stdout), strict=True))


def opened(seen):
    return [name for event, name in seen if event == "open"]


def test_only_the_config_and_its_bases_are_opened(watched):
    file, (seen, said) = next(iter(watched.items()))
    assert said == ""
    assert opened(seen) == [str(file), str(file.with_name("base.py"))]
    assert {event for event, _ in seen} <= HARMLESS
    assert len([event for event, _ in seen if event == "compile"]) == 2


def test_nothing_of_a_hostile_config_happens(watched):
    for file, (seen, said) in list(watched.items())[1:]:
        assert said.startswith(f"{file}:1:") or said.startswith(f"{file}:2:")
        assert opened(seen) == [str(file)]
        assert {event for event, _ in seen} <= HARMLESS
        assert not file.with_name(TRAP).exists()
