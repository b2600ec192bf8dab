"""The forms in which batches leave a loader, and samples a dataset: as they are, or as dicts of columns; alone, or to a DataLoader, which
collates what it is given.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np

from atdata.dataset import segments
from atdata.dataset.frameworks import collates, keep_as_they_are
from atdata.dataset.segments import Lease, begin_lending, receive
from atdata.errors import UsageError
from atdata.samples import DictSample, PackableSample, SampleBatch
from atdata.samples.numeric import to_jax
from atdata.samples.torch import tensor

Format: TypeAlias = Literal["torch", "jax"]
FORMATS: tuple[str, ...] = get_args(Format)


class Outgoing(dict[str, Any]):
    """Columns by name on their way out of a DataLoader, at whose end they are a plain dict."""

    def arrived(self) -> dict[str, Any]:
        """The plain dict."""
        return dict(self)

    def __copy__(self) -> Self:
        return type(self)(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (type(self), dict(self))

    def untied(self) -> tuple[Any, ...]:
        """The same, with arrays for tensors."""
        torch: Any = sys.modules.get("torch")
        known = {name for name, value in self.items() if torch is not None and type(value) is torch.Tensor}
        names = [name for name in known if self[name].layout is torch.strided and self[name].device.type == "cpu"]
        return _arrived, (type(self), {**self, **{name: self[name].numpy() for name in names}}, names)


class OutgoingJax(Outgoing):
    """Columns that are arrays of JAX once they are in the process that reads: workers don't have its devices."""

    def arrived(self) -> dict[str, Any]:
        """See `Outgoing`."""
        return to_jax({name: value.numpy() if hasattr(value, "numpy") else value for name, value in self.items()})


def _arrived(kind: type[Outgoing], columns: dict[str, Any], tensors: Sequence[str] = ()) -> dict[str, Any]:
    for name in tensors:
        columns[name] = tensor(name, columns[name])
    return kind(columns).arrived()


def delivery(format: Format | None, in_worker: bool) -> Callable[[SampleBatch[Any]], Any]:  # noqa: A002
    """The function that turns each batch into what a pass over a loader gives.

    Args:
        format: of the caller.
        in_worker: true in a worker of a DataLoader.
    """
    extend_collation()
    if in_worker:
        begin_lending()
    if format is None:
        return _itself
    keep_as_they_are()
    if in_worker or collates():
        return _DELIVERIES[format]
    return SampleBatch.to_torch if format == "torch" else SampleBatch.to_jax


def _itself(batch: SampleBatch[Any]) -> SampleBatch[Any]:
    return batch


def _torch_columns(batch: SampleBatch[Any]) -> Outgoing:
    return Outgoing(batch.to_torch())


def _jax_columns(batch: SampleBatch[Any]) -> Outgoing:
    return OutgoingJax(batch._forms())


_DELIVERIES: dict[str, Callable[[SampleBatch[Any]], Outgoing]] = {"torch": _torch_columns, "jax": _jax_columns}


def extend_collation() -> None:
    """Have PyTorch's `default_collate`, if it has been imported, put samples side by side, and leave batches whole."""
    known: Any = getattr(sys.modules.get("torch.utils.data._utils.collate"), "default_collate_fn_map", None)
    if known is not None and SampleBatch not in known:
        known |= dict.fromkeys((SampleBatch, Outgoing), _whole)
        known |= dict.fromkeys((PackableSample, DictSample), _side_by_side)


def items(samples: list[Any]) -> list[Any]:
    """Samples, and whatever else a map gives, as a DataLoader can collate them: PyTorch takes no arrays in another byte order."""
    extend_collation()
    return [sample if isinstance(sample, PackableSample | DictSample) else _native(sample) for sample in samples]


def convert_samples() -> None:
    """Have a DataLoader that reads samples one by one convert their arrays to tensors."""
    keep_as_they_are(_converted)


def _converted(sample: Any) -> Any:
    if isinstance(sample, DictSample):
        return {name: tensor(name, value) if isinstance(value, np.ndarray) else value for name, value in sample.items()}
    return sys.modules["torch.utils.data"].default_convert(_native(sample))


def _native(value: Any) -> Any:
    """The same with arrays in this machine's byte order."""
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("="), copy=False)
    if type(value) is dict:
        return {key: _native(item) for key, item in value.items()}
    return type(value)(map(_native, value)) if type(value) in (list, tuple) else value


def _side_by_side(samples: Sequence[Any], **_: Any) -> dict[str, Any]:
    return SampleBatch.of(type(samples[0]), samples).to_torch()


def _whole(batches: Sequence[Any], **_: Any) -> Any:
    if len(batches) == 1:
        leaves = isinstance(batches[0], Outgoing) and sys.modules["torch.utils.data"].get_worker_info() is None
        return batches[0].arrived() if leaves else batches[0]
    raise UsageError(
        "a loader gives batches, of which a DataLoader would put several into one",
        path="batch_size",
        expected="None",
        actual=f"{len(batches)} or more",
        hint="Say how many samples a batch has to the loader, and leave batches whole: "
        "DataLoader(dataset.loader(batch_size), batch_size=None, num_workers=n).",
    )


# From a worker to the process that reads: arrays by memory that both have, the rest by the pipe.

_SMALL = 1 << 13  # bytes; what has less goes by the pipe
_BETWEEN = "\0"


def _sent(batch: SampleBatch[Any] | Outgoing) -> tuple[Any, ...]:
    """The way `multiprocessing` sends a batch: without its arrays and its text, which are lent."""
    pool = segments.pool
    if pool is None:
        return batch.__reduce__()
    make, arguments = batch.untied() if isinstance(batch, Outgoing) else batch.__reduce__()
    kind, columns, *others = arguments
    texts = {name: joined for name, column in columns.items() if (joined := _joined(column)) is not None}
    large: list[Any] = []

    def place(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _SMALL:
            return True
        large.append(raw)
        return False

    pickled = pickle.dumps((kind, {**columns, **texts}, *others), 5, buffer_callback=place)
    lent = pool.lend(large) if large else ((), ())
    return (make, arguments) if lent is None else (_received, (make, pickled, tuple(texts), *lent))


def _received(
    make: Callable[..., Any], pickled: bytes, texts: Sequence[str], leases: Sequence[Lease], places: Any
) -> Any:
    buffers = receive(leases, places) if leases else ()
    kind, columns, *others = pickle.loads(pickled, buffers=buffers)  # noqa: S301  of a worker of this process
    for name in texts:
        columns[name] = str(columns[name], "utf-8", "surrogatepass").split(_BETWEEN)
    return make(kind, columns, *others)


def _joined(column: Any) -> pickle.PickleBuffer | None:
    """A column of text as one buffer, if it is one and none has in it what stands between them."""
    if type(column) is not list or not column or [*map(type, column)].count(str) < len(column):
        return None
    whole = _BETWEEN.join(column)
    if whole.count(_BETWEEN) >= len(column):
        return None
    return pickle.PickleBuffer(whole.encode("utf-8", "surrogatepass"))


for _kind in (SampleBatch, Outgoing, OutgoingJax):
    ForkingPickler.register(_kind, _sent)
