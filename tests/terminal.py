"""The command line in this process, and what it says."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from atdata.cli import main


class Terminal:
    """Runs commands, and keeps what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self.out = self.err = ""

    def run(self, *arguments: str) -> int:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["atdata", *arguments])
        try:
            main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        self.out, self.err = self._capsys.readouterr()
        return int(code)

    def json(self, *arguments: str) -> Any:
        assert self.run(*arguments, "--json") == 0, self.out + self.err
        return json.loads(self.out)
