"""A function of another module, imported when it is called."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cvfp_core.errors import suggestion


@dataclass(frozen=True, slots=True)
class lazy:
    """The function `package.module:name`, imported when it is first called, so that a plugin module stays light.

        Ingester(name="my-log", title="my log", matches=_matches, read=lazy("my_plugin.log:read"))

    Arguments and what it returns are the function's. It can be pickled. Raises ValueError for a text of another form;
    when it is called, what the import raises, or AttributeError with the nearest name.
    """

    target: str

    def __post_init__(self) -> None:
        module, _, name = self.target.partition(":")
        if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
            raise ValueError(f"lazy takes 'package.module:function', not '{self.target}'")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        path, _, name = self.target.partition(":")
        module = sys.modules.get(path) or import_module(path)
        if not hasattr(module, name):
            raise AttributeError(f"lazy('{self.target}'): module '{path}' has no '{name}'"
                                 f"{suggestion(name, vars(module))}")
        return getattr(module, name)(*arguments, **named)
