"""What `python3 dev.py release` does: build what would be published, and show that it is whole.

    release.py --dry-run [TEST]...   everything but what only a release has: its date, its tag, a clean checkout
    release.py --keep FOLDER         keep the source distribution and the wheel there

The source distribution is made of the files that git knows, the wheel is made of the source distribution, and the fast
tests (or those named) run in the one on the other. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import yaml
from packaging.metadata import Metadata, parse_email
from packaging.version import Version

ROOT = Path(__file__).resolve().parent
GENERATED = re.compile(r"PKG-INFO|setup\.cfg|src/atdata\.egg-info/.*")
SECTION = re.compile(r"^## (?:Unreleased|\[?(?P<version>[^\]\s]+)\]? - (?P<date>\d{4}-\d\d-\d\d))$", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("tests", nargs="*", metavar="TEST")
    asked = parser.parse_args()
    version = project(ROOT)["version"]
    faults = disagreements(ROOT) if asked.dry_run else disagreements(ROOT) + unreleased(ROOT)
    with tempfile.TemporaryDirectory(prefix="atdata-release-") as name:
        folder = Path(name)
        sdist = build_sdist(ROOT, folder)
        print(f"built     {sdist.name}", flush=True)
        faults += differences(ROOT, sdist)
        wheel = build_wheel(sdist, folder)
        loops = "with the compiled loops" if compiled(wheel) else "without the compiled loops: no compiler is here"
        print(f"built     {wheel.name}, {loops}", flush=True)
        faults += [fault for file in (sdist, wheel) for fault in metadata_faults(file, version)]
        for fault in faults:
            print(f"✗ {fault}", flush=True)
        faults += try_out(sdist, wheel, folder, version, asked.tests)
        if asked.keep and not faults:
            asked.keep.mkdir(parents=True, exist_ok=True)
            for file in (sdist, wheel):
                print(f"kept      {shutil.copy(file, asked.keep)}")
    print(f"✗ {len(faults)} fault{'s' * (len(faults) > 1)}." if faults else f"✓ atdata {version} can be released.")
    return min(len(faults), 1)


def project(root: Path) -> dict[str, str]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


def sections(root: Path) -> list[tuple[str | None, str | None, str]]:
    """The version, the date and the text of each section of the changelog; what is unreleased has neither."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    heads = list(SECTION.finditer(text))
    ends = [*(head.start() for head in heads), len(text)][1:]
    return [
        (head["version"], head["date"], text[head.end() : end].strip()) for head, end in zip(heads, ends, strict=True)
    ]


def disagreements(root: Path) -> list[str]:
    """The places that say the version otherwise than `pyproject.toml`."""
    version, citation = project(root)["version"], yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    faults = []
    if citation["version"] != version:
        faults.append(f"CITATION.cff says version {citation['version']}, pyproject.toml {version}")
    changes = [(number, text) for number, _, text in sections(root)]
    dated = [Version(number) for number, _ in changes if number]
    if not changes:
        faults.append("CHANGELOG.md has no section")
    if dated != sorted(dated, reverse=True):
        faults.append("CHANGELOG.md has not the newest version first")
    if any(number is None for number, _ in changes[1:]):
        faults.append("CHANGELOG.md has *Unreleased* below a release")
    newest, pending = max(dated, default=Version("0")), bool(changes and not changes[0][0] and changes[0][1])
    if pending and Version(version) <= newest:
        faults.append(f"CHANGELOG.md has changes after {newest}, which pyproject.toml still calls {version}")
    if not pending and Version(version) != newest:
        faults.append(f"CHANGELOG.md says nothing of {version}, which pyproject.toml has")
    return faults


def unreleased(root: Path) -> list[str]:
    """What a release must have, and a dry run need not: a date, a tag, and nothing that is not committed."""
    version, citation = project(root)["version"], yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    date = next((date for number, date, _ in sections(root) if number == version), None)
    faults = [] if date else [f"CHANGELOG.md has no section `## {version} - DATE`"]
    if str(citation.get("date-released")) != str(date):
        faults.append(f"CITATION.cff was released {citation.get('date-released')}, CHANGELOG.md says {date}")
    if not (root / ".git").exists():
        return [*faults, "this is no git checkout"]
    if git(root, "status", "--porcelain"):
        faults.append("the checkout has changes that are not committed")
    if f"v{version}" not in git(root, "tag", "--points-at", "HEAD").split():
        faults.append(f"the commit has no tag v{version}")
    return faults


