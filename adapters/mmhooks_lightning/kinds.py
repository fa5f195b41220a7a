"""Families of hooks, by name: hooks written against the real mmcv are not subclasses of ours."""

from __future__ import annotations


def is_kind(hook: object, family: str) -> bool:
    """Tell whether a hook is of a family.

    Args:
        hook: any registered object.
        family: the name of the family's base class.
    """
    return any(cls.__name__ == family for cls in type(hook).__mro__)
