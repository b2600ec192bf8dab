"""`.ci/run`: every check is run, and one that fails, or an installation that does, is the failure of the whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKS = ["lint", "types", "contracts", "docs", "sanitize"]

# The verbs without what they do: they say that they were run, and fail where they are told to.
VERBS = """
import os, sys

def run(verb):
    print("ran", verb, flush=True)
    sys.exit(verb in os.environ["FAILING"].split())

def install_npm():
    run("npm")

if __name__ == "__main__":
    run(sys.argv[1])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with these verbs, on a machine on which nobody may install packages."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "dev.py").write_text(VERBS)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("failing", "ran", "said"),
    [
        ("", ["npm", *CHECKS, "test"], "All checks passed."),
        ("test", ["npm", *CHECKS, "test"], "Failed: test"),
        ("types sanitize", ["npm", *CHECKS, "test"], "Failed: types sanitize"),
        ("npm", ["npm"], "Failed: npm"),
        ("frameworks", ["npm"], "Failed: frameworks"),
    ],
)
def test_each_check_is_run_and_each_failure_is_said(checkout: Path, failing: str, ran: list[str], said: str) -> None:
    path = os.pathsep.join([str(checkout / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "FAILING": failing}
    done = subprocess.run(["bash", ".ci/run"], cwd=checkout, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == said, done.stderr
    assert (done.returncode == 0) == (not failing)
    assert [line for line in lines if line.startswith("ran ")] == [f"ran {verb}" for verb in ["frameworks", *ran]]
