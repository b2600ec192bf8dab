"""The pages "How to add ..." lead where they say: each is followed, word for word, in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PAGES = {
    "adding-a-store.md": ["tests/test_sqlar.py"],
    "adding-a-field-type.md": [
        "tests/samples/test_kinds.py",
        "tests/samples/test_space.py",
        "tests/dataset/test_kinds_in_tables.py",
        "-k",
        "Fraction",
    ],
    "adding-a-verb.md": ["tests/cli/test_count.py", "tests/test_reference.py"],
}
COPIED = (
    "src",
    "tests",
    "docs",
    ".importlinter",
    "pyproject.toml",
    "mkdocs.yml",
    "conftest.py",
    "README.md",
    "CONTRIBUTING.md",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    left_out = shutil.ignore_patterns("node_modules", "*.egg-info")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy knows of the files that no page changes: also from `dev.py types`, if that was run."""
    known, folder = ROOT / ".mypy_cache", tmp_path_factory.mktemp("mypy")
    if known.is_dir():
        shutil.copytree(known, folder, dirs_exist_ok=True)
    return str(folder)


def follow(page: str, folder: Path) -> None:
    """Write each file that a page shows, and make each change."""
    for language, path, text in BLOCK.findall(page):
        place = folder / path
        if language == "python":
            assert not place.exists()
            place.write_text(text, "utf-8")
            continue
        lines = text.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        code = place.read_text("utf-8")
        assert code.count(old) == 1, f"{path}: not there, or more than once:\n{old}"
        place.write_text(code.replace(old, new), "utf-8")


def run(folder: Path, *command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_is_followed():
    assert {path.name for path in (ROOT / "docs").glob("adding-*.md")} == PAGES.keys()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_leads_where_it_says(page: str, copy: Path, cache: str):
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert len(BLOCK.findall(text)) == text.count(' title="') > 3
    follow(text, copy)
    run(copy, "-m", "pytest", "-q", "-n", "0", *PAGES[page])
    for tool in ("ruff", "mypy", "importlinter"):
        pytest.importorskip(tool, reason=f"{tool} is not installed: python3 dev.py lint")
    written = sorted({path for _, path, _ in BLOCK.findall(text) if path.endswith(".py")})
    run(copy, "-m", "ruff", "check", *written)
    run(copy, "-m", "ruff", "format", "--check", *written)
    run(copy, "-m", "mypy", "--cache-dir", cache)
    run(copy, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
