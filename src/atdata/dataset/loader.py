"""A loader: passes over a dataset in batches, shared by ranks and workers, which can be stopped and resumed anywhere.

All ranks read one global order. At step `t` rank `r` of `w` takes the positions from `start + (t * w + r) * batch_size`
on; worker `k` of `n` takes the steps `k, k + n, ...`. Nothing else is decided at run time, so the progress of a pass is
one number, the same for all ranks that have taken as many steps, and means the same to any other world size. A filter
changes none of this: a step of which it leaves nothing is skipped, and is counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from atdata.dataset.delivery import FORMATS, Format, delivery
from atdata.dataset.epochs import EpochCounter, PassProgress
from atdata.dataset.frameworks import prefetching_framework, refuse_sampling, refuse_sharing, refuse_skipping
from atdata.dataset.mixture import of_epoch, reweighted, settled, weighed, weighing
from atdata.dataset.order import Mode, Order
from atdata.dataset.padding import Padding
from atdata.dataset.ranks import InheritedRank, Rank, Ranks, Worker
from atdata.dataset.resuming import check_identity, number_in
from atdata.dataset.view import MaybeSized, View
from atdata.errors import ResumeError, UnsizedError, UsageError
from atdata.numbers import checked_int
from atdata.samples import SampleBatch

B = TypeVar("B")  # what a loader gives: batches, or dicts of their columns
EqualSteps: TypeAlias = Literal["pad", "drop"]

_VERSION = 1
_STATEFUL = (
    "Batches with format= do not say their step. Let torchdata count: batches = StatefulDataLoader(loader, batch_size=None,"
    " num_workers=n), and batches.state_dict(); or leave format= out; or use equal_steps='pad', which skips no step."
)


class Loader(MaybeSized, Generic[B]):
    """Batches of one rank, or dicts of their columns. Each pass over it is the next epoch.

    Attributes:
        view: what is read.
        batch_size: samples in a batch of one rank.
    """

    def __init__(
        self,
        view: View[Any],
        batch_size: int,
        *,
        mode: Mode = "ordered",
        seed: int = 0,
        window: int,
        ranks: Ranks,
        drop_last: bool = False,
        equal_steps: EqualSteps | None = None,
        format: Format | None = None,  # noqa: A002
    ) -> None:
        if format not in (None, *FORMATS):
            expected = ", ".join(map(repr, (None, *FORMATS)))
            raise UsageError("unknown format", path="format", expected=expected, actual=format)
        if equal_steps not in (None, "pad", "drop"):
            expected = "None, 'pad' or 'drop'"
            raise UsageError("unknown value of equal_steps", path="equal_steps", expected=expected, actual=equal_steps)
        if equal_steps == "drop" and view.filtered:
            raise UsageError(
                "equal_steps='drop' does not work with a filter: which steps it empties is known by reading only",
                path="equal_steps",
                hint="Use equal_steps='pad', which fills them.",
            )
        self.view, self.batch_size, self._ranks = view, checked_int(batch_size, "batch_size", 1), ranks
        self._order = Order(0, mode, seed, 0, window)
        self._drop_last, self._equal_steps = drop_last, equal_steps
        self._format = format
        self._epochs = EpochCounter()
        self._resumed = False  # whether a state was loaded in a worker
        self._passes = 0  # that this very object has begun, in a worker
        self._pass_number = 0  # of the current pass, in a worker
        self._inherited: InheritedRank | None = None
        self._prefetcher: str | None = None  # the framework that prefetches a batch of the current pass
        self._set_next(PassProgress(0))
        self._epoch_is_set = False  # by a caller or by a pass before

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """`Loader`; once PyTorch has been imported, a subclass of it that is an `IterableDataset` too.

        `isinstance` asks for this, and a DataLoader asks `isinstance` how to read its dataset; so it does not matter
        which of the loader and PyTorch was there first, and `import atdata` imports no PyTorch.
        """
        iterable = getattr(sys.modules.get("torch.utils.data"), "IterableDataset", None)
        refuse_sampling()
        return Loader if iterable is None else _class_with(iterable)  # none too while PyTorch is still being imported

    def __reduce__(self) -> tuple[Any, ...]:
        return object.__new__, (Loader,), self.__getstate__()  # else pickle compares the type with `__class__`

    def _set_next(self, progress: PassProgress) -> None:
        """Set where the next pass begins."""
        self._next = progress
        self._current: PassProgress | None = None
        self._prefetcher = None
        self._epoch_is_set = True
        self._epochs.set_next(progress.epoch, progress.start, weighing(self.view))

    @property
    def rank(self) -> Rank:
        """The rank of this process, and of how many; it is looked up each time, since the process group may come late.

        Raises:
            UsageError: the loader was made for another rank than that of the process group, or the rank of several is
                not set, or a framework would split this rank's share among the ranks again.
        """
        refuse_sharing()  # in a worker too: that is where accelerate's IterableDatasetShard reads
        if self._inherited is not None and self._inherited.applies():
            if isinstance(self._inherited.rank, UsageError):
                raise self._inherited.rank
            return self._inherited.rank
        if not self._epoch_is_set:
            refuse_skipping()
        return self._ranks.current()

    def __getstate__(self) -> dict[str, Any]:
        inherited = InheritedRank.of_this_process(lambda: self.rank)
        return {**self.__dict__, "_inherited": inherited, "_prefetcher": prefetching_framework()}

    # --- passes

    def __iter__(self) -> Iterator[B]:
        """The batches of the next pass.

        Raises:
            UsageError: it is not clear which rank this is; see `rank`.
            ShardError: a shard is damaged or truncated.
            DigestError: a shard is not the one that was published.
            SampleError: a sample is not of the dataset's type.
        """
        rank, worker = self.rank, Worker.here()
        if worker.seed is None:
            progress = self._next._replace(world=rank.world_size)
            self._set_next(PassProgress(progress.epoch + 1))
        else:
            next_ = self._next.epoch, self._next.start, weighing(self.view)
            current = self._epochs.start_pass(f"{worker.seed}:{self._passes}", next_, self._resumed, rank.world_size)
            place = {"epoch": current.epoch, "position": current.start}
            self.view = weighed(self.view, {**current.weighing, **place})
            self._pass_number = current.number
            progress = self._next._replace(world=rank.world_size) if self._resumed else PassProgress.of(current)
            self._resumed, self._passes = False, self._passes + 1
        inherited = self._prefetcher if worker.seed is not None else None
        self._current, self._prefetcher = progress, prefetching_framework() or inherited
        return map(delivery(self._format, worker.seed is not None), self._batches(progress, worker, rank))

    def _batches(self, progress: PassProgress, worker: Worker, rank: Rank) -> Iterator[SampleBatch[Any]]:
        begun, view = self.view, of_epoch(self.view, progress.epoch)
        order = self._order_of(view, progress.epoch)
        step = worker.number + progress.taken * worker.count
        filtered, padding = view.filtered, Padding(view, order, self.batch_size)
        numbers = view.numbers(order, self._positions(view, progress.start, step, worker.count, rank))
        has_skipped = False
        for batch in view.read(numbers):
            if self.view is not begun:
                hint = "Begin the next one, which goes on where they were changed: for batch in loader."
                raise UsageError("the weights of the mixture were changed during this pass", hint=hint)
            self._current = progress = PassProgress(progress.epoch, progress.start, progress.taken + 1, progress.world)
            empty = filtered and not len(batch)
            if empty and self._equal_steps is not None:
                kept = padding.batch(progress.start + (step * rank.world_size + rank.rank + 1) * self.batch_size)
                if kept is None:
                    break
                batch, empty = kept, False
            if not empty:
                batch.step = step
                yield batch
            elif worker.count > 1 and not has_skipped:
                self._epochs.note_skipped(self._pass_number, step)
                has_skipped = True
            step += worker.count
        self._current, self._prefetcher = PassProgress(progress.epoch + 1, world=progress.world), None

    def _positions(self, view: View[Any], start: int, first: int, stride: int, rank: Rank) -> Iterator[tuple[int, int]]:
        """Positions of a rank's batches. With `pad`, positions beyond the end stand for the epoch's first ones."""
        size, world = self.batch_size, rank.world_size
        if self._order.mode == "ordered" and (start, first, stride, world) == (0, 0, 1, 1):
            view.prefetch_first()
        step = first
        while True:
            self._ranks.check(rank)
            begin = start + step * size * world
            mine = begin + rank.rank * size
            if self._equal_steps is None:
                end = view.resolve_stop(mine + size)
                if end <= mine or (self._drop_last and end - mine < size):
                    return
            else:
                end = mine + size
                needed = begin + size * world if self._equal_steps == "drop" else begin + 1
                if view.resolve_stop(needed) < needed:
                    return
            yield mine, end
            step += stride

    def _order_of(self, view: View[Any], epoch: int) -> Order:
        size = 0 if self._order.mode == "ordered" and self._equal_steps != "pad" else view.extent
        return Order(size, self._order.mode, self._order.seed, epoch, self._order.window)

    def __len__(self) -> int:
        """Steps of this rank in the whole epoch that is `epoch`.

        Raises:
            UnsizedError: the samples are filtered, and steps that the filter empties are skipped.
        """
        size, rank = self.batch_size, self.rank
        total, world = of_epoch(self.view, self.epoch).extent, rank.world_size
        if self._equal_steps is not None:
            return total // (size * world) if self._equal_steps == "drop" else -(-total // (size * world))
        if self.view.filtered:
            raise UnsizedError.of("the steps of a filtered dataset", "Use equal_steps='pad', which skips none.")
        rounds, rest = divmod(total, size * world)
        rest = min(max(rest - rank.rank * size, 0), size)
        return rounds + (rest == size if self._drop_last else rest > 0)

    @property
    def epoch(self) -> int:
        """The epoch of the current pass, or of that which workers began last; else of the next one."""
        return self._progress().epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass. It starts at the beginning, or where a state was loaded that is of this epoch.

        Raises:
            UsageError: a state of another epoch was loaded, and no pass has started there yet.
        """
        epoch = checked_int(epoch, "epoch")
        waiting = self._next.start > 0 and self._current is None and self._epochs.last() is None
        if not waiting:
            self.view = settled(self.view)
            self._set_next(PassProgress(epoch))
        elif epoch != self._next.epoch:
            raise UsageError(
                "the loaded state is of another epoch",
                path="epoch",
                expected=self._next.epoch,
                actual=epoch,
                hint="Set that epoch first (of a DataLoader that accelerate has prepared too), or load another state.",
            )

    # --- state

    def state_dict(self, batches: int | None = None, *, step: int | None = None) -> dict[str, Any]:
        """The position of this loader: JSON, and the same on every rank that has taken as many steps.

        Without arguments it counts the batches that this object has yielded. Where batches are prefetched (by the
        workers of a DataLoader, by accelerate), one of the arguments must tell how many were used.

        Args:
            batches: the number of batches of the current pass that were used; for a filtered dataset give `step`.
            step: `batch.step` of the last batch that was used.

        Raises:
            UsageError: the arguments do not tell what was used, or more than the pass has.
        """
        progress = self._used(batches, step)
        state = {**self._identity(), **weighing(self.view), "epoch": progress.epoch, "position": progress.start}
        world = progress.world or self.rank.world_size
        if Worker.here().seed is not None:  # StatefulDataLoader keeps one state for each worker
            return {**state, "taken": progress.taken, "stride": self._stride(world)}
        position = progress.start + progress.taken * self.batch_size * world
        needed = position + (self.batch_size * world if self._equal_steps == "drop" else 1)
        if of_epoch(self.view, progress.epoch).resolve_stop(needed) < needed:
            return {**state, "epoch": progress.epoch + 1, "position": 0}
        return {**state, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the next pass where a state was saved. World size, workers and batch size may have changed.

        Raises:
            ResumeError: the state is of other data, of another view of them, or of another order; it says which.
        """
        check_identity(state, self._identity())
        progress = PassProgress(*map(partial(number_in, state), ("epoch", "position", "taken"), (-1, -1, 0)))
        view = weighed(self.view, state)
        now = of_epoch(view, progress.epoch)
        if progress.start and now.resolve_stop(progress.start + 1) <= progress.start:
            raise ResumeError(
                "the position in the state is beyond the end of the epoch",
                path="position",
                expected=f"less than {now.extent}",
                actual=progress.start,
                hint="Load the state as it was saved, or begin anew: loader.set_epoch(n).",
            )
        if progress.taken and state.get("stride") != (stride := self._stride(self.rank.world_size)):
            raise ResumeError(
                "the state is of one of several workers, and fits only as many ranks and workers and the same batch size",
                path="stride",
                expected=f"{stride} samples from one step of a worker to its next: all ranks' and workers' batches",
                actual=repr(state.get("stride"))[:80],
                hint="Resume with the same numbers and batch size. The loader's own state_dict(batches=n) suits any.",
            )
        self.view = view
        if Worker.here().seed is None:
            self._set_next(progress)
        else:  # one of several, which count passes together
            self._next, self._resumed = progress, True

    def set_weights(self, weights: Sequence[Any], batches: int | None = None, *, step: int | None = None) -> None:
        """Give the datasets of a mixture other weights from this place of the run on; the state keeps them. The next pass goes
        on there, and gives each what it is owed by then. All ranks must do so after the same step.

        Args:
            weights: one for each dataset, in order.
            batches: as for `state_dict`.
            step: likewise.

        Raises:
            UsageError: the loader is over no mixture, a weight is no number, negative or not finite, or the arguments do
                not tell what was used.
        """
        state = self.state_dict(batches, step=step)
        self.load_state_dict({**state, **reweighted(self.view, weights, state)})

    def _identity(self) -> dict[str, Any]:
        """The part of a state that a loader must share to load it."""
        order = {name: getattr(self._order, name) for name in ("mode", "seed", "window")}
        return {"version": _VERSION, **order, **self.view.fingerprint()._asdict()}

    def _progress(self) -> PassProgress:
        """The progress of the pass that was started last, as far as this object knows; else the start of the next one."""
        last = self._epochs.last() if Worker.here().seed is None else None
        return PassProgress.of(last) if last is not None else self._current or self._next

    def _used(self, batches: int | None, step: int | None) -> PassProgress:
        """The progress of the current pass, counting the batches that were used."""
        progress, last = self._progress(), self._epochs.last() if Worker.here().seed is None else None
        if step is not None:
            if batches is not None:
                raise UsageError("batches and step exclude each other", actual="both", hint="Give one of them.")
            if last is not None and last.skipped is not None and last.skipped < step:
                raise UsageError(
                    "workers skip steps that the filter empties, so batches do not come in the order of steps",
                    path="step",
                    actual=step,
                    hint="Use torchdata's StatefulDataLoader, one worker, or equal_steps='pad'.",
                )
            return self._in_epoch(progress._replace(taken=checked_int(step, "step") + 1), "step", step)
        if batches is not None:
            if self.view.filtered and self._equal_steps is None:
                raise UsageError(
                    "steps that the filter empties are skipped, so a number of batches does not tell the step",
                    path="batches",
                    hint=self._how,
                )
            return self._in_epoch(progress._replace(taken=checked_int(batches, "batches")), "batches", batches)
        hint = self._how
        if last is not None:
            raise UsageError("workers prefetch batches, so the loader cannot know how many were used", hint=hint)
        if self._prefetcher is not None and progress.taken:
            raise UsageError(
                f"{self._prefetcher} prefetches one batch, so the loader cannot know how many were used",
                hint=f"{hint} Lightning prefetches none of a loader with equal_steps='pad'.",
            )
        return progress

    @property
    def _how(self) -> str:
        """The line that tells what of this loader was used where something reads ahead."""
        by_step = "the step of the last batch that was used: state_dict(step=batch.step)."
        if self.view.filtered and self._equal_steps is None:
            return f"Give {by_step}" if self._format is None else _STATEFUL
        by_count = "the number of batches of this pass that were used: state_dict(batches=n)"
        return f"Give {by_count}." if self._format else f"Give {by_count}; or {by_step}"

    def _in_epoch(self, progress: PassProgress, path: str, given: int) -> PassProgress:
        """The progress, if the epoch has so many steps."""
        size = self.batch_size * (progress.world or self.rank.world_size)
        view = of_epoch(self.view, progress.epoch)
        needed = progress.start + (progress.taken - 1) * size + (size if self._equal_steps == "drop" else 1)
        if progress.taken and (end := view.resolve_stop(needed)) < needed:
            steps = (end - progress.start + (0 if self._equal_steps == "drop" else size - 1)) // size
            raise UsageError(
                "the pass has fewer steps",
                path=path,
                expected=f"{steps} steps at most, and {path}={steps - (path == 'step')}",
                actual=given,
                hint="Count those of this pass alone, which may have begun in the middle of an epoch.",
            )
        return progress

    def _stride(self, world: int) -> int:
        """The positions from one step of this worker to its next."""
        return self.batch_size * world * Worker.here().count


@lru_cache(maxsize=1)
def _class_with(base: type[Any]) -> type[Any]:
    return type("Loader", (Loader, base), {"__module__": __name__})
