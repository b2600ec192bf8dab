"""Batches that workers of a DataLoader make, and lend: they are what the loader gives alone, stay as they are, and leave
nothing behind.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Dataset
from atdata.dataset import segments

torch = pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
data_loading = pytest.importorskip("torch.utils.data", reason="torch is not installed: python3 dev.py frameworks")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # more workers than cores
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
]

HERE = segments._readable()


@atdata.packable
class Frame:
    id: int
    pixels: NDArray[np.uint8]
    wave: NDArray[np.float32]
    name: str
    score: float | None


def frame(number: int) -> Frame:
    pixels = np.random.default_rng(number).integers(0, 256, (120, 120, 3), np.uint8)
    return Frame(number, pixels, np.full(number % 50, number, "f4"), f"f{number}", None if number % 3 else number / 2)


COUNT, SIZE = 600, 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset[Frame]:
    folder = tmp_path_factory.mktemp("frames")
    atdata.write_samples(map(frame, range(COUNT)), folder / "f-%03d.tar", maxcount=100)
    return Dataset[Frame](str(folder / "f-*.tar"), cache=folder / "cache")


def digest(batch: Any) -> str:
    """Of all values, by name."""
    found = hashlib.sha256()
    for name in ("id", "pixels", "wave", "name", "score"):
        column = batch[name]
        if isinstance(column, torch.Tensor) and column.layout is torch.jagged:
            column = list(column.unbind())
        for value in column:
            value = value.numpy() if isinstance(value, torch.Tensor) else value
            found.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return found.hexdigest()


def loader_of(data: Dataset[Frame], **options: Any) -> Any:
    return data.loader(SIZE, shuffle="global", seed=5, rank=0, world_size=1, **options)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("format", [None, "torch"])
def test_workers_give_what_the_loader_gives_alone(data, method, format):
    alone = loader_of(data, format=format)
    batches = data_loading.DataLoader(
        loader_of(data, format=format), batch_size=None, num_workers=2, multiprocessing_context=method
    )
    for _ in range(2 if method == "fork" else 1):
        first, second = list(map(digest, alone)), list(map(digest, batches))
        assert first == second
        assert len(first) == -(-COUNT // SIZE)


@pytest.mark.skipif(not HERE, reason="this system has no memory files that others can open")
def test_large_arrays_come_through_memory_that_both_have(data):
    batches = data_loading.DataLoader(loader_of(data, format="torch"), batch_size=None, num_workers=1)
    batch = next(iter(batches))
    where = batch["pixels"].data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= where < last:
            assert "memfd:atdata" in line
            return
    raise AssertionError


@pytest.mark.parametrize("format", [None, "torch"])
def test_a_batch_that_is_kept_is_never_written_to(data, format):
    """More of them than a worker lends, and with workers that stay: what they lend they use again."""
    batches = data_loading.DataLoader(
        loader_of(data, format=format), batch_size=None, num_workers=2, persistent_workers=True
    )
    kept = list(itertools.chain.from_iterable(batches for _ in range(3)))
    assert len(kept) > 2 * segments._MOST
    before = list(map(digest, kept))
    for _ in range(3):
        for batch in batches:
            batch["pixels"][:] = 0  # it is the reader's
    assert list(map(digest, kept)) == before
    views = [batch["pixels"][3] for batch in kept]
    values = [np.asarray(view).tobytes() for view in views]
    del kept
    gc.collect()
    for _ in batches:
        pass
    assert [np.asarray(view).tobytes() for view in views] == values


def mapped(process: int | str = "self") -> int:
    """Bytes of segments that a process has mapped."""
    lines = [line for line in Path(f"/proc/{process}/maps").read_text().splitlines() if "memfd:atdata" in line]
    ends = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
    return sum(last - first for first, last in ends)


@pytest.mark.skipif(not HERE, reason="this system has no memory files that others can open")
@pytest.mark.parametrize("stay", [True, False])
def test_memory_is_flat_over_twenty_epochs(data, stay):
    batches = data_loading.DataLoader(
        loader_of(data), batch_size=None, num_workers=2, persistent_workers=stay, multiprocessing_context="fork"
    )
    sizes = []
    for _ in range(20):
        for batch in batches:
            assert len(batch)
        workers = batches._iterator._workers if stay else ()
        files = len(list(Path("/proc/self/fd").iterdir()))
        sizes.append((mapped() + sum(mapped(worker.pid) for worker in workers), files))
    most = max(size for size, _ in sizes[:5]), max(files for _, files in sizes[:5])
    assert all(size <= 1.5 * most[0] and files <= most[1] + 4 for size, files in sizes)
    del batch, batches, workers
    gc.collect()
    segments._detach_old()
    assert mapped() == 0


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from torch.utils.data import DataLoader
from atdata.errors import StorageError
from dataset.test_workers import Dataset, Frame, digest, loader_of

data = Dataset[Frame](sys.argv[1] + "/f-*.tar")
stream = iter(DataLoader(loader_of(data), batch_size=None, num_workers=1, multiprocessing_context="fork"))
batch = next(stream)
before = digest(batch)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler raises wherever this thread may be just then
os.kill(stream._workers[0].pid, signal.SIGKILL)
try:
    for _ in stream:
        pass
except (RuntimeError, StorageError) as error:  # of PyTorch, or of a batch on its way that was not received yet
    assert "exited unexpectedly" in str(error) or "its worker has ended" in str(error), error
else:
    raise AssertionError("it went on")
assert digest(batch) == before == digest(next(iter(loader_of(data))))
print("the same", flush=True)
os._exit(0)
"""