def git(root: Path, *arguments: str) -> str:
    """What git says; also in a checkout that belongs to another user, as in a container."""
    command = ["git", "-c", f"safe.directory={root}", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def source_files(root: Path) -> list[str]:
    """The files that are the project: those that git knows; where there is no checkout, those that it would not ignore."""
    if (root / ".git").exists():
        listed = git(root, "ls-files", "-z")
    else:
        with tempfile.TemporaryDirectory() as empty:
            git(root, "init", "--quiet", "--bare", empty)
            others = ["ls-files", "-z", "--others", "--exclude-standard"]
            listed = git(root, f"--git-dir={empty}", f"--work-tree={root}", *others)
    names = [name for name in listed.split("\0") if name and not GENERATED.fullmatch(name)]
    return sorted(name for name in names if (root / name).is_file())


def build_sdist(root: Path, folder: Path) -> Path:
    tree = folder / "tree"
    for name in source_files(root):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, tree / name)
    program = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    check(sys.executable, "-c", program, cwd=tree)
    return next(folder.glob("*.tar.gz"))


def build_wheel(sdist: Path, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    check(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, sdist)
    return next(folder.glob("*.whl"))


def compiled(wheel: Path) -> bool:
    return any(
        name.startswith("atdata/_native.") and name.endswith(".so") for name in zipfile.ZipFile(wheel).namelist()
    )


def differences(root: Path, sdist: Path) -> list[str]:
    """The files that the source distribution lacks, has besides, or has with other content."""
    with tarfile.open(sdist) as archive:
        found = {
            member.name.partition("/")[2]: archive.extractfile(member).read() for member in archive if member.isfile()
        }
    names = set(source_files(root))
    extra = {name for name in found.keys() - names if not GENERATED.fullmatch(name)}
    other = {name for name in names & found.keys() if found[name] != (root / name).read_bytes()}
    kinds = {"lacks": names - found.keys(), "should not have": extra, "has otherwise": other}
    return [f"the source distribution {kind} {name} (MANIFEST.in)" for kind in kinds for name in sorted(kinds[kind])]


def metadata_faults(file: Path, version: str) -> list[str]:
    """What an index would refuse in the metadata of a distribution."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            data = archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")))
    else:
        with tarfile.open(file) as archive:
            data = archive.extractfile(f"{file.name.removesuffix('.tar.gz')}/PKG-INFO").read()
    raw, unknown = parse_email(data)
    faults = [f"{name} is no field of metadata" for name in unknown]
    try:
        metadata = Metadata.from_raw(raw, validate=True)
    except ExceptionGroup as group:
        return [f"{file.name}: {fault}" for fault in (*faults, *group.exceptions)]
    if str(metadata.version) != version:
        faults.append(f"version is {metadata.version}, pyproject.toml says {version}")
    if not (metadata.description or "").strip() or metadata.description_content_type != "text/markdown":
        faults.append("the description is not the README, in Markdown")
    if not metadata.license_expression or not metadata.license_files:
        faults.append("the licence, or its file, is not named")
    faults += [
        f"{label} leads to no https address: {url}"
        for label, url in (metadata.project_urls or {}).items()
        if not url.startswith("https://")
    ]
    return [f"{file.name}: {fault}" for fault in faults]


def try_out(sdist: Path, wheel: Path, folder: Path, version: str, tests: list[str]) -> list[str]:
    """Unpack the source distribution and run its tests there, on the wheel as pip installs it."""
    site, unpacked = folder / "site", folder / "unpacked"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    check(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--target", site, wheel)
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    tree = next(unpacked.iterdir())
    env = {**os.environ, "PYTHONPATH": str(site)}
    where = f"import atdata, sys; sys.exit(not atdata.__file__.startswith({str(site)!r}))"
    check(sys.executable, "-c", where, cwd=tree, env=env)
    shown = subprocess.run(
        [sys.executable, "-m", "atdata", "--version"], cwd=tree, env=env, capture_output=True, text=True
    )
    faults = [] if shown.stdout.strip() == f"atdata {version}" else [f"`atdata --version` is {shown.stdout.strip()!r}"]
    print(f"tests     in the unpacked {sdist.name}", flush=True)
    workers = ["-n", "auto", "--dist", "loadfile"]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--fast", *workers, *tests], cwd=tree, env=env)
    return faults + (["the tests of the source distribution fail"] if done.returncode else [])


def check(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"✗ {done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
