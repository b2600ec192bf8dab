"""Where the independent oracles live: foreign test vectors and the public lexicons.

Vectors that may be passed on are part of the repository, each folder with its licence and source. What else there is lies
beside it; tests that need that are skipped, with a reason, where the folder is absent.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("ATDATA_TEST_SHARED") or Path(__file__).parents[3] / "shared")

OWN_VECTORS = Path(__file__).parents[1] / "vectors"
VECTORS = SHARED / "vectors"
LEXICONS = SHARED / "lexicons"
SEEDS = SHARED / "seeds"

needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="foreign test vectors are not in this checkout")
needs_lexicons = pytest.mark.skipif(not LEXICONS.is_dir(), reason="the public lexicons are not in this checkout")
needs_seeds = pytest.mark.skipif(not SEEDS.is_dir(), reason="the founding documents are not in this checkout")


def vector_lines(name: str) -> list[str]:
    """The cases of a line-based vector file, comments and blank lines left out, spaces kept."""
    lines = (OWN_VECTORS / name).read_text("utf-8").split("\n")
    return [line for line in lines if line and not line.startswith("#")]
