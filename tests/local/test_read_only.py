"""An index in a file that one may only read is read: a share, a backup, a colleague's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.databases.sqlite import SqliteConnection
from atdata.errors import StorageError
from atdata.local import LocalIndex


@atdata.packable
class Row:
    n: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(*numbers: int) -> Any:
    return atdata.write_samples([Row(n) for n in numbers], f"rows-{'-'.join(map(str, numbers))}.tar", overwrite=True)


WRITER = """
import sys, atdata
from atdata.errors import StorageError
from atdata.local import LocalIndex
index = LocalIndex(sys.argv[1])
print(len(index.list_datasets()))
sys.stdin.readline()
"""


def without_rights(*command: str) -> list[str]:
    """A command that may write only what files and folders say, also where root runs it."""
    if os.geteuid() != 0:
        return list(command)
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everything, and setpriv is not installed")
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]


@pytest.mark.parametrize("written", ["before", "meanwhile"])
def test_a_file_that_may_only_be_read_is_read(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "shared ?#%"
    index = LocalIndex(folder / "index.sqlite")
    index.insert_dataset(rows(1), name="rows", version="1.0.0")
    index.records.database.close()
    writer = None
    if written == "meanwhile":  # then the newest is in the log, which somebody has open
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder / "index.sqlite")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"
    index.append("rows", rows(2))
    if written == "before":
        index.records.database.close()
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    before = sorted(path.name for path in folder.iterdir())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = without_rights(sys.executable, "-m", "atdata", *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    where = ("--index", str(folder / "index.sqlite"))
    listed = run("index", "ls", "--json", *where)
    assert listed.returncode == 0, listed.stderr
    assert [row["version"] for row in json.loads(listed.stdout)] == ["1.1.0", "1.0.0"]
    for verb in (("history", "rows"), ("diff", "rows@1.0.0", "rows"), ("show", "rows")):
        done = run("index", *verb, *where)
        assert done.returncode == 0, done.stderr
    copied = run("index", "copy", str(folder / "index.sqlite"), str(tmp_path / "copy.sqlite"))
    assert copied.returncode == 0, copied.stderr
    refused = run("index", "update", "rows", "--license", "MIT", *where)
    assert (refused.returncode, "cannot be read or written" in refused.stderr) == (1, True)
    assert sorted(path.name for path in folder.iterdir()) == before
    folder.chmod(0o755)
    if writer is not None:
        writer.communicate("\n")
    assert LocalIndex(tmp_path / "copy.sqlite").get_entry_by_name("rows") is not None


def test_what_is_written_is_in_the_file_that_is_there(tmp_path: Path) -> None:
    """A file that somebody removed, or put another in the place of, is not written to in secret."""
    place = tmp_path / "team.db"
    index = LocalIndex(place)
    index.insert_dataset(rows(1), name="one")
    shutil.copy(place, tmp_path / "other.db")
    for path in tmp_path.glob("team.db*"):
        path.unlink()
    index.insert_dataset(rows(2), name="two")
    assert [entry.name for entry in LocalIndex(place).list_datasets()] == ["two"]
    (tmp_path / "other.db").replace(place)
    for path in tmp_path.glob("team.db-*"):
        path.unlink()
    index.insert_dataset(rows(3), name="three")
    assert "three" in [entry.name for entry in LocalIndex(place).list_datasets()]


def test_a_file_that_goes_while_it_is_written_to(tmp_path: Path) -> None:
    index = LocalIndex(tmp_path / "team.db")
    index.insert_dataset(rows(1), name="one")
    write = SqliteConnection.write

    def removed(self: Any, work: Any, **options: Any) -> Any:
        def doing(cursor: Any) -> Any:
            done = work(cursor)
            (tmp_path / "team.db").unlink()
            return done

        return write(self, doing, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteConnection, "write", removed)
        with pytest.raises(StorageError, match="was removed or replaced"):
            index.insert_dataset(rows(2), name="two")
