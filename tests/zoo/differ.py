"""Draw configs with bases, in all formats, and read them with MMCV and with mmhooks: the values must be equal.

Runs in the environment of the oracle: ``differ.py --examples 2000``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import mmcv
import yaml
from canonical import digest

import mmhooks.config
from mmhooks.errors import ConfigError

KEYS = ("a", "b", "c", "model", "data", "_delete_")
DELETE = "_delete_"
VALUES = (1, 2.5, -3, "text", "", None, True, False, 1e-5, "it's", "10", "no", "\u00e9", 10**20)
FORMATS = (".py", ".yaml", ".json")
EXPRESSIONS = (
    "[{v}, *[{v}]]",
    "dict(x={v}, y=[{v}])",
    "({v},) * 2",
    "[dict(n=i, v={v}) for i in range(3) if i != 1]",
    "{{k: {v} for k in 'ab'}}",
    "'%s_%d' % ('x', 3) + f'{{1 + 1:03d}}'",
    "sum([1, 2.5]) / 3 ** 2 // 1 - round(2.567, 1)",
    "list(range(10))[2:8:3] + list(dict(p=1).items())",
    "'{{}}-{{:>4}}'.format(1, 'a').upper()",
    "{v} if 1 < 2 <= 2 else 0",
    "[{v}][0]",
    "max(3, 4) + len('abc') + int('7') + float('1.5')",
    "dict(**dict(q={v}), r=1)",
    "[x for x in sorted([3, 1, 2])][::-1]",
)


class Draw:
    """Draws configs.

    Args:
        seed: of the numbers.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0, tuples: bool = True) -> Any:
        """Draw a value; dicts get shallower the deeper they are."""
        kind = self.random.random()
        if kind < 0.45 + 0.15 * depth:
            return self.random.choice(VALUES)
        if kind < 0.85:
            return self.dict(depth + 1, tuples)
        items = [self.value(depth + 1, tuples) for _ in range(self.random.randint(0, 3))]
        return tuple(items) if tuples and kind > 0.93 else items

    def of(self, key: str, tuples: bool = True) -> Any:
        """Draw the value of a key: most of them have a dict at all times, and can be merged."""
        if key in ("c", "new") or self.random.random() < 0.05:
            return self.value(tuples=tuples)
        return self.dict(1, tuples)

    def dict(self, depth: int, tuples: bool) -> dict[str, Any]:
        """Draw a dict with keys that others have too."""
        keys = self.random.sample(KEYS, self.random.randint(0, 4))
        return {key: self.random.random() < 0.8 if key == "_delete_" else self.value(depth, tuples) for key in keys}

    def config(self, suffix: str, bases: list[str], keys: tuple[str, ...], templates: list[str]) -> str:
        """Draw the text of a file.

        Args:
            suffix: its format.
            bases: the files that it is based on.
            keys: those that it may have.
            templates: the keys of the bases.
        """
        values: dict[str, str] = {}
        if bases:
            named: Any = bases[0] if len(bases) == 1 and self.random.random() < 0.5 else bases
            values["_base_"] = repr(named) if suffix == ".py" else json.dumps(named)
        for key in self.random.sample(keys, self.random.randint(1, len(keys))):
            if templates and self.random.random() < 0.25:
                template = f"{{{{ _base_.{self.random.choice(templates)} }}}}"
                wrapped = f"[1, {template}]" if suffix != ".py" else f"dict(t={template}, u=[{template}])"
                values[key] = self.random.choice([template, wrapped])
            elif self.random.random() < 0.1:
                values[key] = '"{{ fileBasename }} {{fileExtname}}"'
            elif suffix == ".py":
                literal = repr(self.of(key))
                chosen = self.random.choice(EXPRESSIONS)
                values[key] = literal if self.random.random() < 0.8 else chosen.format(v=literal)
            else:
                values[key] = json.dumps(self.of(key, tuples=False))
        return layout(values, suffix)


