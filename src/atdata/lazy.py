"""Packages whose parts are imported when they are asked for (PEP 562): a program waits for what it uses, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def attach(package: str, parts: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: it imports the module of a name that is asked for, once.

    Args:
        package: its name.
        parts: the names that each module gives it.
    """
    homes = {name: module for module, names in parts.items() for name in names}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
