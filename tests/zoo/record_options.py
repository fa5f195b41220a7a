"""Record what MMCV's DictAction makes of values into tests/golden/dict_action.json; runs with the oracle."""

from __future__ import annotations

import json
import random
from pathlib import Path

from mmcv import DictAction

GOLDEN = Path(__file__).parents[1] / "golden" / "dict_action.json"
VALUES = r"""
32|-1|0.5|1e-3|1_000|nan|-inf|true|False|TRUE|None|none|adam||a b|'32'|"x y"|'a', 'b'|['a', "b"]|[1,2]|[]|()|(1)|[1,]
1,2,3|a,b|1,|,1|,|,,|1,,2|[(1, 2, 3), [a, b], c]|[(train, 1), (val, 1)]|(1,(2,(3,)))|[[]]|[()]|([1,2],)|[1, (2)]
(a|a)|[1|a]|(1]|[1,2|1,2]|(1,2]|f(a)|f(a,b)|(1,2),(3,4)|[1,2],[3,4]|(1,2),x|x,(1,2)|__import__('os')|a=b
/data/my set/x.py|'|"|''|'"a"'|[']|{'a': 1}|{a,b}|0x10|1.|.5|inf|True,False,None|[None,none]| 1 |[ ]|'[1,2]'|"(a, b)"
""".strip().replace("\n", "|")


def main() -> None:
    draw = random.Random(0)
    drawn = ["".join(draw.choices("()[],'a1 .", k=draw.randint(2, 9))) for _ in range(150)]
    seen = {text: outcome(text) for text in [*VALUES.split("|"), "\u0661", *drawn]}
    lines = [f"  {json.dumps(text)}: {json.dumps(what)}" for text, what in sorted(seen.items())]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def outcome(text: str) -> dict[str, str]:
    try:
        return {"value": repr(DictAction._parse_iterable(text))}
    except (AssertionError, RecursionError) as error:
        return {"error": type(error).__name__}


if __name__ == "__main__":
    main()
