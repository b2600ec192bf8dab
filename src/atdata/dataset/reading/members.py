"""Reading of samples that are one file a field: each wanted file to the value of its field."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import SampleError
from atdata.numbers import Ints
from atdata.samples import DictSample, Field
from atdata.samples.formats import GZIP
from atdata.samples.layout import Layout, file_reader, natural_type
from atdata.samples.packable import maker_of
from atdata.shards.grouping import grouped, index_of
from atdata.shards.index import Members, SampleMembers
from atdata.shards.tar import BLOCK, scan_members
from atdata.shards.writer import END

_MISSING, _SEVERAL = -1, -2  # as `Members.find` says it
_SHARED = -3  # a file is there that may be that of another field


class MemberReader:
    """Reads the files of samples, as a layout says which hold what.

    Args:
        sample_type: of the samples.
        fields: of that type; none where samples have any.
        wanted: names of the fields to read; `None` for all.
        layout: the layout; `None` for the one that the type implies.
    """

    def __init__(
        self, sample_type: type[Any], fields: Sequence[Field], wanted: Sequence[str] | None, layout: Layout | None
    ) -> None:
        self._type = sample_type
        self._untyped = issubclass(sample_type, DictSample)
        self._wanted = wanted
        self._fields = {field.name: field for field in fields}
        self._layout = layout

    @cached_property
    def layout(self) -> Layout | None:
        """The layout: that which was given, or that which the type implies; `None` where each file is a field."""
        return self._layout or (None if self._untyped else Layout.implied(self._fields.values()))

    def find(self, members: Members, samples: Ints) -> dict[str, Ints]:
        """The files to read of some samples: for each field, numbers of members as `Members.find` gives them."""
        if self.layout is None:
            wanted = members.extensions if self._wanted is None else self._wanted
            return members.find(samples, {name: (name,) for name in wanted})
        names = list(self._fields or self.layout.extensions) if self._wanted is None else self._wanted
        found = self._find(members, samples, self.layout.extensions, names)
        for some, state in ((self.layout.others, None), (self.layout.shared, _SHARED)):
            missing = [name for name in names if name in some and (found[name] == _MISSING).any()]
            for name, numbers in self._find(members, samples, some, missing).items():
                there = (found[name] == _MISSING) & (numbers != _MISSING)
                found[name][there] = numbers[there] if state is None else state
        return found

    @staticmethod
    def _find(
        members: Members, samples: Ints, files: Mapping[str, Sequence[str]], names: Sequence[str]
    ) -> dict[str, Ints]:
        wanted = {name: [e + zipped for e in files.get(name, ()) for zipped in ("", GZIP)] for name in names}
        return members.find(samples, wanted) if wanted else {}

    def columns(
        self, members: Members, found: dict[str, Ints], data: NDArray[np.uint8], base: int, key: Callable[[int], str]
    ) -> dict[str, Any]:
        """The values of each field.

        Args:
            members: of the shard.
            found: as `find` gives them.
            data: bytes of the shard, uint8 `[n]`.
            base: where in the shard the first of them is.
            key: gives the key of one of the samples, by its place among them.

        Raises:
            SampleError: a file does not hold its field, or a sample lacks one, or has several for one field.
        """
        memory = data.data
        columns: dict[str, Any] = {}
        for name, numbers in found.items():
            field, column = self._fields.get(name), list[Any]()
            some = numbers[numbers >= 0]
            begins = (members.starts[some] - base).tolist()
            spans = zip(begins, members.sizes[some].tolist(), members.codes[some].tolist(), strict=True)
            readers = {code: self._reader(members.extensions[code], field) for code in np.unique(members.codes[some])}
            try:
                if len(some) == len(numbers):
                    for start, size, code in spans:
                        column.append(readers[code](bytes(memory[start : start + size])))
                else:
                    for number in numbers.tolist():
                        if number < 0:
                            column.append(self._absent(name, field, number))
                        else:
                            start, size, code = next(spans)
                            column.append(readers[code](bytes(memory[start : start + size])))
            except SampleError as error:
                inside = error.path or ""
                inside = f".{inside}" if inside and inside[0] not in "[." else inside
                error.path = f"{key(len(column))}: {name}{inside}"
                raise
            columns[name] = column
        return columns

    @staticmethod
    def _reader(extension: str, field: Field | None) -> Callable[[bytes], Any]:
        return file_reader(extension, natural_type(extension) if field is None else field.type)

    def _absent(self, name: str, field: Field | None, number: int) -> Any:
        """The value of a field in a sample that has no file for it, or several."""
        files = (name,) if self.layout is None else self.layout.files_for(name)
        if number == _SHARED:
            raise SampleError(
                "a file may be that of several fields",
                expected="a layout that says which",
                hint=f"Say what holds each field: layout={{{name!r}: ..., ...}}.",
            )
        if number == _SEVERAL:
            raise SampleError(
                "a sample has several files for one field",
                expected="one of " + ", ".join(files),
                hint=f"Say which: layout={{{name!r}: ...}}, with the extension that holds it.",
            )
        if field is None:
            return None  # of a sample without a type, which has no such field
        if field.required:
            raise SampleError(
                "a sample has no file for a field",
                expected="one of " + ", ".join(files[:8]) + (" ..." if len(files) > 8 else ""),
                hint=f"Say which holds it, layout={{{name!r}: ...}}; atdata.infer(path) shows what is there."
                " A field that some samples lack is declared with | None.",
            )
        return field.missing()

    def sample(self, stored: SampleMembers) -> Any:
        """One sample, from its files as they stand in a shard.

        Raises:
            ShardError, SampleError: it is none of this type.
        """
        members, found = self._files_in(stored)
        return self.rows(self._columns_in(stored, members, found), found)[0]

    def columns_of(self, stored: SampleMembers) -> dict[str, Any]:
        """The columns of one sample, from its files as they stand in a shard.

        Raises:
            ShardError, SampleError: it is none of this type.
        """
        return self._columns_in(stored, *self._files_in(stored))

    def _columns_in(self, stored: SampleMembers, members: Members, found: dict[str, Ints]) -> dict[str, Any]:
        return self.columns(members, found, np.frombuffer(stored, np.uint8), 0, lambda _: "")

    def _files_in(self, stored: SampleMembers) -> tuple[Members, dict[str, Ints]]:
        archive = stored + bytes(-len(stored) % BLOCK) + END
        index = index_of(list(grouped(scan_members(io.BytesIO(archive), len(archive), ""), "")), "")
        if index.members is None:
            raise AssertionError("files of a sample are no packed sample")
        return index.members, self.find(index.members, np.zeros(1, np.int64))

    def rows(self, columns: dict[str, Any], found: dict[str, Ints]) -> list[Any]:
        """The samples of some columns; of samples without a type, each with the files that it has, in their order."""
        if not self._untyped:
            make = maker_of(self._type)
            return [make(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        names, numbers = list(columns), np.stack([found[name] for name in columns], 1)
        rows = zip(zip(*columns.values(), strict=True), numbers.tolist(), np.argsort(numbers).tolist(), strict=True)
        return [
            DictSample.of_files({names[n]: values[n] for n in order if present[n] >= 0})
            for values, present, order in rows
        ]
