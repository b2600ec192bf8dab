"""The part of an epoch that this process reads: ranks of a training run, and workers of a DataLoader."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atdata.dataset.numbers import checked_int
from atdata.errors import UsageError

# What launchers set: torchrun and its kin, Slurm's srun, Open MPI.
_VARIABLES = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)


@dataclass(frozen=True)
class Rank:
    """One of the processes that share an epoch."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", checked_int(self.rank, "rank"))
        object.__setattr__(self, "world_size", checked_int(self.world_size, "world_size", 1))
        if self.rank >= self.world_size:
            raise UsageError("rank must be less than world_size", actual=str(self))

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world_size}"


class Ranks:
    """The source of the rank of a process, which is asked for when a pass begins: a loader may be older than the process
    group, and may have come from another process.

    Args:
        rank: what the caller says.
        world_size: likewise.
        group: the process group of `torch.distributed` whose ranks share the epoch, if not all do.
    """

    def __init__(self, rank: int | None = None, world_size: int | None = None, group: Any = None) -> None:
        if (rank is None) != (world_size is None):
            raise UsageError("rank and world_size go together", actual=f"rank {rank}, world_size {world_size}")
        self._said = None if rank is None or world_size is None else Rank(rank, world_size)
        self._group = group

    def now(self) -> Rank:
        """The rank that the caller said; else what `torch.distributed` says once it is initialized; else the environment.

        Raises:
            UsageError: the caller said other than the process group says, or nothing says which rank this is.
        """
        group = _distributed(self._group)
        if self._said is not None and group not in (None, self._said):
            raise UsageError(
                "the loader was made for another rank than this process has",
                path="rank, world_size",
                expected=f"{group}, as torch.distributed says",
                actual=self._said,
                hint="Leave rank and world_size out. Where not all ranks share the epoch, name the group that does:"
                " loader(group=...); to read all of it on each rank, iterate dataset.ordered(batch_size).",
            )
        return self._said or group or _environment() or Rank()

    def check(self, rank: Rank) -> None:
        """Checks that the process group, which may have come since, says what was settled when the pass began.

        Raises:
            UsageError: it does not.
        """
        if _distributed(self._group) not in (None, rank):
            raise UsageError(
                "the process group was initialized, or changed, in the middle of a pass",
                expected=rank,
                actual=_distributed(self._group),
                hint="Initialize torch.distributed before you iterate.",
            )

    def __reduce__(self) -> tuple[Any, ...]:  # groups stay in their process, and so does what they say: see Told
        return Ranks, (None, None) if self._said is None else (self._said.rank, self._said.world_size)


@dataclass(frozen=True)
class Told:
    """The answer that a process gives to the workers it makes, which may have no process group: the rank, or why there is none.

    Attributes:
        process: who says so; it holds for nobody but this process's own workers.
        answer: the rank that they read for.
    """

    process: int
    answer: Rank | UsageError

    @classmethod
    def by_this(cls, ask: Callable[[], Rank]) -> Told:
        """The answer of this process."""
        try:
            return cls(os.getpid(), ask())
        except UsageError as error:
            return cls(os.getpid(), error)

    def holds(self) -> bool:
        """True if this process is a worker of the one that said so."""
        return Worker.parent() == self.process


def _distributed(group: Any) -> Rank | None:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    rank = distributed.get_rank(group)
    if rank < 0:
        raise UsageError("this process is not in the group that shares the epoch", path="group", actual=group)
    return Rank(rank, distributed.get_world_size(group))


def _environment() -> Rank | None:
    known = [pair for pair in _VARIABLES if pair[1] in os.environ]
    for rank, size in known:
        if rank in os.environ:
            try:
                return Rank(int(os.environ[rank]), int(os.environ[size]))
            except ValueError:
                actual = f"{os.environ[rank]!r} of {os.environ[size]!r}"
                raise UsageError(f"{rank} and {size} name no rank", actual=actual) from None
    for rank, size in known:
        if os.environ[size] != "1":
            raise UsageError(
                f"there are {size}={os.environ[size]!r} processes, and nothing says which of them this is",
                hint=f"Initialize torch.distributed before you iterate, set {rank}, or pass rank= and world_size=.",
            )
    return None


@dataclass(frozen=True)
class Worker:
    """One of the processes of a DataLoader. `seed` is the same in all workers of one pass."""

    number: int = 0
    count: int = 1
    seed: int | None = None

    @classmethod
    def here(cls) -> Worker:
        """The worker that this process is; alone, it is the only one."""
        data: Any = sys.modules.get("torch.utils.data")
        info = data.get_worker_info() if data is not None else None
        return cls() if info is None else cls(info.id, info.num_workers, info.seed - info.id)

    @classmethod
    def parent(cls) -> int | None:
        """The process whose worker this process is, if it is one."""
        parent = multiprocessing.parent_process()
        return None if parent is None or cls.here().seed is None else parent.pid
