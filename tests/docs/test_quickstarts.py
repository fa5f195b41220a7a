"""What the quickstarts say is what happens: their programs and commands run, and print what the page shows."""

import pytest

from docs.make.blocks import DOCS, difference, run_page


@pytest.mark.parametrize("name", ["native", "attach", "migrate"])
def test_a_page_runs_as_it_stands(name):
    ran = list(run_page(DOCS / "quickstart" / f"{name}.md"))
    assert len(ran) >= 2
    for one in ran:
        lost = difference(one)
        assert lost is None, f"{lost!r} is not printed by\n{one.program}\nwhich prints\n{one.printed}"
