"""The work on one shard: its samples through a function, to a shard whose manifest says what it was made of.

The same work writes the same bytes under the same name, so that it may be done again at any time, by any process.
"""

from __future__ import annotations

import traceback
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

from atdata.dataset.iteration import Samples
from atdata.dataset.order import Order
from atdata.dataset.reading.table import ShardTable
from atdata.dataset.transforms import Filter, Map, Transform, function_name
from atdata.dataset.view import ShardView, pipeline_of, shard_view
from atdata.errors import AtdataError, SampleError, UsageError
from atdata.manifest import ManifestWriter
from atdata.samples import DictSample, PackableSample, fields_of
from atdata.shards import Digest, Limits, ShardRef, cut_shards
from atdata.shards.file_pattern import FilePattern
from atdata.shards.proving import sha256_of
from atdata.shards.writer import SampleRow

_MOST_LINES = 60


class ShardSamples(Iterator[Any]):
    """The samples of one shard: what a function that is mapped over shards is given."""

    def __init__(self, samples: Iterable[Any]) -> None:
        self._samples = iter(samples)
        self.taken = 0
        self.error: Exception | None = None  # of reading them

    def __next__(self) -> Any:
        try:
            sample = next(self._samples)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise
        self.taken += 1
        return sample


@dataclass(frozen=True)
class Failure:
    """A shard that could not be mapped.

    Attributes:
        shard: its number.
        uri: its path or URL.
        path: the sample that had been read last, and the field, if one is known.
        error: what was raised, and what it said.
        trace: the frames that it came through.
    """

    shard: int
    uri: str
    path: str | None
    error: str
    trace: str = ""

    @classmethod
    def of(cls, shard: int, ref: ShardRef, path: str | None, error: BaseException) -> Failure:
        """The failure that an exception is."""
        try:
            said = "; ".join(map(str.strip, str(error).splitlines()))
        except Exception:  # noqa: BLE001  of somebody's class
            said = "which does not say why"
        lines = traceback.format_exception(error)
        return cls(shard, ref.url, path, f"{type(error).__name__}: {said}", "".join(lines[-_MOST_LINES:]))


