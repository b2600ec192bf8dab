"""A loader: passes over a dataset in batches, shared by ranks and workers, which can be stopped and resumed anywhere.

All ranks read one global order. At step `t` rank `r` of `w` takes the positions from `start + (t * w + r) * batch_size`
on; worker `k` of `n` takes the steps `k, k + n, ...`. Nothing else is ever decided at run time, so where a pass has
come to is one number, the same for all ranks that have taken as many steps, and means the same to any other world size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from atdata.dataset.order import Mode, Order
from atdata.dataset.passes import Pass, Passes
from atdata.dataset.pipeline import checked_size
from atdata.dataset.ranks import Rank, Worker
from atdata.errors import ResumeError, UsageError
from atdata.samples import SampleBatch

if TYPE_CHECKING:
    from atdata.dataset.dataset import Dataset

T = TypeVar("T")
EqualSteps: TypeAlias = Literal["pad", "drop"]

_VERSION = 1


class _Place(NamedTuple):
    """Where a pass is: it began at `start`, and this process has taken `taken` steps since."""

    epoch: int
    start: int = 0
    taken: int = 0


class Loader(Generic[T]):
    """Batches of one rank. Each pass over it is the next epoch.

    Attributes:
        dataset: what is read.
        batch_size: samples in a batch of one rank.
        rank: which rank this is, and of how many.
    """

    def __init__(
        self,
        dataset: Dataset[T],
        batch_size: int,
        *,
        mode: Mode = "ordered",
        seed: int = 0,
        window: int,
        rank: Rank,
        drop_last: bool = False,
        equal_steps: EqualSteps | None = None,
    ) -> None:
        if equal_steps not in (None, "pad", "drop"):
            raise UsageError("no such rule", path="equal_steps", expected="None, 'pad' or 'drop'", actual=equal_steps)
        self.dataset, self.batch_size, self.rank = dataset, checked_size(batch_size), rank
        self._order = Order(0, mode, seed, 0, window)
        self._drop_last, self._equal_steps = drop_last, equal_steps
        self._go_to(_Place(0))

    def _go_to(self, place: _Place) -> None:
        """Let the next pass begin there."""
        self._next = place
        self._now: _Place | None = None
        self._passes = Passes()
        self._resumed = False  # whether a worker was told where to go on
        self._begun = 0  # passes that this very object has begun since, in a worker

    # --- passes

    def __iter__(self) -> Iterator[SampleBatch[T]]:
        """The batches of the next pass.

        Raises:
            ShardError: a shard is damaged or truncated.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the dataset's type.
        """
        worker = Worker.here()
        if worker.seed is None:
            place = self._next
            self._go_to(_Place(place.epoch + 1))
        else:
            resumed = self._next.epoch if self._resumed else None
            begun = self._passes.begin(f"{worker.seed}:{self._begun}", self._next.epoch, resumed)
            place = self._next if self._resumed else self._after(begun)
            self._resumed, self._begun = False, self._begun + 1
        self._now = place
        return self._batches(place, worker)

    def _after(self, begun: Pass) -> _Place:
        return _Place(begun.epoch) if begun.number else self._next

    def _batches(self, place: _Place, worker: Worker) -> Iterator[SampleBatch[T]]:
        order = self._order_of(place.epoch)
        first = worker.number + place.taken * worker.count
        numbers = self.dataset.numbers(order, self._steps(place.start, first, worker.count))
        for batch in self.dataset.read(numbers):
            place = place._replace(taken=place.taken + 1)
            self._now = place
            yield batch
        self._now = _Place(place.epoch + 1)

    def _steps(self, start: int, first: int, stride: int) -> Iterator[tuple[int, int]]:
        """Positions of this rank's batches. With `pad`, positions beyond the end stand for the epoch's first ones."""
        size, world = self.batch_size, self.rank.world_size
        if self._order.mode == "ordered" and (start, first, stride, world) == (0, 0, 1, 1):
            self.dataset.begin()
        step = first
        while True:
            begin = start + step * size * world
            mine = begin + self.rank.rank * size
            if self._equal_steps is None:
                end = self.dataset.reach(mine + size)
                if end <= mine or (self._drop_last and end - mine < size):
                    return
            else:
                end = mine + size
                needed = begin + size * world if self._equal_steps == "drop" else begin + 1
                if self.dataset.reach(needed) < needed:
                    return
            yield mine, end
            step += stride

    def _order_of(self, epoch: int) -> Order:
        size = 0 if self._order.mode == "ordered" and self._equal_steps != "pad" else self.dataset.extent
        return Order(size, self._order.mode, self._order.seed, epoch, self._order.window)

    def __getitem__(self, step: int) -> SampleBatch[T]:
        """Not by number: here to tell a DataLoader's user why.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "a loader is iterated",
            hint="For a DataLoader, import torch before you make the loader, and pass batch_size=None.",
        )

    def __len__(self) -> int:
        """Steps of this rank in a whole epoch; with a filter some of them may be empty."""
        size, world, total = self.batch_size, self.rank.world_size, self.dataset.extent
        if self._equal_steps is not None:
            return total // (size * world) if self._equal_steps == "drop" else -(-total // (size * world))
        rounds, rest = divmod(total, size * world)
        rest = min(max(rest - self.rank.rank * size, 0), size)
        return rounds + (rest == size if self._drop_last else rest > 0)

    @property
    def epoch(self) -> int:
        """The epoch of the pass that is under way, or was begun last by workers; else of the next one."""
        if self._now is not None:
            return self._now.epoch
        last = self._passes.last()
        return self._next.epoch if last is None else self._after(last).epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be this epoch, from its beginning."""
        if epoch < 0:
            raise UsageError("an epoch is not negative", path="epoch", actual=epoch)
        self._go_to(_Place(epoch))

    # --- state

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where this loader is: JSON, and the same on every rank that has taken as many steps.

        Args:
            batches: how many batches of the pass under way were used. Without it, as many as this object has
                given out; it must be said where a DataLoader's workers read ahead of what was used.
        """
        place = self._place(batches)
        state: dict[str, Any] = {
            "version": _VERSION,
            "plan": self._plan(),
            "mode": self._order.mode,
            "seed": self._order.seed,
            "window": self._order.window,
            "epoch": place.epoch,
            "position": place.start,
        }
        if Worker.here().seed is not None:  # StatefulDataLoader keeps one state for each worker
            return {**state, "taken": place.taken}
        position = place.start + place.taken * self.batch_size * self.rank.world_size
        if self._is_end(position):
            return {**state, "epoch": place.epoch + 1, "position": 0}
        return {**state, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on where a state says. World size, workers and batch size may have changed.

        Raises:
            ResumeError: the state is of other data, or of another order; it says which.
        """
        expected: dict[str, Any] = {
            "version": _VERSION,
            "mode": self._order.mode,
            "seed": self._order.seed,
            "window": self._order.window,
            "plan": self._plan(),
        }
        for name, value in expected.items():
            if state.get(name) != value:
                raise ResumeError(_REASONS[name], path=name, expected=value, actual=state.get(name))
        place = _Place(state.get("epoch", -1), state.get("position", -1), state.get("taken", 0))
        if not all(type(number) is int and number >= 0 for number in place):
            raise ResumeError("a state that no loader has saved", actual=repr(dict(state))[:200])
        if Worker.here().seed is None:
            self._go_to(place)
        else:  # it is one of several, and the count of passes is theirs together
            self._next, self._resumed = place, True

    def _place(self, batches: int | None) -> _Place:
        if self._now is not None:
            return self._now if batches is None else self._now._replace(taken=batches)
        last = self._passes.last()
        place = self._next if last is None else self._after(last)
        if batches is None and last is not None:
            raise UsageError(
                "workers read ahead, so the loader cannot know what was used",
                hint="Say how many batches of this pass were used: state_dict(batches=n).",
            )
        return place if batches is None else place._replace(taken=place.taken + batches)

    def _is_end(self, position: int) -> bool:
        needed = position + (self.batch_size * self.rank.world_size if self._equal_steps == "drop" else 1)
        return self.dataset.reach(needed) < needed

    def _plan(self) -> str:
        """A digest of what the positions of an epoch stand for."""
        return hashlib.sha256(self.dataset.fingerprint().encode()).hexdigest()


_REASONS = {
    "version": "a state that this version of atdata does not know",
    "mode": "the state is of another order",
    "seed": "the state is of another seed",
    "window": "the state is of another window",
    "plan": "the data are not those that the state was saved for",
}
