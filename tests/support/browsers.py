"""A real browser, the Chromium that is installed, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; skips, with the reason, where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def opened(opened_browser: Any, url: str, **context: Any) -> Iterator[Any]:
    """A page; whatever its browser complains of, or cannot load, is a failure."""
    complaints: list[str] = []
    with opened_browser.new_context(**context) as visit:
        page = visit.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url[:100]))
        page.goto(url)
        yield page
    assert complaints == []
