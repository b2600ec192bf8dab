"""The loops of `_native.c`, where this machine could compile them; `ATDATA_NATIVE=0` does without."""

from __future__ import annotations

import os
from types import ModuleType

native: ModuleType | None = None
if os.environ.get("ATDATA_NATIVE") != "0":
    try:
        from atdata import _native as native
    except ImportError:  # no compiler was there, or no headers of Python
        native = None
