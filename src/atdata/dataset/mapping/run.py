"""Mapping of all shards of a view. What is finished stays for the next run; all appears at once at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias

from atdata.arguments import checked_call, checked_type
from atdata.dataset.mapping.finished import Finished, OtherFile, look_for
from atdata.dataset.mapping.work import Failure, ShardWork, result_type
from atdata.dataset.view import View, located, of_shards
from atdata.errors import ConflictError, FailedShardsError, UsageError
from atdata.files import disk_errors
from atdata.files.own import work_name
from atdata.manifest import link_shard, manifest_files, require_parquet
from atdata.numbers import checked_int
from atdata.progress import progress
from atdata.shards import ShardRef
from atdata.shards.file_pattern import FilePattern
from atdata.shards.sets import new_set
from atdata.shards.transaction import State, recover, remove, state_of

Engine: TypeAlias = Literal["processes", "ray"]

ENGINES = {"processes": "atdata.dataset.mapping.processes", "ray": "atdata.integrations.ray.engine"}
"""Modules with a function `run_work(work, shards, workers)`, which yields the outcome for each shard."""

_MOST_FAILURES = 20
_SHOWN = 5


def map_shards(
    view: View[Any],
    function: Callable[[Iterator[Any]], Iterable[Any]],
    out: str | os.PathLike[str],
    *,
    sample_type: type[Any] | None,
    engine: Engine,
    workers: int | None,
    overwrite: bool,
) -> tuple[type[Any], tuple[ShardRef, ...]]:
    """The type of the samples that were written, and their shards: see `Dataset.map_shards`."""
    checked_call(function, "function", "Give a function of an iterator over samples, importable by name.")
    checked_type(engine, str, "engine", "Give 'processes' or 'ray'.")
    if engine not in ENGINES:
        raise UsageError("there is no such engine", path="engine", expected=", ".join(ENGINES), actual=engine)
    view = of_shards(view)
    if view.selection is not None:
        raise UsageError(
            "map_shards takes all samples of each shard",
            hint="Call it before take, skip and select, or write the selection first: atdata.write_samples(selected, ...).",
        )
    workers = None if workers is None else checked_int(workers, "workers", 1)
    run = import_module(ENGINES[engine]).run_work
    require_parquet()
    pattern = FilePattern.of(out, limited=len(view.table.refs) > 1)
    kind = result_type(function, sample_type, view.sample_type)
    job = _Job(ShardWork(located(view), function, kind, pattern), pattern)
    return kind, job.run(lambda work, shards: run(work, shards, workers), overwrite)


class _Job:
    """The work on all shards of a view."""

    def __init__(self, work: ShardWork, pattern: FilePattern) -> None:
        self._pattern, self._folder = pattern, pattern.folder.absolute()
        self._unfinished = self._folder / work_name(pattern.name)
        self._work = replace(work, pattern=replace(pattern, folder=self._unfinished))

    def run(
        self,
        engine: Callable[[ShardWork, Sequence[int]], Iterator[tuple[int, ShardRef | Failure]]],
        overwrite: bool,
    ) -> tuple[ShardRef, ...]:
        """The shards, once all are written."""
        before = self._standing()
        standing = self._finished_in(self._folder, overwrite) if before and not overwrite else {}
        if before and not overwrite:
            self._check_standing(before, standing)
            if len(standing) == len(self._work.shards):
                return self._placed(standing)
        with new_set(self._pattern, overwrite or bool(standing), manifest_files) as place:
            if self._standing() != before:
                raise ConflictError("other files were written to this path meanwhile", uri=str(self._pattern(0)))
            with self._work_folder():
                done = self._finished_in(self._unfinished, overwrite) | standing
                done |= self._run(engine, [shard for shard in self._work.shards if shard not in done])
            with disk_errors(self._folder):
                for shard, ref in done.items():
                    link_shard(Path(ref.url), place(shard))
        with suppress(OSError):
            remove(self._unfinished)
        return self._placed(done)

    @contextmanager
    def _work_folder(self) -> Iterator[None]:
        """The folder of unfinished work; after an error it stays only if a shard is in it."""
        with disk_errors(self._unfinished):
            self._unfinished.mkdir(exist_ok=True)
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if all(self._pattern.number(path.name) is None for path in self._unfinished.iterdir()):
                    remove(self._unfinished)
            raise

    def _run(
        self, engine: Callable[[ShardWork, Sequence[int]], Iterator[tuple[int, ShardRef | Failure]]], todo: list[int]
    ) -> dict[int, ShardRef]:
        written: dict[int, ShardRef] = {}
        failures: list[Failure] = []
        if not todo:
            return written
        with progress("Mapping", len(todo), "shards") as bars, closing(engine(self._work, todo)) as outcomes:  # type: ignore[type-var]
            bars.begin(self._pattern.name, len(todo))
            for shard, outcome in outcomes:
                bars.advance(1)
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                    if len(failures) == _MOST_FAILURES:
                        break
                else:
                    written[shard] = outcome
        if failures:
            raise _failed(failures, len(todo), len(written))
        return written

    def _finished_in(self, folder: Path, overwrite: bool) -> dict[int, ShardRef]:
        """The shards that are finished in a folder.

        Raises:
            ConflictError: there are some of other work, which may not be replaced.
        """
        found = look_for(self._work, self._work.shards, folder)
        for other in found:
            if isinstance(other, OtherFile) and not overwrite and (other.foreign or folder == self._folder):
                raise _conflict(other, unfinished=folder == self._unfinished)
        return {each.shard: each.ref for each in found if isinstance(each, Finished)}

    def _standing(self) -> dict[str, State | None]:
        """The files of the set that are there, each with what tells it from another."""
        with disk_errors(self._folder), suppress(FileNotFoundError):
            recover(self._folder)
            paths = [path for path in self._folder.iterdir() if self._pattern.number(path.name) is not None]
            return {path.name: state_of(path) for path in paths}
        return {}

    def _check_standing(self, before: Mapping[str, object], finished: Mapping[int, ShardRef]) -> None:
        if more := sorted({*before} - {self._pattern(shard).name for shard in finished}):
            raise ConflictError(
                "files of this name exist already, which are of no shard that is read",
                uri=str(self._pattern.folder / more[0]),
                hint="Replace all of them with overwrite=True, or choose another name.",
            )

    def _placed(self, done: Mapping[int, ShardRef]) -> tuple[ShardRef, ...]:
        return tuple(replace(done[shard], url=str(self._pattern(shard))) for shard in self._work.shards)


def _conflict(other: OtherFile, unfinished: bool) -> ConflictError:
    what = "unfinished shards of other work are in the way" if unfinished else "files of this name exist already"
    return ConflictError(
        what,
        uri=str(other.path),
        expected=other.expected,
        actual=other.actual,
        hint="Make all of them anew with overwrite=True, or choose another name."
        if not unfinished
        else "Finish that work as it was begun, make its shards anew with overwrite=True, or choose another name.",
    )


def _failed(failures: Sequence[Failure], todo: int, written: int) -> FailedShardsError:
    first = min(failures, key=lambda failure: failure.shard)
    rest = todo - len(failures) - written
    shown = ", ".join(str(failure.shard) for failure in sorted(failures, key=lambda each: each.shard)[:_SHOWN])
    more = ", ..." if len(failures) > _SHOWN else ""
    error = FailedShardsError(
        f"{len(failures)} of {todo} shards failed: {shown}{more}" + (f"; {rest} were not tried" if rest else ""),
        uri=first.uri,
        path=first.path,
        actual=first.error,
        failures={failure.shard: failure.error for failure in failures},
        hint="The others are finished. Mend what is wrong and call map_shards again: only what is missing is done.",
    )
    if first.trace:
        error.add_note(first.trace)
    return error
