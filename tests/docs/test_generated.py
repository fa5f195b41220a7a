"""What is generated in docs/ is what would be generated now: `make pages` writes it anew."""

import json

import pytest

from docs.make import benchmarks, pictures
from docs.make.blocks import DOCS, difference, missing, prepare, run_page

COMMANDS = [page.stem for page in sorted((DOCS / "commands").glob("*.md"))]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_shows_what_its_commands_print(name):
    prepare()
    ran = list(run_page(DOCS / "commands" / f"{name}.md"))
    assert ran
    for one in ran:
        lost = difference(one)
        assert lost is None, f"{lost!r} is on one side only: make pages?\n{one.program}\nprints\n{one.printed}"


def test_the_pictures_are_those_of_the_hooks():
    for name, content in pictures.pictures():
        assert (DOCS / "assets" / name).read_text(encoding="utf-8") == content, f"{name}: make pages"


def test_every_row_of_a_result_is_in_the_table(tmp_path, monkeypatch):
    row = {"what": "overhead", "name": "native", "us": 10.04, "compared_with": "mmcv", "other_us": 2000.4, "ratio": 0.5}
    result = tmp_path / "bench.json"
    result.write_text(json.dumps({"torch": "2", "python": "3", "rows": [row]}))
    monkeypatch.setattr(benchmarks, "RESULT", result)
    (tmp_path / "benchmarks.md").write_text(f"before\n{benchmarks.BEGIN}\nold\n{benchmarks.END}\nafter\n")
    benchmarks.write(tmp_path)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| overhead | native | 10.0 | mmcv | 2,000 | 0.50 |" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text


def test_what_has_changed_is_told():
    assert missing("epoch 3, loss 0.5\n...\ndone", "epoch 1, loss 0.25\nand so on\nall done\n") is None
    assert missing("epoch 3\ndone", "epoch 1\nnot yet\n") == "done"
