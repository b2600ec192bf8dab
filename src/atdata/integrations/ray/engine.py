"""Tasks of Ray that do the work on shards: what `Dataset.map_shards(..., engine="ray")` runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from atdata.dataset.mapping.processes import RETRIES
from atdata.dataset.mapping.work import Failure, ShardWork
from atdata.errors import MissingExtraError
from atdata.shards import ShardRef

_AHEAD = 2  # tasks for each processor, so that none waits for the next


def run_work(work: ShardWork, shards: Sequence[int], workers: int | None) -> Iterator[tuple[int, ShardRef | Failure]]:
    """Yields the outcome of the work on each shard, in the order in which they end.

    A process that dies, or the machine it was on, has its shard begun again by Ray.

    Args:
        work: what is done.
        shards: their numbers.
        workers: the most tasks at a time; by default what the cluster has processors for.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("ray", 'engine="ray"') from error
    if not ray.is_initialized():
        ray.init()
    task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(_work_on)
    held, waiting, running = ray.put(work), deque(shards), dict[Any, int]()
    most = workers or _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        while waiting or running:
            while waiting and len(running) < most:
                shard = waiting.popleft()
                running[task.options(name=f"shard {shard}").remote(held, shard)] = shard
            (done, *_), _ = ray.wait(list(running))
            shard = running.pop(done)
            try:
                yield shard, ray.get(done)
            except ray.exceptions.RayError as error:
                yield shard, Failure.of(shard, work.view.table.refs[shard], None, error)
    finally:
        for left in running:
            ray.cancel(left, force=True)


def _work_on(work: ShardWork, shard: int) -> ShardRef | Failure:
    return work.run(shard)
