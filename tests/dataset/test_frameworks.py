"""Loaders inside other trainers' loops: two ranks see every sample once, also after a stop in the middle of an epoch.

The runs are in tests/support/trainings.py.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.optional import need

pytestmark = pytest.mark.slow

pytest.importorskip("torch", reason="torch is not installed: python3 dev.py frameworks")
trainings = pytest.importorskip("support.trainings")

SCRIPT = Path(trainings.__file__)
IDS = list(range(trainings.SAMPLES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    trainings.write(folder)
    return folder


def run(name: str, folder: Path, ranks: int = 2) -> list[dict[str, Any]]:
    """What each rank left; `ranks` processes are started, with what torchrun sets where there are two."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    base |= {"HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONWARNINGS": "ignore"}
    for log in folder.glob("rank-*.json"):
        log.unlink()
    children = []
    for rank in range(ranks):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2} if ranks == 2 else {}
        environment = base | {key: str(value) for key, value in own.items()}
        with (folder / f"{name}-{rank}.log").open("wb") as log:
            command = [sys.executable, str(SCRIPT), name, str(folder)]
            children.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    try:
        codes = [child.wait(240) for child in children]
    finally:
        for child in children:
            child.kill()
    texts = [(folder / f"{name}-{rank}.log").read_text()[-4000:] for rank in range(ranks)]
    assert codes == [0] * ranks, "\n".join(texts)
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def epochs(ranks: list[dict[str, Any]], *parts: str) -> dict[int, Counter[int]]:
    """How often each sample was seen in each epoch."""
    seen: dict[int, Counter[int]] = {}
    for left in ranks:
        for part in parts:
            for epoch, ids in left[part]:
                seen.setdefault(epoch, Counter()).update(ids)
    return seen


def runs(ranks: list[dict[str, Any]]) -> Iterator[dict[int, Counter[int]]]:
    """The whole runs, and those that were stopped and resumed."""
    for part, seen in ranks[0].items():
        if part.endswith(" resumed"):
            yield epochs(ranks, part, part.replace(" resumed", " stopped"))
        elif not part.endswith(" stopped") and not isinstance(seen[0], str):
            yield epochs(ranks, part)


def once(ranks: list[dict[str, Any]]) -> int:
    """The number of runs in which every sample was seen once in every epoch; it is all of them."""
    found = list(runs(ranks))
    for seen in found:
        assert all(counts == Counter(IDS) for counts in seen.values())
    return len(found)


def test_a_loader_made_before_the_process_group_asks_it_when_a_pass_begins(folder):
    ranks = run("spawned", folder, ranks=1)
    assert once(ranks) == 4 + 3 + 1
    for left in ranks:
        assert all(text.startswith("rank and world_size contradict torch.distributed") for text in left["refused"])
        assert len(left["refused"]) == 4


def test_a_filter_that_empties_the_steps_of_one_rank_lets_both_end_together(folder):
    ranks = run("filtered", folder)
    for part in ranks[0]:
        sizes = [[len(ids) for _, ids in left[part]] for left in ranks]
        seen = epochs(ranks, part).get(0, Counter())
        if part.startswith("none"):
            assert sizes == [[], []]
            continue
        assert [len(own) for own in sizes] == [trainings.STEPS] * 2
        assert all(size > 0 for own in sizes for size in own)
        keep = trainings.first_half if part.startswith("first") else trainings.few
        assert set(seen) == {number for number in IDS if keep(trainings.Item(number, None))}
        assert ranks[0][part] == ranks[0][part.replace("2 workers", "0 workers")]


def test_lightning(folder):
    need("lightning")
    ranks = run("lightning", folder, ranks=1)
    assert once(ranks) == 1 + 4 * 2
    for left in ranks:  # of loaders without a length it holds one batch more than it has used
        assert len(left["unsized"]) == 3
        assert all("Lightning prefetches one batch" in text for text in left["unsized"])


def test_accelerate(folder):
    need("accelerate")
    ranks = run("accelerate", folder)
    assert once(ranks) == 2 + 2 * 3 + 1
    for left in ranks:
        assert not [text for text in left["shared"] if "accelerate would split" not in text]
        assert left["0 workers, reads ahead"][0].startswith("accelerate prefetches one batch")
        assert left["2 workers, reads ahead"][0].startswith("workers prefetch")
        assert left["reads ahead"][0].startswith("accelerate prefetches one batch")
        assert left["other epoch"][0].startswith("the loaded state is of another epoch")
        assert all(text.startswith("accelerate would skip batches of an epoch") for text in left["skipped"])
        assert (len(left["shared"]), len(left["skipped"])) == (5, 2)


def test_the_trainer_of_transformers(folder):
    need("transformers")
    ranks = run("transformers", folder)
    assert once(ranks) == 2 * 2 + 1
    for left in ranks:
        assert left["shared"][0].startswith("accelerate would split")
        assert left["skipped"][0].startswith("accelerate would skip batches of an epoch that was not set")
