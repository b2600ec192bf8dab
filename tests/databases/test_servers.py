"""What is done where a server does not answer."""

from __future__ import annotations

import pytest

from atdata.databases import servers


class Failing:
    """Work that fails with some errors in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.forgot = list(errors), 0

    def work(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def forget(self) -> None:
        self.forgot += 1

    def done(self) -> str:
        return servers.patiently(
            self.work, lambda error: isinstance(error, OSError), self.forget, lambda error: "starting" in str(error)
        )


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_PATIENCE", (0.0, 0.0))


def test_what_was_lost_is_tried_again_so_often() -> None:
    failing = Failing(OSError(), OSError())
    assert (failing.done(), failing.forgot) == ("done", 2)
    with pytest.raises(OSError):
        Failing(OSError(), OSError(), OSError()).done()
    failing = Failing(KeyError(), OSError())
    with pytest.raises(KeyError):
        failing.done()
    assert failing.forgot == 0


def test_a_server_that_is_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it says so, and once it is there its losses are counted as ever."""
    failing = Failing(OSError(), *[OSError("starting")] * 50, OSError())
    assert (failing.done(), failing.forgot) == ("done", 52)
    with pytest.raises(OSError):
        Failing(*[OSError("starting")] * 50, OSError(), OSError(), OSError()).done()
    monkeypatch.setattr(servers, "_STARTING", 0.0)
    with pytest.raises(OSError, match="starting"):
        Failing(*[OSError("starting")] * 1_000_000).done()
