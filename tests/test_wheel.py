"""What is installed is whole: the built wheel has every file that the code reads, and runs by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed").WheelBuilder
    folder = tmp_path_factory.mktemp("wheel")
    return Path(next(iter(builder(str(ROOT)).build(directory=str(folder), versions=["standard"]))))


def test_it_holds_code_data_and_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    own = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and not {"__pycache__", ".mypy_cache"} & set(path.parts)
    }
    assert own <= set(names)
    assert [name for name in names if "/licenses/" in name]
    assert not [name for name in names if name.startswith("tests")]


def test_it_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import atdata, atdata.records, importlib.resources as r, sys\n"
        f"assert atdata.__file__.startswith({str(tmp_path)!r}), atdata.__file__\n"
        "assert len(atdata.records.lexicons()) == 15\n"
        "assert (r.files('atdata.cli') / 'data' / 'digits.npz').is_file()\n"
        "from atdata.cli import app\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
