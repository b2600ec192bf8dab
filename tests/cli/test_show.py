"""Promise: `atdata show` shows what is at a path, whatever it is, in the terminal and as a page of its own."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata import DictSample
from atdata.cli.output import console
from support.terminal import Terminal


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATDATA_DATA", str(tmp_path / ".data"))
    monkeypatch.setenv("ATDATA_CACHE", str(tmp_path / ".cache"))
    return Terminal(capsys, monkeypatch)


def pictures(folder: str = "pictures") -> None:
    for name in ("cat", "dog"):
        Path(folder, name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((8, 8, 3), 40 * number, np.uint8)
            Path(folder, name, f"{number}.png").write_bytes(atdata.Image(pixels).data)


def table(name: str = "table.csv") -> None:
    Path(name).write_text("id,score\n001,0.5\n002,\n")


def lines(name: str = "lines.jsonl") -> None:
    Path(name).write_text("".join(json.dumps({"n": n, "word": "x" * n}) + "\n" for n in range(4)))


def arrays(name: str = "arrays.npz") -> None:
    np.savez(name, x=np.zeros((4, 3), np.float32), y=np.arange(4))


KINDS = {
    "pictures": (pictures, 6), "table.csv": (table, 2), "lines.jsonl": (lines, 4), "arrays.npz": (arrays, 4),
}  # fmt: skip


@pytest.mark.parametrize("path", KINDS)
def test_data_of_any_kind_is_shown(terminal: Terminal, path: str) -> None:
    make, count = KINDS[path]
    make()
    shown = terminal.json("show", path, "--samples", "2")
    assert (shown["samples"], len(shown["first"])) == (count, 2)
    assert list(shown["fields"]) == list(shown["first"][0])
    assert terminal.run("show", path, "--html", "page.html") == 0
    for field in shown["fields"]:
        assert field in terminal.out
    assert f"atdata import {path}" in terminal.out
    page = Path("page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert ("data:image/png;base64," in page) == (path == "pictures")


def test_a_split_is_chosen(terminal: Terminal) -> None:
    for split in ("train", "test"):
        Path("data", split).mkdir(parents=True)
        table(f"data/{split}/rows.csv")
    Path("data/test/rows.csv").write_text("id,score\n007,1.5\n")
    assert terminal.json("show", "data", "--split", "test")["first"] == [{"id": "007", "score": "1.5"}]
    assert terminal.run("show", "data", "--split", "nothing") == 2


def test_shards_of_one_file_a_field_are_shown(terminal: Terminal) -> None:
    samples = [DictSample(cls=n, txt=f"<b>{n}") for n in range(3)]
    atdata.write_samples(samples, "x-%06d.tar", layout={"cls": "cls", "txt": "txt"})
    shown = terminal.json("show", "x-000000.tar")
    assert shown["fields"] == {"cls": "int", "txt": "str"}
    assert shown["first"][1] == {"cls": "1", "txt": "<b>1"}
    typed = {"label": {"type": "int", "files": "cls"}, "text": {"type": "str", "files": "txt"}}
    assert (shown["inferred"], shown["notes"]) == (typed, [])
    assert terminal.run("show", "x-000000.tar") == 0
    assert re.search(r"^label +│ int +│ cls *$", terminal.out, re.MULTILINE)
    some = [DictSample(txt="a", npy=np.zeros((2, 3), np.float32)), DictSample(npy=np.ones((2, 3), np.float32))]
    atdata.write_samples(some, "some.tar", layout={"txt": "txt", "npy": "npy"})
    assert terminal.run("show", "some.tar") == 0
    assert re.search(r"^array +│ NDArray\[float32\] \[2, 3\] +│ npy *$", terminal.out, re.MULTILINE)
    assert "note: text: 1 of 2 samples have it" in terminal.out
    atdata.write_samples([DictSample(n=1)], "packed.tar")
    assert "inferred" not in terminal.json("show", "packed.tar")
    assert terminal.run("show", ".", "--html", "page.html") == 0
    assert "<b>" not in Path("page.html").read_text()


def test_many_fields_can_be_read(terminal: Terminal) -> None:
    names = [f"col_{number}" for number in range(1000)]
    Path("wide.csv").write_text("\n".join([",".join(names), *(",".join(map(str, range(1000))) for _ in range(3))]))
    data = atdata.open("wide.csv").write("wide-%06d.tar")
    for path in ("wide.csv", "wide-000000.tar"):
        assert terminal.run("show", path, "--html", "page.html") == 0
        assert len(terminal.out.splitlines()) < 90
        assert "and 940 more; --fields" in terminal.out
        assert re.search(r"first 3 of \S+, [1-4]\d of 1,000 fields", terminal.out)
        assert max(map(len, terminal.out.splitlines())) <= console().width
        page = Path("page.html").read_text()
        assert "and 940 more rows" in page
        assert "and 980 more columns" in page
        assert terminal.run("show", path, "--fields", "col_99*,col_1") == 0
        chosen = [*fnmatch.filter(names, "col_99*"), "col_1"]
        assert re.findall(r"^(col_\d+) +│ int *$", terminal.out, re.MULTILINE) == chosen
        assert list(terminal.json("show", path, "--fields", "col_7")["fields"]) == ["col_7"]
        assert len(terminal.json("show", path)["first"][0]) == 1000
        assert terminal.run("show", path, "--fields", "*") == 0
        assert all(re.search(rf"\b{name}\b", terminal.out) for name in names)
        assert terminal.run("show", path, "--fields", "cl_1") == 2
        assert "col_1" in terminal.err
    assert len(data._repr_html_()) < 30_000
    assert len(data.card().text().splitlines()) < 100
    assert "and 980 more" in repr(data[0:2])


@pytest.mark.parametrize(("path", "code"), [("nothing", 4), ("nothing.csv", 4), ("text.md", 1), ("empty", 2)])
def test_what_cannot_be_shown_is_told(terminal: Terminal, path: str, code: int) -> None:
    Path("text.md").write_text("# no data\n")
    Path("empty").mkdir()
    assert terminal.run("show", path) == code
    assert path in terminal.err


def test_what_is_here_needs_nothing_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installs no extra but [images] brings pictures and looks at them."""
    monkeypatch.chdir(tmp_path)
    pictures()
    hidden = "import sys; sys.modules.update(dict.fromkeys(['cryptography', 'httpcore', 'h11', 'dns', 'certifi'])); "
    program = hidden + "from atdata.__main__ import main; main()"
    environment = {**os.environ, "ATDATA_DATA": "data", "ATDATA_CACHE": "cache"}
    for arguments in (
        ["--help"],
        ["show", "pictures"],
        ["import", "pictures", "-o", "out/"],
        ["show", "out"],
        ["index", "ls"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment, check=False
        )
        assert (arguments, done.returncode, done.stderr) == (arguments, 0, "")
    done = subprocess.run(
        [sys.executable, "-c", program, "show", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/science.alt.dataset.entry/x"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert "atdata[atmosphere]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_page_is_true(terminal: Terminal) -> None:
    """What docs/index.md begins with, word for word, on a folder of pictures."""
    page = (Path(__file__).parents[2] / "docs" / "index.md").read_text("utf-8")
    pictures()
    commands = [line.partition("#")[0].split()[1:] for line in page.splitlines() if line.startswith("atdata ")]
    assert [command[0] for command in commands] == ["show", "import"]
    for command in commands:
        assert terminal.run(*command) == 0
    (program,) = re.findall(r"^```py\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}
    exec(program, found)
    assert found["batch"].decode_images("image", size=224).shape == (6, 224, 224, 3)
