"""Datasets and loaders in grain: every sample once, epochs that differ, exact checkpoints, declared dtypes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.optional import need

PROGRAM = """
import itertools, json, pickle, sys
from pathlib import Path
import numpy as np
import grain
from numpy.typing import NDArray
import atdata
from atdata.integrations.grain import Source, batches

@atdata.packable
class Item:
    id: int
    values: NDArray[np.float32]
    name: str
    score: float | None
    half: NDArray[np.float16]

dataset = atdata.write_samples(
    (Item(n, np.full(4, n, "f4"), f"n{n}", None if n % 2 else n / 2, np.ones(2, "f2")) for n in range(100)),
    sys.argv[1] + "/a-%d.tar", maxcount=30,
).as_type(Item)
source = pickle.loads(pickle.dumps(Source(dataset)))
assert len(source) == 100
def made(rank=0, world=1):
    return grain.MapDataset.source(source).seed(3).shuffle().repeat(2)[rank::world].batch(8)
seen = [batch for batch in made().to_iter_dataset()]
assert {name: str(column.dtype) for name, column in seen[0].items() if name != "name"} == {
    "id": "int64", "values": "float32", "score": "float64", "score_mask": "bool", "half": "float16"
}
ids = [number for batch in seen for number in batch["id"].tolist()]
assert sorted(ids[:100]) == sorted(ids[100:]) == list(range(100)) and ids[:100] != ids[100:]
shares = [[n for batch in made(rank, 2).to_iter_dataset() for n in batch["id"].tolist()] for rank in (0, 1)]
assert sorted(shares[0] + shares[1]) == sorted(2 * list(range(100)))
stream = iter(made().to_iter_dataset())
first = [next(stream)["id"].tolist() for _ in range(15)]
again = iter(made().to_iter_dataset())
again.set_state(json.loads(json.dumps(stream.get_state())))
assert first + [batch["id"].tolist() for batch in again] == [batch["id"].tolist() for batch in seen]

# --- a loader as an iterator

def loaded(**options):
    return batches(dataset.loader(8, shuffle="global", seed=1, **{"rank": 0, "world_size": 1, **options}))
whole = loaded()
epochs = [[batch.id for batch in whole] for _ in range(2)]
assert all(sorted(itertools.chain(*epoch)) == list(range(100)) for epoch in epochs) and epochs[0] != epochs[1]
assert epochs[1] == [batch.id for batch in dataset.shuffled(8, seed=1, epoch=1)]
ranks = [loaded(rank=rank, world_size=2) for rank in (0, 1)]
assert sorted(n for rank in ranks for batch in rank for n in batch.id) == list(range(100))
again = loaded()
list(again)
stream = iter(again)
first = [next(stream).id for _ in range(5)]
state = json.loads(json.dumps(stream.get_state()))
other = iter(loaded())
other.set_state(state)
assert first + [batch.id for batch in other] == epochs[1]
halves = [iter(loaded(rank=rank, world_size=2)) for rank in (0, 1)]  # with other ranks too
for half in halves:
    half.set_state(state)
rest = [[batch.id for batch in half] for half in halves]
assert sorted(itertools.chain(*first, *rest[0], *rest[1])) == list(range(100))
"""


def test_grain_reads_samples_by_number_and_loaders_as_they_are(tmp_path: Path):
    """In a process of its own: grain and JAX have threads, which the workers of others' DataLoaders would not have."""
    need("grain")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
