"""The databases that an index may be in."""

from __future__ import annotations

from pathlib import Path

import pytest

SERVED = [pytest.param(kind, marks=pytest.mark.served) for kind in ("redis", "postgres")]


@pytest.fixture(params=["sqlite", *SERVED])
def index_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for an index, of each kind in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "index.sqlite")
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
