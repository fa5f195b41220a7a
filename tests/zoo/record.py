"""Record what real MMCV makes of the configs into tests/golden/zoo; runs in the environment of the oracle."""

from __future__ import annotations

import warnings

import packages
from canonical import digest
from mmcv import Config


def main() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    packages.fetch()
    packages.GOLDEN.mkdir(parents=True, exist_ok=True)
    for package in sorted(packages.wanted()):
        lines = [f"{case.name} {outcome(case)}\n" for case in packages.cases([package])]
        (packages.GOLDEN / f"{package}.txt").write_text("".join(lines))
        print(package, len(lines), sum(" !" in line for line in lines))


def outcome(case: packages.Case) -> str:
    try:
        # what a config names in custom_imports is not installed here, and is no value
        return digest(Config.fromfile(str(case.file), import_custom_modules=False)._cfg_dict.to_dict())
    except Exception as error:
        return f"!{type(error).__name__}"


if __name__ == "__main__":
    main()
