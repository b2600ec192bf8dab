"""Programs over the public API, as users write them, pass mypy and pyright at their strictest; and they run."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import atdata

FOLDER = Path(__file__).parent / "typing"
PROGRAMS = sorted(FOLDER.glob("*.py"))
SOURCE = Path(atdata.__file__).parents[1]
PYRIGHT = FOLDER / "node_modules" / "pyright" / "index.js"


def mypy(cache: Path, *programs: Path) -> list[str]:
    """What mypy says of some programs; what it says of atdata itself is `dev.py types`."""
    pytest.importorskip("mypy", reason="mypy is not installed: python3 dev.py types")
    settings = cache / "mypy.ini"
    settings.write_text(
        "[mypy]\nstrict = True\ndisable_error_code = type-arg\n[mypy-atdata.*]\nfollow_imports = silent\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", cache),
            *("--no-pretty", "--no-error-summary", "--scripts-are-modules", *programs),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(SOURCE)},
        cwd=cache,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def pyright(tmp_path: Path, *programs: Path) -> list[dict[str, Any]]:
    """What pyright says of some programs."""
    node = shutil.which("node")
    if node is None or not PYRIGHT.exists():
        pytest.skip("pyright is not installed: npm ci, in tests/typing")
    folder = tmp_path / "programs"
    folder.mkdir()
    for program in programs:
        shutil.copy(program, folder)
    settings = {
        "include": ["programs"],  # a path that is not relative is passed over
        "extraPaths": [str(SOURCE)],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [node, PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "--project", tmp_path],
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == len(programs)
    return [each for each in said["generalDiagnostics"] if each["severity"] == "error"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows of atdata, kept from one test to the next."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.slow
def test_mypy_takes_users_programs(cache: Path):
    assert len(PROGRAMS) > 4
    assert mypy(cache, *PROGRAMS) == []


@pytest.mark.slow
def test_pyright_takes_users_programs(tmp_path: Path):
    found = pyright(tmp_path, *PROGRAMS)
    assert [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1}: {each['message']}" for each in found
    ] == []


WRONG = "import atdata\nfrom typing import assert_type\nds = atdata.Dataset('a.tar')\nassert_type(ds, int)\nds.colums('a')\n"


@pytest.mark.slow
def test_both_find_a_wrong_type_and_a_wrong_name(cache: Path, tmp_path: Path):
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    assert [line.split(":")[1] for line in mypy(cache, program)] == ["4", "5"]
    assert {each["range"]["start"]["line"] + 1 for each in pyright(tmp_path, program)} == {4, 5}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_users_programs_run(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert runpy.run_path(str(program))["__doc__"]
