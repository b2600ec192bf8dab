"""The part of an epoch that this process reads: ranks of a training run, and workers of a DataLoader."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atdata.errors import UsageError
from atdata.numbers import checked_int

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
    """The source of the rank of a process, which is asked when a pass begins: a loader may be older than the process group,
    and may have come from another process.

    Args:
        rank: the caller's; `None` leaves it to the process group and the environment.
        world_size: likewise.
        group: the process group of `torch.distributed` whose ranks share the epoch, if not all do.
    """

    def __init__(self, rank: int | None = None, world_size: int | None = None, group: Any = None) -> None:
        if (rank is None) != (world_size is None):
            actual = f"rank {rank}, world_size {world_size}"
            raise UsageError("rank and world_size must be given together", actual=actual, hint="Give both, or neither.")
        self._given = None if rank is None or world_size is None else Rank(rank, world_size)
        self._group = group

    def current(self) -> Rank:
        """The rank that the caller gave; else that of `torch.distributed`, once it is initialized; else that of a worker of
        Ray Train; else the environment's.

        Raises:
            UsageError: the caller's rank contradicts the process group, or the rank of several is not set.
        """
        group, who = _distributed(self._group), "torch.distributed"
        if group is None:
            group, who = _ray_train(), "Ray Train"
        if self._given is not None and group not in (None, self._given):
            raise UsageError(
                f"rank and world_size contradict {who}",
                path="rank, world_size",
                expected=f"{group}, as {who} says",
                actual=self._given,
                hint="Leave rank and world_size out. Where not all ranks share the epoch, name the group that does:"
                " loader(group=...); to read all of it on each rank, iterate dataset.ordered(batch_size).",
            )
        return self._given or group or _environment() or Rank()

    def check(self, rank: Rank) -> None:
        """Checks that the process group, which may be younger than the pass, has the rank with which the pass began.

        Raises:
            UsageError: it has another.
        """
        if _distributed(self._group) not in (None, rank):
            raise UsageError(
                "the process group was initialized or changed during a pass",
                expected=rank,
                actual=_distributed(self._group),
                hint="Initialize torch.distributed before you iterate.",
            )

    def __reduce__(self) -> tuple[Any, ...]:  # groups, and their ranks, stay in their process: see InheritedRank
        return Ranks, (None, None) if self._given is None else (self._given.rank, self._given.world_size)


@dataclass(frozen=True)
class InheritedRank:
    """The rank of a process as its workers inherit it: they may have no process group.

    Attributes:
        process: the parent; only its own workers inherit from it.
        rank: the rank that they read for, or why there is none.
    """

    process: int
    rank: Rank | UsageError

    @classmethod
    def of_this_process(cls, ask: Callable[[], Rank]) -> InheritedRank:
        """The rank that this process hands on."""
        try:
            return cls(os.getpid(), ask())
        except UsageError as error:
            return cls(os.getpid(), error)

    def applies(self) -> bool:
        """True if this process is a worker of the parent."""
        return Worker.parent() == self.process


def _distributed(group: Any) -> Rank | None:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    rank = distributed.get_rank(group)
    if rank < 0:
        raise UsageError(
            "this process is not in the process group that shares the epoch",
            path="group",
            actual=group,
            hint="Iterate the loader only on the ranks of the group, or leave group out.",
        )
    return Rank(rank, distributed.get_world_size(group))


def _ray_train() -> Rank | None:
    train: Any = sys.modules.get("ray.train")
    if train is None:
        return None
    try:
        context = train.get_context()
        rank, size = context.get_world_rank(), context.get_world_size()
    except (RuntimeError, AttributeError, DeprecationWarning):  # this process is no worker, or one of Ray Tune
        return None
    return None if rank is None or size is None else Rank(rank, size)


def _environment() -> Rank | None:
    known = [pair for pair in _VARIABLES if pair[1] in os.environ]
    for rank, size in known:
        if rank in os.environ:
            try:
                return Rank(int(os.environ[rank]), int(os.environ[size]))
            except ValueError:
                actual = f"{os.environ[rank]!r} of {os.environ[size]!r}"
                raise UsageError(f"{rank} and {size} must be integers", actual=actual, hint="Unset them.") from None
    for rank, size in known:
        if os.environ[size] != "1":
            raise UsageError(
                f"{size} is {os.environ[size]!r}, but nothing says which of them this process is",
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
