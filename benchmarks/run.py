"""Benchmarks, as ratios measured in one run. `python3 dev.py bench [NAME ...]` runs all, or those named."""

from __future__ import annotations

import sys
from collections.abc import Callable

import importing

BENCHMARKS: dict[str, Callable[[], None]] = {"importing": importing.main}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()
