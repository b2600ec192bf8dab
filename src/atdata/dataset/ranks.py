"""Which part of an epoch this process reads: ranks of a training run, and workers of a DataLoader."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

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

    @classmethod
    def of(cls, rank: int | None, world_size: int | None) -> Rank:
        """What the caller says; else what `torch.distributed` says once it is initialized; else the environment.

        Raises:
            UsageError: a rank without a world size, or one outside it.
        """
        if (rank is None) != (world_size is None):
            raise UsageError("rank and world_size go together", actual=f"rank {rank}, world_size {world_size}")
        if rank is None or world_size is None:
            rank, world_size = _distributed() or _environment() or (0, 1)
        if not 0 <= rank < world_size:
            raise UsageError("a rank is less than the world size", actual=f"rank {rank} of {world_size}")
        return cls(rank, world_size)


def _distributed() -> tuple[int, int] | None:
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _environment() -> tuple[int, int] | None:
    for rank, size in _VARIABLES:
        if rank in os.environ and size in os.environ:
            try:
                return int(os.environ[rank]), int(os.environ[size])
            except ValueError:
                actual = f"{os.environ[rank]!r} of {os.environ[size]!r}"
                raise UsageError(f"{rank} and {size} are no numbers", actual=actual) from None
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
