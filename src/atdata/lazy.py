"""Packages whose parts are imported when they are asked for (PEP 562): a program waits for what it uses, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


def attach(package: str, parts: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: it imports the module of a name that is asked for, once; or the module of that name.

    Args:
        package: its name.
        parts: the names that each module gives it.
    """
    homes = {name: module for module, names in parts.items() for name in names}

    def find(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(homes[name]), name)
        else:
            value = None if name.startswith("_") else _module(f"{package}.{name}")
            if value is None:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    return find


def _module(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None
