"""``python -m benchmarks``: every benchmark, one table of ratios, and the same as JSON."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import checkpoint, ema, overhead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=60, help="how often every contestant runs")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "bench.json")
    args = parser.parse_args()
    rows = [*overhead.rows(args.blocks), *ema.rows(), *checkpoint.rows()]
    table = Table("what", "of", "us", "compared with", "us", "more", "ratio")
    for row in rows:
        more = f"{row['us'] - row['other_us']:+.1f}"
        figures = (f"{row['us']:.1f}", row["compared_with"], f"{row['other_us']:.1f}", more, f"{row['ratio']:.3f}")
        table.add_row(row["what"], row["name"], *figures)
    Console(width=130).print(table)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    made_with = {"torch": torch.__version__, "python": platform.python_version()}
    args.json.write_text(json.dumps({**made_with, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
