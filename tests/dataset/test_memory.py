"""An epoch takes the memory of a few chunks, however large the shards are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata

pytestmark = pytest.mark.slow

MB = 1 << 20

# Run in a process of its own: what a process has held at most never goes down again.
READ = """
import resource, sys
import numpy as np
from numpy.typing import NDArray
import atdata

@atdata.packable
class Row:
    values: NDArray[np.float32]
    name: str

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

data = atdata.Dataset[Row](sys.argv[1])
for batch in data.take(64).ordered(batch_size=32):
    pass
before = most()
count = sum(len(batch.name) for batch in getattr(data, sys.argv[2])(batch_size=32))
print(count, most() - before)
"""


@atdata.packable
class Row:
    values: NDArray[np.float32]
    name: str


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """One shard of 16 MB and one of 160 MB, of arrays that are copied by the batch and of some that are not."""
    folder, found = tmp_path_factory.mktemp("shards"), list[tuple[str, int]]()
    for size in (1 << 11, 1 << 18):
        for total in (16 * MB, 160 * MB):
            row, count = Row(np.zeros(size // 4, np.float32), "x"), total // size
            path = folder / f"{size}-{total}.tar"
            atdata.write_samples((row for _ in range(count)), path)
            found.append((str(path), count))
    return found


def grown(path: str, order: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", READ, path, order], capture_output=True, text=True, check=True)
    count, most = map(int, done.stdout.split())
    return count, most


def test_an_ordered_epoch_takes_no_more_of_large_shards(shards: list[tuple[str, int]]) -> None:
    for path, count in shards:
        assert Path(path).stat().st_size >= 16 * MB
        read, most = grown(path, "ordered")
        assert read == count
        assert most < 64 * MB, path
