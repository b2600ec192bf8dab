"""Processes of this machine that do the work on shards.

Each is told one shard at a time through a pipe of its own. So when one dies, killed or out of memory, it is known which shard
it had: another process does that one again, and no other is touched. A pool of `concurrent.futures` ends with the first
process that dies, and takes with it what the others had.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from atdata.dataset.mapping.work import Failure, ShardWork
from atdata.errors import UsageError
from atdata.shards import ShardRef

RETRIES = 8
"""Times that a shard is begun again whose process died."""

_PLACE = (
    "Define what is mapped at the top of a module: no lambda, no function inside a function, nothing in a notebook."
)


class _Process:
    """A process that does the work on one shard after another.

    Attributes:
        pipe: what it says comes from here.
        shard: the one that it has.
    """

    def __init__(self, packed: bytes, shard: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, packed), name="atdata-map", daemon=True)
        self._process.start()
        other.close()  # else its end would not be seen
        self._started = False
        self.begin(shard)

    def begin(self, shard: int) -> None:
        """Tell it the next shard."""
        self.shard = shard
        with suppress(OSError):  # one that has died is found where its answer is waited for
            self.pipe.send(shard)

    def answers(self) -> Iterator[ShardRef | Failure | None]:
        """Yields the outcome that it has come to; `None` where it has died; nothing where it has only started.

        Raises:
            UsageError: it cannot begin to work.
        """
        try:
            said = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            if not self._started and (self._process.exitcode or 0) > 0:
                raise UsageError(
                    "a worker process ended while it was starting",
                    actual=f"exit status {self._process.exitcode}; what it said stands above",
                    hint="A script is imported by its worker processes: what it runs goes below if __name__ == '__main__'.",
                ) from None
            yield None
            return
        if self._started:
            yield said
        elif said is not None:
            raise UsageError("a worker process cannot load what is mapped", actual=said, hint=_PLACE)
        self._started = True

    @property
    def how_it_ended(self) -> str:
        """The end of one that has died, in words."""
        code = self._process.exitcode or 0
        if code >= 0:
            return f"it ended itself with exit status {code}"
        name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        return f"killed by {name}" + (", perhaps for the memory that it took" if name == "SIGKILL" else "")

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def run_work(work: ShardWork, shards: Sequence[int], workers: int | None) -> Iterator[tuple[int, ShardRef | Failure]]:
    """Yields the outcome of the work on each shard, in the order in which they end.

    Args:
        work: what is done.
        shards: their numbers.
        workers: the number of processes; by default one for each processor that this one may use.

    Raises:
        UsageError: the work cannot be sent to another process, or none can be started.
    """
    packed, waiting, deaths = _packed(work), deque(shards), Counter[int]()
    busy: dict[Any, _Process] = {}
    try:
        while waiting and len(busy) < (workers or _processors()):
            _add(busy, packed, waiting.popleft())
        while busy:
            for pipe in wait(list(busy)):
                process = busy[pipe]
                for outcome in process.answers():
                    shard = process.shard
                    if outcome is None:
                        end = process.how_it_ended
                        busy.pop(pipe).end()
                        deaths[shard] += 1
                        if deaths[shard] <= RETRIES:
                            _add(busy, packed, shard)
                            continue
                        outcome = _died(work, shard, end)
                        if waiting:
                            _add(busy, packed, waiting.popleft())
                    elif waiting:
                        process.begin(waiting.popleft())
                    else:
                        busy.pop(pipe).end()
                    yield shard, outcome
    finally:
        for process in busy.values():
            process.end()


def _add(busy: dict[Any, _Process], packed: bytes, shard: int) -> None:
    process = _Process(packed, shard)
    busy[process.pipe] = process


def _died(work: ShardWork, shard: int, end: str) -> Failure:
    error = f"the process that worked on it has died {RETRIES + 1} times: {end}"
    return Failure(shard, work.view.table.refs[shard].url, None, error)


def _packed(work: ShardWork) -> bytes:
    try:
        return pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError("what is mapped cannot be sent to worker processes", actual=error, hint=_PLACE) from error


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(pipe: Connection, packed: bytes) -> None:
    """Work on shards until the parent ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's affair
    try:
        work: ShardWork = pickle.loads(packed)  # noqa: S301  the parent's
    except Exception as error:  # noqa: BLE001  of somebody's module
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    while True:
        pipe.send(work.run(pipe.recv()))


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os._exit(1)
