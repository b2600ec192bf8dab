"""A real browser, and pages in it that complain of nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.absent import AXE, browser_unavailable


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; skips, with the reason, where there is none."""
    if reason := browser_unavailable():
        pytest.skip(reason)
    from support.sites import browsing

    with browsing() as found:
        yield found


@contextmanager
def opened(opened_browser: Any, url: str, **context: Any) -> Iterator[Any]:
    """A page; whatever its browser complains of, or cannot load, is a failure."""
    complaints: list[str] = []
    with opened_browser.new_context(**context) as visit:
        page = visit.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.extend(_failures(request)))
        page.goto(url)
        yield page
    assert complaints == []


def _failures(request: Any) -> list[str]:
    """The failure of a request, but for one that nobody waits for any more, because the page was left."""
    return [] if "ERR_ABORTED" in str(request.failure) else [f"{request.failure}: {request.url[:100]}"]


def violations(page: Any) -> list[tuple[str, str]]:
    """What axe finds wrong with a page for those who do not see it, or not well. Its context must pass by the page's policy."""
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]
