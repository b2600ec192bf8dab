"""The rooms keep their order, and the check that says so can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", str(ROOT / ".importlinter"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_house_is_in_order(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


def test_a_room_without_a_place_fails(copy: Path) -> None:
    (copy / "src" / "atdata" / "attic").mkdir()
    (copy / "src" / "atdata" / "attic" / "__init__.py").touch()
    done = lint(copy)
    assert done.returncode != 0
    assert "attic" in done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("samples/batch.py", "import atdata.dataset"),
        ("atproto/verify.py", "import socket"),
        ("records/label.py", "import httpcore"),
        ("dataset/dataset.py", "import rich"),
    ],
)
def test_an_import_against_the_order_fails(copy: Path, file: str, line: str) -> None:
    path = copy / "src" / "atdata" / file
    path.write_text(path.read_text() + f"\n{line}\n")
    assert lint(copy).returncode != 0
