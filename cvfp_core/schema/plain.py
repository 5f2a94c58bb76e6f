"""Values as plain data, for JSON and templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value made of text, numbers, truth values, None, lists and dictionaries only.

    A dataclass becomes a dictionary of its fields, without those it does not print (`repr=False`).
    """
    if value is None or isinstance(value, bool | int | float):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value) if each.repr}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return str(value)


class AsDict:
    """A value that gives itself as plain data."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON and templates: see `plain`."""
        made: dict[str, Any] = plain(self)
        return made
