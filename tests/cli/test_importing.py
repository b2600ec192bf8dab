"""`atdata import` makes typed shards without an account; `publish --dry-run` plans without one."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from support.terminal import Screen, Terminal


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: Path) -> Terminal:
    return Terminal(capsys, monkeypatch)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATDATA_DATA", str(tmp_path / ".data"))
    monkeypatch.setenv("ATDATA_CACHE", str(tmp_path / ".cache"))
    for split, text in {"train": "n,word\n1,a\n2,b\n", "test": "n,word\n3,c\n"}.items():
        (tmp_path / "rows" / split).mkdir(parents=True)
        (tmp_path / "rows" / split / "t.csv").write_text(text)
    return tmp_path


def test_import_makes_the_folder_and_says_what_to_do_next(data: Path, terminal: Terminal) -> None:
    plan = terminal.json("import", "rows", "-o", "out/r-%06d.tar", "--dry-run")
    assert plan["fields"] == {"n": "int", "word": "str"}
    assert plan["splits"] == {"train": 2, "test": 1}
    assert not Path("out").exists()
    assert terminal.run("import", "rows", "-o", "out/r-%06d.tar", "--manifest") == 0
    assert 'atdata.load_dataset("out", Rows)' in terminal.out
    assert "    class Rows:\n        n: int\n        word: str\n" in terminal.out
    loaded = atdata.load_dataset("out")
    assert {name: [s["word"] for s in dataset] for name, dataset in loaded.items()} == {
        "train": ["a", "b"],
        "test": ["c"],
    }
    assert Path("out/train/r-000000.manifest.json").exists()
    assert terminal.run("import", "rows", "-o", "out/r-%06d.tar") == 2
    assert "exist already" in terminal.err
    assert terminal.json("import", "rows", "-o", "out", "--overwrite")["type"] == "Rows"
    assert Path("out/train/rows-000000.tar").exists(), "a folder is enough"


def test_a_type_of_ones_own_and_a_layout(data: Path, terminal: Terminal) -> None:
    Path("own_types.py").write_text("import atdata\n\n\n@atdata.packable\nclass Word:\n    word: str\n    n: float\n")
    done = terminal.json(
        "import", "rows", "-o", "o/w-%d.tar", "--type", "own_types:Word", "--layout", "word=txt", "--layout", "n=json"
    )
    assert (done["type"], done["fields"]) == ("Word", {"word": "str", "n": "float"})
    assert [(s["txt"], s["json"]) for s in atdata.load_dataset("o")["train"]] == [("a", 1.0), ("b", 2.0)]
    assert terminal.run("import", "rows", "-o", "o2/w-%d.tar", "--type", "own_types:Gone") == 2
    assert "no such sample type" in terminal.err


def test_a_plan_to_publish_needs_no_login(data: Path, terminal: Terminal) -> None:
    plan = terminal.json("publish", "rows", "--name", "rows", "--dry-run")
    assert (plan["account"], plan["samples"], plan["blobs"]) == (None, 3, 2)
    assert terminal.run("publish", "rows", "--name", "rows", "--yes") == 5


def test_in_a_terminal_bars_tell_what_is_done(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    assert screen.run("import", "rows", "-o", "out/r-%06d.tar") == 0
    shown = screen.raw.decode()
    assert "Reading" in shown
    assert "Writing" in shown
    assert "3 samples" in shown


def test_writing_samples_shows_bars_in_a_terminal_and_nothing_elsewhere(
    data: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [atdata.DictSample({"n": n}) for n in range(200)]
    atdata.write_samples(samples, "quiet.tar")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    atdata.write_samples(iter(samples), "seen.tar")
    assert "Writing" in capfd.readouterr().err
    assert Path("seen.tar").read_bytes() == Path("quiet.tar").read_bytes()
