"""What only some machines have: looked for, and not imported, for JAX and Ray do not like processes that fork later."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

FRAMEWORKS = "python3 dev.py frameworks"


def need(module: str) -> None:
    """Skip, saying why, where a framework is not installed."""
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: {FRAMEWORKS}", allow_module_level=True)


class Later:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
