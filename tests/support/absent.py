"""Programs that tests want, and that may not be on a machine."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def browser_unavailable() -> str | None:
    """Why nobody can look at pages here, if so."""
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        return "Chromium is not installed: nobody can look at pages"
    if not AXE.is_file():
        return "axe-core is not installed: `python3 dev.py test` does it, or `npm ci` in tests/browser"
    return None
