"""The table of benchmarks: the last result of ``make bench``, as Markdown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "bench.json"
BEGIN, END = "<!-- the table of make bench -->", "<!-- until here -->"


def table(result: dict[str, Any]) -> str:
    """Give a result as a table."""
    lines = ["| what | of | \u00b5s | compared with | \u00b5s | ratio |", "|---|---|--:|---|--:|--:|"]
    for row in result["rows"]:
        figures = (row["what"], row["name"], _us(row["us"]), row["compared_with"], _us(row["other_us"]))
        lines.append(f"| {' | '.join(figures)} | {row['ratio']:.2f} |")
    made_with = f"PyTorch {result['torch']}, Python {result['python']}."
    return "\n".join([*lines, "", made_with])


def _us(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def write(docs: Path) -> list[Path]:
    """Put the result into its page, if there is one: a clone has none before ``make bench``."""
    if not RESULT.exists():
        return []
    page = docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    new = table(json.loads(RESULT.read_text(encoding="utf-8")))
    page.write_text(f"{before}{BEGIN}\n\n{new}\n\n{END}{after}", encoding="utf-8")
    return [page]


if __name__ == "__main__":  # for a README: print it
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT
    print(table(json.loads(path.read_text(encoding="utf-8"))))
