"""An AppView is backed up while it is written, and what `deploy/` has is what it should be."""

from __future__ import annotations

import configparser
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from atdata.appview import operator
from atdata.appview.opening import open_appview
from support.appviews import ENTRY, Author, answering, entry

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_a_backup_that_is_taken_while_it_is_written_is_whole(tmp_path: Path) -> None:
    with answering(tmp_path / "a.db") as (replica, _):
        author, stopping = Author(replica), threading.Event()
        author.write({f"{ENTRY}/first": entry("first")})

        def write() -> None:
            number = 0
            while not stopping.is_set():
                author.write({f"{ENTRY}/{number % 20}": entry(f"e{number}")})
                number += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(3):  # as docs/operating.md says
                with sqlite3.connect(tmp_path / "a.db") as database:
                    database.execute("VACUUM INTO ?", [str(tmp_path / f"copy{number}.db")])
                database.close()
        finally:
            stopping.set()
            thread.join()
    for number in range(3):
        copy = tmp_path / f"copy{number}.db"
        with sqlite3.connect(copy) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
        opened = open_appview(copy)
        before = operator.status(opened).records
        opened.close()
        with answering(copy) as (replica, asker):  # and goes on from there
            views = asker.get("listEntries", limit=100, proof="true").json["entries"]
            assert len(views) == before > 0
            assert {view["proofRev"] for view in views} == {views[0]["proofRev"]}
            taken = operator.rebuild(replica, operator.accounts(replica)[0])
            assert taken == before


def test_the_unit_is_one_and_hardened(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not here")
    text = (DEPLOY / "atdata-appview.service").read_text("utf-8")
    unit = tmp_path / "atdata-appview.service"
    unit.write_text(text.replace("/opt/atdata/bin/atdata", "/bin/true"), "utf-8")
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")
    strict = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
    assert subprocess.run(strict, capture_output=True, text=True).returncode == 0


def test_what_is_started_has_the_options_that_it_is_given() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "atdata-appview.service")
    commands = [parser["Service"]["ExecStart"], (DEPLOY / "Containerfile").read_text("utf-8")]
    help_text = subprocess.run(
        [sys.executable, "-m", "atdata", "serve", "--help"], capture_output=True, text=True
    ).stdout
    for command in commands:
        options = set(re.findall(r"(?<![\w-])--(listen|database|upstream|did)\b", command))
        assert {"listen", "database"} <= options
        assert all(f"--{option}" in help_text for option in options)


def test_the_container_runs_as_nobody_who_may_do_much() -> None:
    lines = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    said = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    last = [index for index, (word, _) in enumerate(said) if word == "FROM"][-1]
    words = [word for word, _ in said[last:]]
    assert {word for word, _ in said} <= {
        *("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"),
        *("ENTRYPOINT", "CMD"),
    }
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert {"HEALTHCHECK", "VOLUME", "STOPSIGNAL"} <= set(words)
    assert "RUN" not in words[words.index("USER") :]
