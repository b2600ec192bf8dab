"""Lenses whose functions are the text of somebody's file: it is run in a sandbox, and never in this process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from atdata.arguments import checked_text, checked_type
from atdata.errors import CodeError, LensError, NoHomeError, SampleError
from atdata.lens.code_worker import MODULES
from atdata.lens.functions import Lens
from atdata.lens.types import chosen
from atdata.samples import PackableSample, SampleBatch
from atdata.samples.packable import is_plain
from atdata.sandbox import Sandbox, SandboxLimits

S = TypeVar("S")
V = TypeVar("V")

_ENTRY = "atdata.lens.code_worker:answer"
_SENT = 1 << 22
"""Bytes that are sent at once, or a sample, if it has more."""


@dataclass(frozen=True)
class FunctionCode:
    """One function in the text of a file.

    Attributes:
        path: of the file, as messages name it.
        function: its name in there; of a method, after that of its class.
        source: the text of the file.
    """

    path: str
    function: str
    source: bytes

    def __post_init__(self) -> None:
        checked_text(self.path, "path")
        checked_text(self.function, "function")
        checked_type(self.source, bytes, "source", "Give the text of the file, as bytes.")


class CodeLens(Lens[S, V]):
    """A lens whose functions run in a process of their own, without network, files or other processes.

    The process starts when it is first needed; another after it failed, after a fork, and where this lens was sent to.
    Samples cross as msgpack, checked against the types of this lens on both sides.

    Args:
        getter: from a sample to its view.
        putter: from a view and a sample to the changed sample, if there is a way back.
        source_type: what the getter takes.
        view_type: what it gives.
        name: what errors call it.
        limits: what its functions may take.
    """

    def __init__(
        self,
        getter: FunctionCode,
        putter: FunctionCode | None = None,
        *,
        source_type: type[S],
        view_type: type[V],
        name: str,
        limits: SandboxLimits | None = None,
    ) -> None:
        checked_type(getter, FunctionCode, "getter")
        checked_type(putter, FunctionCode | None, "putter", "Give a FunctionCode, or leave it out.")
        checked_type(limits, SandboxLimits | None, "limits", "Give SandboxLimits, or leave it out.")
        self._getter, self._putter, self._limits = getter, putter, limits or SandboxLimits()
        self._started: dict[int, Sandbox] = {}  # by process: a fork has none
        back = None if putter is None else self._put_one
        super().__init__(self._get_one, back, source_type=source_type, view_type=view_type, name=name)

    def get_many(self, samples: Iterable[S]) -> list[V]:
        """The views of some samples.

        Raises:
            CodeError: the code fails on one of them, or gives what is no view; `reason` says how.
            NoHomeError: one of them has no view.
            SampleError: one of them does not fit its type.
            SandboxError: no sandbox can be had here.
        """
        return self._all(b"get", ((packed(sample),) for sample in samples), self.view_type)

    def put_many(self, views: Iterable[V], sources: Iterable[S]) -> list[S]:
        """The samples, each changed so that it looks like its view.

        Raises:
            CodeError: the code fails on one of them, or gives what is no sample; `reason` says how.
            LensError: the lens has no putter.
            NoHomeError: a view has no home in its sample.
            SampleError: a view or a sample does not fit its type.
            SandboxError: no sandbox can be had here.
        """
        if self._putter is None:
            raise LensError(f"the lens {self.name} has no putter")
        pairs = ((packed(view), packed(source)) for view, source in zip(views, sources, strict=True))
        return self._all(b"put", pairs, self.source_type)

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:  # noqa: ARG002  it may use all
        """See `Lens`."""
        types = self.source_type, self.view_type
        plain = all(issubclass(kind, PackableSample) and is_plain(kind) for kind in types)
        return chosen(self.source_type, None) if plain else None

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Lens`. Samples are made, and cross together."""
        samples = SampleBatch(self.source_type, dict(columns)).samples
        return dict(SampleBatch.of(self.view_type, self.get_many(samples)).stored)

    def start(self) -> None:
        """Start its process and load the code, now instead of on first use.

        Raises:
            CodeError: the code cannot be loaded; `reason` says why.
            SandboxError: no sandbox can be had here.
        """
        self._sandbox()

    def close(self) -> None:
        """End its process. Another starts if it is used again."""
        for sandbox in self._started.values():
            sandbox.close()
        self._started = {}

    def __str__(self) -> str:
        code = repr((self._getter.path, self._getter.function, self._getter.source))
        return f"{self.name} {hashlib.sha256(code.encode()).hexdigest()[:16]}"

    def __reduce__(self) -> tuple[Any, ...]:
        make: Any = CodeLens
        named = {"source_type": self.source_type, "view_type": self.view_type, "name": self.name}
        return partial(make, self._getter, self._putter, limits=self._limits, **named), ()

    def _get_one(self, source: S) -> V:
        return self.get_many([source])[0]

    def _put_one(self, view: V, source: S) -> S:
        return self.put_many([view], [source])[0]

    def _all(self, name: bytes, requests: Iterable[Sequence[bytes]], result: type[Any]) -> list[Any]:
        read: Callable[[bytes], Any] = result.from_bytes
        found: list[Any] = []
        for some in _in_pieces(([name, *request] for request in requests), _SENT):
            for answer in self._call(some):
                try:
                    (data,) = answer
                    found.append(read(data))
                except (ValueError, SampleError) as error:
                    said = str(error).split("\n")[0] if isinstance(error, SampleError) else "not one sample"
                    raise CodeError(
                        f"the lens {self.name} gives what is no {result.__name__}",
                        reason="answer",
                        step=name.decode(),
                        expected=getattr(error, "expected", None),
                        actual=getattr(error, "actual", None) or said,
                        path=getattr(error, "path", None),
                        hint="Its code gives another type than its record says.",
                    ) from None
        return found

    def _call(self, requests: list[list[bytes]]) -> list[list[bytes]]:
        while True:
            try:
                return self._sandbox().call(requests)
            except CodeError as error:
                if error.reason == "closed":  # a call of another thread has ended it: this one was not asked
                    continue
                if error.raised == NoHomeError.__name__:  # it says so where it is not defined, as any lens does
                    raise NoHomeError(f"the lens {self.name} is not defined there", actual=error.actual) from None
                raise

    def _sandbox(self) -> Sandbox:
        """The running process, or a new one that has loaded the code."""
        sandbox = self._started.get(os.getpid())
        if sandbox is None or not sandbox.alive:
            sandbox = Sandbox(f"the lens {self.name}", _ENTRY, MODULES, self._limits)
            for side, code in ((b"get", self._getter), (b"put", self._putter)):
                if code is not None:
                    sandbox.call([[b"load", side, code.path.encode(), code.function.encode(), code.source]])
            self._started = {os.getpid(): sandbox}
        return sandbox


def packed(sample: Any) -> bytes:
    """A sample as msgpack.

    Raises:
        SampleError: it is no sample, or a value does not fit its type.
    """
    data = getattr(sample, "packed", None)
    if not isinstance(data, bytes):
        raise SampleError("a lens sees samples only", actual=type(sample).__name__)
    return data


def _in_pieces(requests: Iterable[list[bytes]], most: int) -> Iterator[list[list[bytes]]]:
    some: list[list[bytes]] = []
    size = 0
    for request in requests:
        some.append(request)
        size += sum(map(len, request))
        if size >= most:
            yield some
            some, size = [], 0
    if some:
        yield some