@dataclass(frozen=True)
class ShardWork:
    """The work on each shard of a view.

    Attributes:
        view: of the samples.
        function: from the samples of a shard to those that are written.
        sample_type: the type of these.
        pattern: of the files, in the folder that they are written to.
    """

    view: ShardView[Any]
    function: Callable[[Iterator[Any]], Iterable[Any]]
    sample_type: type[Any]
    pattern: FilePattern

    @property
    def shards(self) -> range:
        """The numbers of the shards."""
        return range(len(self.view.table.refs))

    def record(self, digest: Digest) -> dict[str, str]:
        """The facts that a shard is made of, as its manifest says them: so it is told whether the work on it has been done.

        Args:
            digest: of the shard that is read.
        """
        view = pipeline_of(self.view, _told)
        said = {
            "input": str(digest),
            "function": identity_of(self.function),
            "from": described(self.view.sample_type),
            "to": described(self.sample_type),
        }
        return {**said, "view": view} if view else said

    def run(self, shard: int) -> ShardRef | Failure:
        """The shard that the work on one shard writes, or why it could not."""
        view = shard_view(self.view, shard)
        table, samples = view.table, ShardSamples(Samples(view, Order(0)))
        try:
            return self._write(shard, table, samples)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the function may raise anything, and call sys.exit
            return Failure.of(shard, table.refs[0], self._path(table, samples, error), error)

    def _write(self, shard: int, table: ShardTable, samples: ShardSamples) -> ShardRef:
        opened = table.shards.open(0)
        digest = opened.ref.digest or sha256_of(opened, table.shards.cache)
        results = self.function(samples)
        if not isinstance(results, Iterable):
            raise UsageError(
                "a function that is mapped over shards must give samples",
                expected=f"an iterator over {self.sample_type.__name__}",
                actual=type(results).__name__,
                hint="It is given an iterator over the samples of a shard; let it yield samples. For a function of one"
                " sample: dataset.map(function).map_shards(iter, out=...).",
            )
        observer = ManifestWriter(self.sample_type, provenance=self.record(digest))
        (written,) = cut_shards(self._rows(shard, results), Limits(), lambda _: self.pattern(shard), observer)
        return written

    def _rows(self, shard: int, results: Iterable[Any]) -> Iterator[SampleRow]:
        for number, sample in enumerate(results):
            if self.sample_type is DictSample and isinstance(sample, Mapping):
                sample = DictSample(sample)
            if type(sample) is not self.sample_type:
                raise SampleError(
                    "a function that is mapped over shards gives other samples than it says",
                    expected=self.sample_type.__name__,
                    actual=type(sample).__name__,
                    hint=f"Pass map_shards(..., sample_type={type(sample).__name__}), or annotate the function that makes them:"
                    f" -> Iterator[{type(sample).__name__}] here, -> {type(sample).__name__} where it is given to map.",
                )
            yield f"{shard:06d}-{number:09d}", sample.packed, sample

    def _path(self, table: ShardTable, samples: ShardSamples, error: BaseException) -> str | None:
        """The sample that had been read last, and the field of what was made of it; where none could be read, what says so."""
        own = error.path if isinstance(error, AtdataError) else None
        is_read = samples.error is not error
        if own and not is_read:
            return own
        number = samples.taken - is_read
        is_known = number >= (self.view.filtered and not is_read)
        sample = self._sample(table, number, is_read) if is_known else None
        return ": ".join(part for part in (sample, own) if part) or None

    def _sample(self, table: ShardTable, number: int, is_read: bool) -> str:
        if self.view.filtered:
            which = f"sample {number}" if is_read else f"after sample {number - 1}"
            return f"{which} of those that the filter keeps"
        with suppress(AtdataError, IndexError):
            return f"sample {table.key(0, int(table.shards.open(0).index.starts[number]))}"
        return f"sample {number}"


def _told(transform: Transform) -> str:
    match transform:
        case Map(function):
            return f"map({identity_of(function)})"
        case Filter(keep):
            return f"filter({identity_of(keep)})"
    return str(transform)


def identity_of(function: Callable[..., Any]) -> str:
    """The name of a function, which its user changes with what it does; and some digits for what the name does not tell: the
    arguments of a `functools.partial` and the variables of a closure, as far as these are plain values, and the code of a
    lambda.
    """
    given: list[Any] = []
    while isinstance(function, partial):
        given += [*function.args, *function.keywords.items()]
        function = function.func
    with suppress(ValueError):  # a variable that has no value yet
        given += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    code = getattr(function, "__code__", None)
    if code is not None and code.co_name == "<lambda>":
        given += [code.co_code, code.co_names, code.co_consts]
    # Digits, since there may be paths among them, and manifests are published.
    digits = Digest.sha256(_plain(given).encode("utf-8", "surrogatepass")).hex[:16]
    return f"{function_name(function)} with {digits}" if given else function_name(function)


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_plain, value))}]"
    plain = isinstance(value, str | bytes | int | float | PurePath | None)
    return repr(value) if plain else type(value).__qualname__


def result_type(function: Callable[..., Any], given: type[Any] | None, default: type[Any]) -> type[Any]:
    """The type of the samples that a function gives: as its caller says, else its annotation, else a default."""
    if given is not None:
        return given
    with suppress(NameError, TypeError, AttributeError, ValueError):
        for said in typing.get_args(typing.get_type_hints(function).get("return"))[:1]:
            if isinstance(said, type) and issubclass(said, PackableSample | DictSample):
                return said
    return default


def described(sample_type: type[Any]) -> str:
    """A sample type in one line: its name, and its fields with their types."""
    fields = fields_of(sample_type) if issubclass(sample_type, PackableSample) else ()
    return f"{sample_type.__name__}({', '.join(f'{field.name}: {field.shown}' for field in fields)})"
