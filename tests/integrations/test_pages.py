"""The examples on the pages on frameworks run as they stand there, and are short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.optional import need

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples" / "frameworks").glob("with_*.py"))
NEEDS = {
    "with_accelerate": ["accelerate"],
    "with_grain": ["grain"],
    "with_jax": ["jax"],
    "with_lightning": ["lightning", "torchdata"],
    "with_pytorch": ["torchdata"],
    "with_transformers": ["transformers", "accelerate"],
}
MOST_LINES = 15  # of code, the model that is trained among them


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    for module in NEEDS[path.stem]:
        need(module)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "JAX_PLATFORMS": "cpu"}
    environment |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, str(path), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_on_its_page(path: Path) -> None:
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    assert sum(not line.startswith(("import", "from")) for line in lines) <= MOST_LINES
    page = ROOT / "docs" / "frameworks" / f"{path.stem.removeprefix('with_')}.md"
    assert f"docs/examples/frameworks/{path.name}" in page.read_text("utf-8")
