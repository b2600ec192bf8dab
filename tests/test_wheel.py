"""What is installed is whole: the built wheel has every file that the code reads, and runs by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BUILT = ("__pycache__", ".mypy_cache", "*.egg-info", "*.so")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    copy, folder = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns(*BUILT))
    program = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_it_holds_code_data_and_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    own = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and not any(Path(part).match(pattern) for part in path.parts for pattern in BUILT)
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
