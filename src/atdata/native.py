"""The loops of `_native*.c`, where this machine could compile them; `ATDATA_NATIVE=0` does without."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType


def _load() -> ModuleType | None:
    if os.environ.get("ATDATA_NATIVE") == "0":
        return None
    try:
        return import_module("atdata._native")
    except ImportError:  # no compiler was there, or no headers of Python
        return None


native = _load()
