"""A hostile config is an error in little time, and nothing huge is ever made."""

from __future__ import annotations

import sys
import tracemalloc

import pytest

from mmhooks.config import Config
from mmhooks.errors import ConfigError


@pytest.fixture(autouse=True)
def ordinary_limit():
    """Give Python's own limit back, which packages raise when they are imported."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


DOUBLED = "\n".join("a = (a, a)" for _ in range(60))
NESTED = "d = {}\n[d.update(a=d.copy()) for _ in range(5000)]\n"

HOSTILE = {
    "range": ("a = range(10 ** 12)", "elements is too large"),
    "range down": ("a = range(0, -10 ** 12, -1)", "1,000,000,000,000 elements"),
    "range beyond a machine word": ("a = range(10 ** 30)", "elements is too large"),
    "text times": ("a = 'a' * 10 ** 12", "characters is too long"),
    "bytes times": ("a = 10 ** 12 * b'a'", "characters is too long"),
    "list times": ("a = [0] * 10 ** 12", "elements is too large"),
    "list times in place": ("a = [0]\na *= 10 ** 12", "elements is too large"),
    "power": ("a = 10 ** 10 ** 9", "bits is too large"),
    "power in place": ("a = 10\na **= 10 ** 9", "bits is too large"),
    "shift": ("a = 1 << 10 ** 9", "bits is too large"),
    "products": ("a = 1 << 60000\nb = a * a", "bits is too large"),
    "round": ("a = round(1, -10 ** 9)", "too many digits"),
    "join": ("a = ','.join(['a' * 100000] * 1000)", "characters is too long"),
    "join with a long text": ("a = ('a' * 100000).join('b' * 1000)", "characters is too long"),
    "replace": ("a = ('a' * 1000).replace('a', 'b' * 100000)", "characters is too long"),
    "upper": ("a = ('ß' * 900000).upper()", "characters is too long"),
    "f-string width": ("a = f'{1:1000000000}'", "width and precision"),
    "f-string inner width": ("a = f'{1:{10 ** 9}}'", "width and precision"),
    "format width": ("a = '{:{}}'.format(1, 10 ** 9)", "width and precision"),
    "format precision": ("a = '{:.99999999f}'.format(1.0)", "width and precision"),
    "percent width": ("a = '%1000000000d' % 1", "width and precision"),
    "percent star": ("a = '%*d' % (10 ** 9, 1)", "width and precision"),
    "many long texts": ("a = [str(i) + 'a' * 100000 for i in range(100000)]", "steps"),
    "nested loops": ("a = [0 for i in range(10000) for j in range(10000)]", "steps"),
    "a loop that feeds itself": ("a = [0]\nb = [a.append(i) for i in a]", "steps"),
    "extended by itself": ("a = [0]\na.extend(x for x in [0] * 999999 for y in a)", "steps"),
    "insert": ("a = []\nb = [a.insert(0, 1) for i in range(300000)]", "steps"),
    "sum of lists": ("a = sum([[0]] * 100000, [])", "steps"),
    "zip": ("a = list(zip(*[range(10000)] * 1000))", "steps"),
    "spread": ("a = [*range(999999), *range(999999)]", "steps"),
    "doubled": (f"a = (0, 0)\n{DOUBLED}", "steps"),
    "doubled and printed": (f"a = (0, 0)\n{DOUBLED}\nb = len(str(a))", "steps"),
    "doubled and hashed": (f"a = (0, 0)\n{DOUBLED}\nb = {{a: 1}}", "steps"),
    "doubled and looked up": (f"a = (0, 0)\n{DOUBLED}\nb = {{}}.get(a)", "steps"),
    "doubled and compared": (f"a = b = (0, 0)\n{DOUBLED}\n{DOUBLED.replace('a', 'b')}\nc = a == b", "steps"),
    "holds itself": ("a = []\na.append(a)", "nested more than 100 deep, or holds itself"),
    "holds itself, printed": ("a = []\na.append(a)\nb = f'{a}'", "nested more than 100 deep"),
    "nested by a loop": (NESTED, "nested more than 100 deep"),
    "nested by a loop, printed": (NESTED + "a = str(d)", "nested more than 100 deep"),
    "nested lists": (f"a = {'[' * 150}{']' * 150}", "nested more than 100 deep"),
    "brackets": (f"a = {'[' * 5000}", "too many nested parentheses"),
    "minus": (f"a = {'-' * 100000}1", "too deep"),
    "plus": (f"a = {'+'.join('1' * 100000)}", "too deep"),
    "attributes": (f"a = b{'.c' * 100000}", "too deep"),
    "elif": ("if 0:\n    a = 1\n" + "elif 0:\n    a = 1\n" * 5000, "too deep"),
    "comprehension clauses": (f"a = [0 {'for i in [1] ' * 3000}]", "too deep"),
    "digits": (f"a = {'9' * 5000}", "4300"),
    "digits in text": ("a = int('9' * 5000)", "4300"),
    "hexadecimal": (f"a = 0x{'f' * 100000}", "bits is too large"),
    "parsed in another base": ("a = int('f' * 100000, 16)", "bits is too large"),
}


@pytest.mark.parametrize(("program", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_configs_are_refused_soon(tmp_path, program, words):
    file = tmp_path / "cfg.py"
    file.write_text(program, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"cfg\.py:\d+:") as caught:
        Config.fromfile(file)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "program", ["a = [0] * 10 ** 9", "a = 'a' * 10 ** 9", "a = 1 << 10 ** 10", "a = f'{1:999999999}'"]
)
def test_a_size_is_checked_before_anything_is_made(tmp_path, program):
    file = tmp_path / "cfg.py"
    file.write_text(program)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            Config.fromfile(file)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_reader_called_deep_in_a_stack_gives_no_recursion_error(tmp_path):
    file = tmp_path / "cfg.py"
    file.write_text(f"a = {'[' * 95}{']' * 95}")

    def descend(levels):
        return descend(levels - 1) if levels else Config.fromfile(file)

    with pytest.raises(ConfigError, match="too deep"):
        descend(800)


def test_many_bases_of_bases_share_one_budget(tmp_path):
    for level in range(40):
        base = f"_base_ = ['./b{level + 1}.py', './b{level + 1}.py']\n"
        (tmp_path / f"b{level}.py").write_text(base)
    (tmp_path / "b40.py").write_text("")
    with pytest.raises(ConfigError, match="steps"):
        Config.fromfile(tmp_path / "b0.py")


def test_templates_do_not_multiply_without_end(tmp_path):
    (tmp_path / "b0.py").write_text("x = [0, 0]\n")
    for level in range(1, 50):
        text = f"_base_ = './b{level - 1}.py'\nx = [{{{{ _base_.x }}}}, {{{{ _base_.x }}}}]\n"
        (tmp_path / f"b{level}.py").write_text(text)
    with pytest.raises(ConfigError, match="steps"):
        Config.fromfile(tmp_path / "b49.py")


def test_a_long_chain_of_bases_is_refused(tmp_path):
    for level in range(200):
        (tmp_path / f"b{level}.py").write_text(f"_base_ = './b{level + 1}.py'\n")
    (tmp_path / "b200.py").write_text("a = 1\n")
    with pytest.raises(ConfigError, match="more than 100 configs are based on one another"):
        Config.fromfile(tmp_path / "b0.py")