def test_a_batch_outlives_the_worker_that_made_it(data):
    folder, tests = str(Path(str(next(iter(data.shards)).url)).parent), str(Path(__file__).parents[1])
    command = [sys.executable, "-W", "ignore", "-c", KILLED, folder, tests]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "the same\n"), done.stderr[-3000:]


PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
from torch.utils.data import DataLoader
from dataset.test_workers import Dataset, Frame, loader_of

if __name__ == "__main__":
    data = Dataset[Frame](sys.argv[1] + "/f-*.tar")
    batches = DataLoader(
        loader_of(data), batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=sys.argv[3]
    )
    while True:
        for batch in batches:
            workers = [worker.pid for worker in batches._iterator._workers]
            print(json.dumps([workers, len(batch)]), flush=True)
"""


def children(process: int) -> set[int]:
    """Those of a process, and theirs."""
    listed = Path(f"/proc/{process}/task/{process}/children")
    own = {int(child) for child in listed.read_text().split()} if listed.exists() else set()
    return own.union(*(children(child) for child in own)) if own else own


def wait(condition: Any, what: str) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(what)


@pytest.fixture
def reader(data: Dataset[Frame], request: pytest.FixtureRequest) -> Iterator[Any]:
    folder = str(Path(str(next(iter(data.shards)).url)).parent)
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, folder, tests, "fork"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait(30)


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="no /dev/shm here")
@pytest.mark.parametrize("victim", ["reader", "worker"])
def test_whoever_is_killed_leaves_nothing(reader, victim):
    for _ in range(30):
        workers, _ = json.loads(reader.stdout.readline())
    everybody = {reader.pid, *children(reader.pid)}
    assert {*workers} < everybody
    assert not HERE or mapped(reader.pid) > 0
    os.kill(reader.pid if victim == "reader" else workers[0], signal.SIGKILL)
    if victim == "worker":
        reader.stdout.read()
    assert reader.wait(60) != 0
    wait(lambda: not any(alive(one) for one in everybody), "workers go on without their reader")
    names = [path.name for path in Path("/dev/shm").iterdir()]
    assert [name for name in names if name.startswith("atdata") or any(f"_{one}_" in name for one in everybody)] == []


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
