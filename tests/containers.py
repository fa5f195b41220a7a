"""A stand-in for mmcv's DataContainer."""

from typing import Any


class DataContainer:
    """As mmcv's, by name and attributes, its data read-only."""

    def __init__(self, data: Any, cpu_only: bool = False) -> None:
        self._data, self._cpu_only = data, cpu_only

    @property
    def data(self) -> Any:
        return self._data

    @property
    def cpu_only(self) -> bool:
        return self._cpu_only
