"""`atdata verify FILE`: which files it takes for proofs, and what it says of one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from atdata.testing import Devnet
from support.terminal import Terminal


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, devnet: Devnet, tmp_path: Path
) -> Terminal:
    for name, value in {**devnet.environment, "ATDATA_DATA": str(tmp_path / "data")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys, monkeypatch)


@pytest.mark.parametrize("suffix", [".car", ".CAR", ".json", ".Json"])
@pytest.mark.parametrize(
    ("content", "code", "what"),
    [
        (None, 4, "there is no such file"),
        ("folder", 2, "a folder is no file of a proof"),
        (b"", 1, "a file is empty"),
        (b"x", 1, "not "),
        (b"x" * 5000, 1, "not "),
    ],
)
def test_what_is_no_proof_is_named_with_what_to_do(
    terminal: Terminal, suffix: str, content: bytes | str | None, code: int, what: str
) -> None:
    file = Path(f"kept{suffix}")
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        file.mkdir()
    assert terminal.run("verify", str(file)) == code, terminal.err
    lines = terminal.err.strip().splitlines()
    assert what in lines[0]
    assert any(str(file) in line for line in lines)
    assert "--keep" in lines[-1] if suffix.lower() == ".json" else "getRecord" in lines[-1]


def test_a_folder_of_shards_may_have_any_name(terminal: Terminal) -> None:
    Path("shards.car").mkdir()
    assert terminal.run("verify", "shards.car/") == 4
    assert "the folder has no shards" in terminal.err