def layout(values: dict[str, str], suffix: str) -> str:
    """Put keys and values together in a format."""
    if suffix == ".py":
        return "".join(f"{key} = {value}\n" for key, value in values.items())
    if suffix == ".json":
        return "{" + ",\n".join(f'"{key}": {value}' for key, value in values.items()) + "}"
    lines = []
    for key, value in values.items():
        if "{{" not in value:
            value = yaml.dump(json.loads(value), default_flow_style=True, sort_keys=False, width=1000).removesuffix(
                "...\n"
            )
        lines.append(f"{key}: {value.strip()}\n")
    return "".join(lines)


def write(draw: Draw, folder: Path) -> Path:
    """Write a config with up to two levels of bases."""
    suffixes = [draw.random.choice(FORMATS) for _ in range(4)]
    lowest, left, right, top = (folder / f"f{number}{suffix}" for number, suffix in enumerate(suffixes))
    lowest.write_text(draw.config(lowest.suffix, [], ("a", "model"), []))
    chained = [lowest] if draw.random.random() < 0.6 else []
    left.write_text(draw.config(left.suffix, [base.name for base in chained], ("a", "model", "b"), places(chained)))
    # now and then, a key that the other base has too
    keys = ("c", "data") if draw.random.random() < 0.95 else ("c", "data", "b")
    right.write_text(draw.config(right.suffix, [], keys, []))
    bases = [base for base in (left, right) if draw.random.random() < 0.8]
    keys = ("a", "b", "c", "data", "model", "new")
    top.write_text(draw.config(top.suffix, [base.name for base in bases], keys, places(bases)))
    return top


def places(files: list[Path]) -> list[str]:
    """List the dotted keys of configs, for templates.

    Not of values with a `_delete_`: MMCV puts in the base's own object, and takes the `_delete_` out of both.
    """

    def walk(values: dict[str, Any], prefix: str) -> list[str]:
        found = []
        for key, value in values.items():
            if DELETE not in str(value):
                found.append(prefix + key)
            found += walk(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        return found

    found: list[str] = []
    for file in files:
        with contextlib.suppress(ConfigError):
            found += walk(mmhooks.config.Config.fromfile(file).to_dict(), "")
    return found


def options(draw: Draw) -> dict[str, Any]:
    """Draw what a command line lays over a config."""
    names = ["a", "b", "model.a", "model.b.c", "data.model", "data.0.a", "new.x.y", "model._delete_"]
    return {name: draw.value(1) for name in draw.random.sample(names, draw.random.randint(0, 3))}


def outcome(config: Any, errors: type[Exception], file: Path, over: dict[str, Any]) -> str:
    """Read a config with one of the two, and give a digest of its values, or `!` and the error."""
    try:
        cfg = config.fromfile(str(file))
        cfg.merge_from_dict(over)
        return digest(cfg._cfg_dict.to_dict())
    except errors as error:
        return f"!{type(error).__name__}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    for number in range(arguments.examples):
        draw = Draw(arguments.seed * 1_000_000 + number)
        with tempfile.TemporaryDirectory() as folder:
            file = write(draw, Path(folder))
            over = options(draw)
            theirs = outcome(
                mmcv.Config, Exception, file, copy.deepcopy(over)
            )  # it takes `_delete_` out of what it is given
            ours = outcome(mmhooks.config.Config, ConfigError, file, over)
            same = ours == theirs or ours[0] == theirs[0] == "!"
            counts[
                "DIFFERENT" if not same else f"both fail, MMCV with {theirs[1:]}" if ours[0] == "!" else "equal"
            ] += 1
            if not same:
                print(f"--- example {number}: MMCV {theirs}, mmhooks {ours}; over: {over}")
                for path in sorted(Path(folder).iterdir()):
                    print(f"{path.name}:\n{path.read_text()}")
    print(dict(counts.most_common()))
    return 1 if counts["DIFFERENT"] else 0


if __name__ == "__main__":
    sys.exit(main())
