"""`--service`: what is no address of a service is a mistake of whoever asks, not a failure of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.terminal import Terminal


@pytest.mark.parametrize("verb", [["search", "retina"], ["lens", "find"]])
@pytest.mark.parametrize(
    "service",
    [
        "foo",
        "foo bar",
        "",
        "https://",
        "ftp://appview.example.org",
        "appview.example.org:443",
        "https://user:secret@appview.example.org",
        "https://appview.example.org:99999",
        "https://appview.example.org/?q=1",
        "https://appview.example.org/#top",
    ],
)
def test_what_is_no_address_of_a_service_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    verb: list[str],
    service: str,
) -> None:
    monkeypatch.setenv("ATDATA_DATA", str(tmp_path))
    terminal = Terminal(capsys, monkeypatch)
    assert terminal.run(*verb, "--service", service) == 2, terminal.err
    lines = terminal.err.strip().splitlines()
    assert "not the address of a service" in lines[0]
    assert "https://appview.example.org" in terminal.err
    assert "https:// before it" in lines[-1]
    assert "secret" not in terminal.err
