"""What is wrong with a command line is said before anything begins, with what is near, and exits with 2."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mmhooks.cli import app

CONFIG = "model = dict(type='Nowhere')\nrunner = dict(max_epochs=1)\ndata = dict()\noptimizer_config = dict()\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")  # a message is one line
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "syntax.py").write_text("model = dict(\n")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "a.pth").write_bytes(b"no checkpoint")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "resnet.py").write_text(CONFIG)
    return tmp_path


def call(line, **options):
    return CliRunner().invoke(app, line.split(), prog_name="mmhooks", **options)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("trian config.py", "there is no command 'trian'; did you mean 'train'?"),
        ("migrat config.py", "did you mean 'migrate'?"),  # another package's command
        ("config.py", "did you mean 'mmhooks train config.py'?"),
        ("xyzzy", "there are demo, train, test, inspect"),
        ("checkpoint verfy", "there is no command 'verfy'; did you mean 'verify'"),
        ("train", "Missing argument 'CONFIG'"),
        ("train config.py --sede 1", "No such option: --sede"),
        ("train config.py --seed one", "Invalid value for '--seed'"),
        ("train confg.py", "there is no config confg.py; did you mean 'config.py'"),
        ("train config/resnet.py", "did you mean 'configs/resnet.py'?"),
        ("train nowhere/at/all.py", "there is no folder nowhere"),
        ("train configs", "configs is a folder, not a config; it holds resnet.py"),
        ("inspect confg.py", "did you mean 'config.py'"),
        ("migrate confg.py", "did you mean 'config.py'"),
        ("test config.py", "Missing argument 'CHECKPOINT'"),
        ("test config.py b.pth", "there is no checkpoint b.pth; did you mean 'a.pth'?"),
        ("checkpoint b.pth", "there is no checkpoint b.pth; did you mean 'a.pth'?"),
        ("checkpoint verify b.pth", "there is no checkpoint b.pth; did you mean 'a.pth'?"),
        ("checkpoint show configs", "configs is a folder, not a checkpoint"),
        ("checkpoint convert a.pth b.x --to mmvc", "did you mean 'mmcv'?"),
        ("train config.py --resume-from b.pth", "did you mean 'a.pth'?"),
        ("train config.py --load-from=", "an empty path is no checkpoint"),
        ("train config.py --auto-resume --resume-from a.pth", "give --resume-from or --auto-resume, not both"),
        ("train config.py --driver nativ", "there are lightning, native; did you mean 'native'?"),
        ("train config.py --codebase mmdt", "did you mean 'mmdet'"),
        ("train config.py --launcher torch", "did you mean 'pytorch'?"),
        ("migrate config.py --style bridg", "did you mean 'bridge'?"),
        ("train config.py --cfg-options", "Option '--cfg-options' requires an argument"),
        ("train config.py --cfg-options lr", "option 'lr' has no '='; write key=value, such as optimizer.lr=0.01"),
        ("inspect config.py --set a=1 b.c=[1", "option 'b.c=[1': a ',' or ']' is missing"),
        ("inspect config.py --epoch-len 0", "greater than or equal to 1"),
        ("demo extra", "unexpected extra argument"),
    ],
)
def test_misuse_exits_with_2(folder, line, says):
    before = sorted(folder.rglob("*"))
    result = call(line)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Value error" not in result.stderr
    assert result.stdout == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train notes.txt", ".txt is no kind of config; there are .py"),
        ("train syntax.py", "syntax.py:1:13: '(' was never closed"),
        ("train config.py", "'Nowhere' is not in the model registry"),
        ("train config.py --work-dir notes.txt", "notes.txt is a file"),
        ("train config.py --launcher pytorch", "start it with torchrun"),
        ("inspect config.py", "does not tell which code base trains it"),
        ("checkpoint a.pth", "a.pth is no checkpoint, or a broken one"),
        ("checkpoint verify configs", "configs holds no checkpoint"),
        ("migrate configs", "configs holds no config that can be migrated"),
        ("migrate config.py --codebase mmcv -o notes.txt", "notes.txt: File exists"),
    ],
)
def test_what_fails_exits_with_1(line, says):
    result = call(line)
    assert result.exit_code == 1, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
    with pytest.raises(Exception, match=r"\w") as error:  # --debug lets it through, wherever it stands
        call(f"{line} --debug", catch_exceptions=False)
    assert not isinstance(error.value, SystemExit)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="everything is readable to root")
def test_a_file_that_cannot_be_read(folder):
    (folder / "config.py").chmod(0)
    assert "config.py cannot be read: you have no permission" in call("train config.py").stderr


def test_a_narrow_terminal_and_no_colour(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    result = call("train confg.py")
    assert max(map(len, result.stderr.splitlines())) <= 40
    assert "\x1b[" not in result.stderr


# help and completion ------------------------------------------------------------------------------------------


def commands():
    from typer.main import get_command

    group = get_command(app)
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield name
        yield from (f"{name} {inner}" for inner in getattr(command, "commands", ()))


@pytest.mark.parametrize("name", ["", *commands()])
def test_help_has_examples_of_the_command(name):
    lines = [line.strip("│ ") for line in call(f"{name} --help").stdout.splitlines()]
    examples = lines[next(number for number, line in enumerate(lines) if "Examples" in line) + 1 : -1]
    assert any(line.startswith(f"mmhooks {name}".strip()) for line in examples)
    assert not any("Examples:" in line for line in lines)


def test_the_examples_are_commands_that_there_are():
    for name in commands():
        command = call(f"{name} --help").stdout
        for line in command[command.index("Examples") :].splitlines():
            words = line.strip("│ ").partition("#")[0].split()
            for option in [word for word in words if word.startswith("--")]:
                assert option in command[: command.index("Examples")] or words[0] == "torchrun", (name, option)


def completed(words):
    environment = {"_MMHOOKS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return call("", env=environment).stdout.split()


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("mmhooks ins", ["inspect"]),
        ("mmhooks mig", ["migrate"]),
        ("mmhooks train --driver ", ["lightning", "native"]),
        ("mmhooks train --launcher s", ["slurm"]),
        ("mmhooks train --codebase mm", ["mmcv", "mmdet", "mmseg", "mmcls", "mmpose"]),
        ("mmhooks train --resume", ["--resume-from"]),
        ("mmhooks train con", []),  # the shell completes files
        ("mmhooks checkpoint con", ["convert"]),
        ("mmhooks checkpoint convert a b --to l", ["lightning"]),
        ("mmhooks migrate --style ", ["bridge", "lightning"]),
    ],
)
def test_the_shell_completes(words, completions):
    assert completed(words) == completions


def test_help_and_completion_import_nothing_slow():
    code = (
        "import sys\nfrom mmhooks.cli import app\nfrom typer.testing import CliRunner\n"
        "for words, env in ([['--help'], {}], [['train', '--help'], {}], [['migrate', '--help'], {}],\n"
        "    [[], {'_MMHOOKS_COMPLETE': 'complete_bash', 'COMP_WORDS': 'mmhooks train --codebase ',"
        " 'COMP_CWORD': '3'}]):\n"
        "    assert CliRunner().invoke(app, words, prog_name='mmhooks', env=env).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'lightning', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
