"""A loader: passes over a dataset in batches, shared by ranks and workers, which can be stopped and resumed anywhere.

All ranks read one global order. At step `t` rank `r` of `w` takes the positions from `start + (t * w + r) * batch_size`
on; worker `k` of `n` takes the steps `k, k + n, ...`. Nothing else is ever decided at run time, so where a pass has
come to is one number, the same for all ranks that have taken as many steps, and means the same to any other world size.
A filter changes none of this: a step of which it leaves nothing is passed over, and is counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from atdata.dataset.epochs import EpochCounter, Pass
from atdata.dataset.frameworks import ahead, refuse_sharing, refuse_skipping
from atdata.dataset.numbers import checked_int
from atdata.dataset.order import Mode, Order
from atdata.dataset.padding import Padding
from atdata.dataset.ranks import Rank, Ranks, Told, Worker
from atdata.dataset.view import Countable, View
from atdata.errors import ResumeError, UnsizedError, UsageError
from atdata.samples import SampleBatch

T = TypeVar("T")
EqualSteps: TypeAlias = Literal["pad", "drop"]

_VERSION = 1


class _Place(NamedTuple):
    """The position of a pass: it began at `start`, and this process has taken `taken` steps since, as one of `world` ranks."""

    epoch: int
    start: int = 0
    taken: int = 0
    world: int | None = None


class Loader(Countable, Generic[T]):
    """Batches of one rank. Each pass over it is the next epoch.

    Attributes:
        view: what is read.
        batch_size: samples in a batch of one rank.
    """

    def __init__(
        self,
        view: View[T],
        batch_size: int,
        *,
        mode: Mode = "ordered",
        seed: int = 0,
        window: int,
        ranks: Ranks,
        drop_last: bool = False,
        equal_steps: EqualSteps | None = None,
    ) -> None:
        if equal_steps not in (None, "pad", "drop"):
            raise UsageError("no such rule", path="equal_steps", expected="None, 'pad' or 'drop'", actual=equal_steps)
        if equal_steps == "drop" and view.filtered:
            raise UsageError(
                "steps that a filter empties cannot be dropped: only reading can tell which these are",
                path="equal_steps",
                hint="Use equal_steps='pad', which fills them.",
            )
        self.view, self.batch_size, self._ranks = view, checked_int(batch_size, "batch_size", 1), ranks
        self._order = Order(0, mode, seed, 0, window)
        self._drop_last, self._equal_steps = drop_last, equal_steps
        self._epochs = EpochCounter()
        self._resumed = False  # whether a worker was told where to go on
        self._begun = 0  # passes that this very object has begun, in a worker
        self._pass = 0  # the number of the pass under way, in a worker
        self._told: Told | None = None
        self._ahead: str | None = None  # who reads the pass under way a batch ahead
        self._go_to(_Place(0))
        self._placed = False  # whether anybody or any pass has said which epoch is next

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """`Loader`; once PyTorch has been imported, a subclass of it that is an `IterableDataset` too.

        `isinstance` asks for this, and a DataLoader asks `isinstance` how to read what it is given; so it does not
        matter which of the loader and PyTorch was there first, and `import atdata` imports no PyTorch.
        """
        iterable = getattr(sys.modules.get("torch.utils.data"), "IterableDataset", None)
        return Loader if iterable is None else _with_base(iterable)  # none too while PyTorch is still being imported

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.__getstate__(),)  # pickle would hold the type against what `__class__` says

    def _go_to(self, place: _Place) -> None:
        """Let the next pass begin there."""
        self._next = place
        self._now: _Place | None = None
        self._ahead = None
        self._placed = True
        self._epochs.tell(place.epoch, place.start)

    @property
    def rank(self) -> Rank:
        """The rank of this process, and of how many; it is asked each time, for the process group may come late.

        Raises:
            UsageError: the loader was made for another rank than the process group says, or nothing says which it is,
                or a framework would share out again what this loader has shared.
        """
        refuse_sharing()  # in a worker too: that is where accelerate's IterableDatasetShard reads
        if self._told is not None and self._told.holds():
            if isinstance(self._told.answer, UsageError):
                raise self._told.answer
            return self._told.answer
        if not self._placed:
            refuse_skipping()
        return self._ranks.now()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_told": Told.by_this(lambda: self.rank), "_ahead": ahead()}

    # --- passes

    def __iter__(self) -> Iterator[SampleBatch[T]]:
        """The batches of the next pass.

        Raises:
            UsageError: it is not clear which rank this is; see `rank`.
            ShardError: a shard is damaged or truncated.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the dataset's type.
        """
        rank, worker = self.rank, Worker.here()
        if worker.seed is None:
            place = self._next._replace(world=rank.world_size)
            self._go_to(_Place(place.epoch + 1))
        else:
            next_ = self._next.epoch, self._next.start
            begun = self._epochs.begin(f"{worker.seed}:{self._begun}", next_, self._resumed, rank.world_size)
            self._pass = begun.number
            place = self._next._replace(world=rank.world_size) if self._resumed else _place_of(begun)
            self._resumed, self._begun = False, self._begun + 1
        self._now, self._ahead = place, ahead() or (self._ahead if worker.seed is not None else None)
        return self._batches(place, worker, rank)

    def _batches(self, place: _Place, worker: Worker, rank: Rank) -> Iterator[SampleBatch[T]]:
        order = self._order_of(place.epoch)
        step = worker.number + place.taken * worker.count
        filtered, padding = self.view.filtered, Padding(self.view, order, self.batch_size)
        numbers = self.view.numbers(order, self._positions(place.start, step, worker.count, rank))
        parted = False
        for batch in self.view.read(numbers):
            self._now = place = _Place(place.epoch, place.start, place.taken + 1, place.world)
            empty = filtered and not len(batch)
            if empty and self._equal_steps is not None:
                filled = padding.batch(place.start + (step * rank.world_size + rank.rank + 1) * self.batch_size)
                if filled is None:
                    break
                batch, empty = filled, False
            if not empty:
                batch.step = step
                yield batch
            elif worker.count > 1 and not parted:
                self._epochs.pass_over(self._pass, step)
                parted = True
            step += worker.count
        self._now, self._ahead = _Place(place.epoch + 1, world=place.world), None

    def _positions(self, start: int, first: int, stride: int, rank: Rank) -> Iterator[tuple[int, int]]:
        """Positions of a rank's batches. With `pad`, positions beyond the end stand for the epoch's first ones."""
        size, world = self.batch_size, rank.world_size
        if self._order.mode == "ordered" and (start, first, stride, world) == (0, 0, 1, 1):
            self.view.prefetch_first()
        step = first
        while True:
            self._ranks.check(rank)
            begin = start + step * size * world
            mine = begin + rank.rank * size
            if self._equal_steps is None:
                end = self.view.resolve_stop(mine + size)
                if end <= mine or (self._drop_last and end - mine < size):
                    return
            else:
                end = mine + size
                needed = begin + size * world if self._equal_steps == "drop" else begin + 1
                if self.view.resolve_stop(needed) < needed:
                    return
            yield mine, end
            step += stride

    def _order_of(self, epoch: int) -> Order:
        size = 0 if self._order.mode == "ordered" and self._equal_steps != "pad" else self.view.extent
        return Order(size, self._order.mode, self._order.seed, epoch, self._order.window)

    def __len__(self) -> int:
        """Steps of this rank in a whole epoch.

        Raises:
            UnsizedError: the samples pass a filter, and steps that it empties are passed over.
        """
        size, rank = self.batch_size, self.rank
        total, world = self.view.extent, rank.world_size
        if self._equal_steps is not None:
            return total // (size * world) if self._equal_steps == "drop" else -(-total // (size * world))
        if self.view.filtered:
            raise UnsizedError.of("the steps of a filtered dataset", "Use equal_steps='pad', which passes over none.")
        rounds, rest = divmod(total, size * world)
        rest = min(max(rest - rank.rank * size, 0), size)
        return rounds + (rest == size if self._drop_last else rest > 0)

    @property
    def epoch(self) -> int:
        """The epoch of the pass that is under way, or was begun last by workers; else of the next one."""
        return self._place().epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be this epoch, from its beginning; or where a state says that was loaded for this epoch.

        Raises:
            UsageError: a state of another epoch was loaded, and no pass has begun there yet.
        """
        epoch = checked_int(epoch, "epoch")
        waiting = self._next.start > 0 and self._now is None and self._epochs.last() is None
        if not waiting:
            self._go_to(_Place(epoch))
        elif epoch != self._next.epoch:
            raise UsageError(
                "the state that was loaded is of another epoch",
                path="epoch",
                expected=self._next.epoch,
                actual=epoch,
                hint="Set that epoch first (of a DataLoader that accelerate has prepared too), or load another state.",
            )

    # --- state

    def state_dict(self, batches: int | None = None, *, step: int | None = None) -> dict[str, Any]:
        """The position of this loader: JSON, and the same on every rank that has taken as many steps.

        Without arguments it counts what this object has given out. Where more is read than is used (by the workers of
        a DataLoader, by accelerate), it must be said what was used.

        Args:
            batches: how many batches of the pass under way were used; of a filtered dataset say `step`.
            step: `batch.step` of the last batch that was used.

        Raises:
            UsageError: it cannot be told from this where the loader is; the hint says how.
        """
        place = self._used(batches, step)
        state: dict[str, Any] = {
            "version": _VERSION,
            **self.view.fingerprint()._asdict(),
            "mode": self._order.mode,
            "seed": self._order.seed,
            "window": self._order.window,
            "epoch": place.epoch,
            "position": place.start,
        }
        world = place.world or self.rank.world_size
        if Worker.here().seed is not None:  # StatefulDataLoader keeps one state for each worker
            return {**state, "taken": place.taken, "stride": self._stride(world)}
        position = place.start + place.taken * self.batch_size * world
        needed = position + (self.batch_size * world if self._equal_steps == "drop" else 1)
        if self.view.resolve_stop(needed) < needed:
            return {**state, "epoch": place.epoch + 1, "position": 0}
        return {**state, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on where a state says. World size, workers and batch size may have changed.

        Raises:
            ResumeError: the state is of other data, of another view of them, or of another order; it says which.
        """
        if not isinstance(state, Mapping):
            raise ResumeError("a state that no loader has saved", expected="a mapping", actual=type(state).__name__)
        expected: dict[str, Any] = {
            "version": _VERSION,
            "mode": self._order.mode,
            "seed": self._order.seed,
            "window": self._order.window,
            **self.view.fingerprint()._asdict(),
        }
        state = {"pipeline": expected["pipeline"], **state}  # states that say nothing of it are older
        for name, value in expected.items():
            if not isinstance(state.get(name), int | str) or state[name] != value:
                what, hint = _REASONS[name]
                actual = repr(state.get(name))[:160]
                raise ResumeError(what, path=name, expected=repr(value)[:160], actual=actual, hint=hint)
        place = _Place(state.get("epoch", -1), state.get("position", -1), state.get("taken", 0))
        for name, number in zip(("epoch", "position", "taken"), place, strict=False):
            if not (type(number) is int and 0 <= number < 1 << 63):
                raise ResumeError("a state that no loader has saved", path=name, actual=repr(number)[:80])
        if place.start and self.view.resolve_stop(place.start + 1) <= place.start:
            raise ResumeError(
                "a position beyond the end of the epoch",
                path="position",
                expected=f"less than {self.view.extent}",
                actual=place.start,
            )
        if place.taken and state.get("stride") != (stride := self._stride(self.rank.world_size)):
            raise ResumeError(
                "a state of one of several workers, which means the same only to as many ranks, workers and samples",
                path="stride",
                expected=f"{stride} samples from one step of a worker to its next: all ranks' and workers' batches",
                actual=repr(state.get("stride"))[:80],
                hint="Resume with the same numbers and batch size. The loader's own state_dict(batches=n) suits any.",
            )
        if Worker.here().seed is None:
            self._go_to(place)
        else:  # it is one of several, and the count of passes is theirs together
            self._next, self._resumed = place, True

    def _place(self) -> _Place:
        """The position of the pass that was begun last, as far as this object knows; else where the next one begins."""
        last = self._epochs.last() if Worker.here().seed is None else None
        return _place_of(last) if last is not None else self._now or self._next

    def _used(self, batches: int | None, step: int | None) -> _Place:
        """The position of the pass under way, by what was used of it."""
        place, last = self._place(), self._epochs.last() if Worker.here().seed is None else None
        if step is not None:
            if batches is not None:
                raise UsageError("what was used is said by its batches or by its last step", actual="both")
            if last is not None and last.passed_over is not None and last.passed_over < step:
                raise UsageError(
                    "workers passed over steps that the filter had emptied, so batches do not come in the order of steps",
                    path="step",
                    actual=step,
                    hint="Use torchdata's StatefulDataLoader, one worker, or equal_steps='pad'.",
                )
            return place._replace(taken=checked_int(step, "step") + 1)
        if batches is not None:
            if self.view.filtered and self._equal_steps is None:
                raise UsageError(
                    "steps that the filter empties are passed over, so a number of batches does not tell the step",
                    path="batches",
                    hint="Say the step of the last batch that was used: state_dict(step=batch.step).",
                )
            return place._replace(taken=checked_int(batches, "batches"))
        if last is not None:
            raise UsageError(
                "workers read ahead, so the loader cannot know what was used",
                hint="Say how many batches of this pass were used, state_dict(batches=n), or the step of the last one,"
                " state_dict(step=batch.step).",
            )
        if self._ahead is not None and place.taken:
            raise UsageError(
                f"{self._ahead} reads one batch ahead, so the loader cannot know what was used",
                hint="Say how many batches of this pass were used, state_dict(batches=n), or the step of the last one,"
                " state_dict(step=batch.step). Lightning reads none ahead of a loader with equal_steps='pad'.",
            )
        return place

    def _stride(self, world: int) -> int:
        """The positions from one step of this worker to its next."""
        return self.batch_size * world * Worker.here().count


@lru_cache(maxsize=1)
def _with_base(base: type[Any]) -> type[Any]:
    return type("Loader", (Loader, base), {"__module__": __name__})


def _restored(state: dict[str, Any]) -> Loader[Any]:
    loader: Loader[Any] = Loader.__new__(Loader)
    vars(loader).update(state)
    return loader


def _place_of(begun: Pass) -> _Place:
    return _Place(begun.epoch, begun.start, 0, begun.world)


_REASONS = {
    "version": (
        "the state has a version that this release of atdata does not read",
        "Resume with the release of atdata that saved it.",
    ),
    "mode": ("the state was saved in another order", "Make the loader with the same shuffle=."),
    "seed": ("the state was saved with another seed", "Make the loader with the same seed=."),
    "window": ("the state was saved with another window", "Make the loader with the same window=."),
    "plan": (
        "the state was saved over other shards or another selection of samples",
        "Make the loader of the same dataset, or begin anew: loader.set_epoch(n).",
    ),
    "pipeline": (
        "the state was saved over another view of the same samples",
        "Make the loader of a dataset with the same as_type, columns, map and filter, or begin anew: loader.set_epoch(n).",
    ),
}
