"""A release is whole: its source distribution is the checkout, builds and tests itself, and what is wrong is said."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from test_project import ROOT, module

pytest.importorskip("setuptools", reason="setuptools is not installed")

release: Any = module("release")
VERSION = release.project(ROOT)["version"]


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """A project of nothing but what says the version."""
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout of the files of this one."""
    tree = tmp_path / "checkout"
    for name in release.source_files(ROOT):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    git(tree, "init", "--quiet")
    commit(tree)
    return tree


def git(tree: Path, *arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=tree, check=True, capture_output=True)


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "all")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def changes(folder: Path, *sections: str) -> None:
    (folder / "CHANGELOG.md").write_text("# Changes\n\n" + "\n\n".join(sections), "utf-8")


def test_this_checkout_agrees_with_itself() -> None:
    assert release.disagreements(ROOT) == []


@pytest.mark.parametrize(
    ("sections", "fault"),
    [
        (["## Unreleased\n- x"], None),
        (["## Unreleased\n- x", "## 0.0.9 - 2026-01-01\n- y"], None),
        ([f"## {VERSION} - 2027-01-31\n- x"], None),
        (["## Unreleased", f"## [{VERSION}] - 2027-01-31\n- x"], None),
        (["## Unreleased\n- z", f"## {VERSION} - 2027-01-31\n- x"], "still calls"),
        (["## Unreleased", "## 0.0.9 - 2026-01-01\n- y"], "says nothing of"),
        (["## 99.0.0 - 2027-01-31\n- x"], "says nothing of"),
        (["## 0.0.8 - 2026-01-01\n- y", "## 0.0.9 - 2026-01-01\n- x"], "newest version first"),
        (["## 0.0.9 - 2026-01-01\n- y", "## Unreleased\n- x"], "below a release"),
        ([], "no section"),
    ],
)
def test_the_changelog_leads_to_the_version(facts: Path, sections: list[str], fault: str | None) -> None:
    changes(facts, *sections)
    found = release.disagreements(facts)
    assert any(fault in line for line in found) if fault else found == []


def test_the_citation_says_the_same_version(facts: Path) -> None:
    edit(facts / "CITATION.cff", f"version: {VERSION}", "version: 98.0.0")
    assert release.disagreements(facts) == [f"CITATION.cff says version 98.0.0, pyproject.toml {VERSION}"]


def test_a_release_has_a_date_a_tag_and_a_clean_checkout(facts: Path) -> None:
    found = release.unreleased(facts)
    assert found[-1] == "this is no git checkout"
    git(facts, "init", "--quiet")
    commit(facts)
    changes(facts, f"## {VERSION} - 2027-01-31\n- x")
    found = release.unreleased(facts)
    assert len(found) == 3, found
    assert ["CITATION" in found[0], "not committed" in found[1], "no tag" in found[2]] == [True] * 3
    edit(facts / "CITATION.cff", "license:", "date-released: 2027-01-31\nlicense:")
    commit(facts)
    git(facts, "tag", f"v{VERSION}")
    assert release.unreleased(facts) == []
    assert release.disagreements(facts) == []
    commit(facts)
    assert release.unreleased(facts) == [f"the commit has no tag v{VERSION}"]


def test_without_a_checkout_the_files_are_those_that_git_would_not_ignore(checkout: Path) -> None:
    known = release.source_files(checkout)
    shutil.rmtree(checkout / ".git")
    (checkout / "src" / "atdata.egg-info").mkdir()
    for name in ("PKG-INFO", "src/atdata.egg-info/SOURCES.txt", "src/atdata/_native.abi3.so", "tests/x.pyc"):
        (checkout / name).write_text("")
    assert release.source_files(checkout) == known
    assert "tests/test_release.py" in known


@pytest.mark.slow
def test_the_source_distribution_is_the_checkout(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tests" / "scratch.txt").write_text("not the project's")
    (checkout / "new.yml").write_text("tracked: and listed by its kind")
    (checkout / "tests" / "new.py").write_text("")
    git(checkout, "add", "new.yml", "tests/new.py")
    sdist = release.build_sdist(checkout, folder(tmp_path / "whole"))
    assert release.differences(checkout, sdist) == []
    edit(checkout / "MANIFEST.in", "graft benchmarks\n", "")
    edit(checkout / "MANIFEST.in", " *.yml", "")
    found = release.differences(checkout, release.build_sdist(checkout, folder(tmp_path / "part")))
    assert "the source distribution lacks mkdocs.yml (MANIFEST.in)" in found
    assert "the source distribution lacks benchmarks/run.py (MANIFEST.in)" in found
    assert not [line for line in found if "lacks" not in line]
    (checkout / "dev.py").unlink()
    edit(checkout / "release.py", "Nothing is uploaded", "Nothing is changed")
    found = release.differences(checkout, sdist)
    assert "the source distribution should not have dev.py (MANIFEST.in)" in found
    assert "the source distribution has otherwise release.py (MANIFEST.in)" in found


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.slow
def test_metadata_that_an_index_refuses_are_said(tmp_path: Path) -> None:
    wheel = release.build_wheel(release.build_sdist(ROOT, tmp_path), tmp_path)
    assert release.metadata_faults(wheel, VERSION) == []
    for old, new, fault in [
        ("License-Expression: MIT", "License-Expression: Whatever", "license"),
        ("Requires-Python: >=3.11", "Requires-Python: new", "requires-python"),
        (f"Version: {VERSION}", "Version: 97.0.0", "pyproject.toml says"),
        ("Description-Content-Type: text/markdown", "Description-Content-Type: text/plain", "Markdown"),
        ("Repository, https://", "Repository, http://", "https"),
        ("Keywords: ", "Nonsense: ", "no field"),
    ]:
        found = release.metadata_faults(changed(wheel, folder(tmp_path / fault.replace(" ", "")), old, new), VERSION)
        assert any(fault.lower() in line.lower() for line in found), (new, found)


def changed(wheel: Path, into: Path, old: str, new: str) -> Path:
    """A wheel with other metadata."""
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(into / wheel.name, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("/METADATA"):
                assert old.encode() in data
                data = data.replace(old.encode(), new.encode(), 1)
            target.writestr(name, data)
    return into / wheel.name


def dry_run(tree: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, tree / "release.py", "--dry-run", *arguments]
    return subprocess.run([str(part) for part in command], cwd=tree, capture_output=True, text=True)


@pytest.mark.slow
def test_the_source_distribution_builds_and_tests_itself(tmp_path: Path) -> None:
    done = dry_run(ROOT, "--keep", tmp_path / "dist", "tests/test_import.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"✓ atdata {VERSION} can be released." in done.stdout
    assert " passed" in done.stdout
    assert len(list((tmp_path / "dist").iterdir())) == 2


@pytest.mark.slow
def test_what_would_not_test_itself_is_not_released(checkout: Path, tmp_path: Path) -> None:
    edit(checkout / "MANIFEST.in", "include *.cff *.md *.py *.yml", "include *.cff *.md release.py dev.py *.yml")
    edit(checkout / "CITATION.cff", f"version: {VERSION}", "version: 98.0.0")
    done = dry_run(checkout, "--keep", tmp_path / "dist", "tests/test_import.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗ CITATION.cff says version 98.0.0" in done.stdout
    assert "✗ the source distribution lacks conftest.py (MANIFEST.in)" in done.stdout
    assert "3 faults" in done.stdout  # without conftest.py nobody knows --fast
    assert not (tmp_path / "dist").exists()
