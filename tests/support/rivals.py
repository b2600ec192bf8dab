"""Processes that publish at the same moment, each as if it were alone.

They are forked from a server that has everything imported, and each takes one job after the other; a job is made ready
in all of them, and then begun in all at once.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore, VerificationPublisher
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere

_spawner = multiprocessing.get_context("forkserver")
_spawner.set_forkserver_preload(["support.rivals", "atdata.cli", "atdata.importers", "numpy"])

CODE = {"repository": "https://example.org/lenses", "commit": "a" * 40, "path": "lenses.py:shrink"}


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


@atdata.packable
class Text:
    text: str


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        what: a function of this module.
        environment: of the network.
        session: of the account, exported.
        home: folder of caches, data and files.
        facts: arguments.
    """

    what: str
    environment: dict[str, str]
    session: str
    home: Path
    facts: dict[str, Any] = field(default_factory=dict)

    def client(self) -> AtmosphereClient:
        """The account, on the machine whose home this is."""
        os.environ.update(self.environment)
        client = AtmosphereClient(cache=self.home / "cache", data=self.home / "data")
        client.login_with_session(self.session)
        return client


Ready = Callable[[], Any]


def dataset_of(job: Job, seed: int, own: str) -> atdata.Dataset[Row]:
    """Two shards of a content that the seed decides."""
    folder = job.home / own
    folder.mkdir(parents=True, exist_ok=True)
    samples = (Row(np.full(4, seed, np.float32), number) for number in range(4))
    return atdata.write_samples(samples, folder / "rows-%06d.tar", maxcount=2, overwrite=True)


def insert(job: Job, own: str) -> Ready:
    """Publish a dataset."""
    client = job.client()
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    dataset = dataset_of(job, job.facts["seed"], own)
    return lambda: index.insert_dataset(dataset, name="rows", version=job.facts.get("version")).uri


def promote(job: Job, own: str) -> Ready:
    """Promote a dataset out of an index of its own."""
    client = job.client()
    local = LocalIndex(job.home / own / "team.sqlite")
    entry = local.insert_dataset(dataset_of(job, job.facts["seed"], own), name="rows", version="1.0.0")
    return lambda: promote_to_atmosphere(entry, local, client, data_store=PDSBlobStore(client))


def schema(job: Job, _own: str) -> Ready:
    """Publish a schema."""
    index, kind = AtmosphereIndex(job.client()), {"Row": Row, "Text": Text}[job.facts.pop("type")]
    return lambda: index.publish_schema(kind, **job.facts)


def lens(job: Job, _own: str) -> Ready:
    """Publish a lens."""
    index, schema = AtmosphereIndex(job.client()), job.facts["schema"]
    facts = {"source_schema": schema, "target_schema": schema, "getter_code": CODE, "putter_code": CODE}
    return lambda: index.publish_lens(name="shrink", **facts)


def verification(job: Job, _own: str) -> Ready:
    """Say that a lens holds, or that it fails."""
    publisher, facts = VerificationPublisher(job.client()), job.facts
    return lambda: publisher.publish(facts["lens"], "codeReview", verdict=facts["verdict"])


def label(job: Job, _own: str) -> Ready:
    """Give an entry a version of a name."""
    index = AtmosphereIndex(job.client())
    entry = index.get_dataset(job.facts["entry"])
    return lambda: index.add_label(entry, name="best", version="1.0.0").dataset_uri


def _serve(own: str, pipe: Connection) -> None:
    while (job := pipe.recv()) is not None:
        try:
            ready: Ready = globals()[job.what](job, own)
            pipe.send(None)
            pipe.recv()
            pipe.send(str(ready()))
        except atdata.AtdataError as error:
            pipe.send(error)
        except BaseException:
            pipe.send(AssertionError(traceback.format_exc()))


class Rivals:
    """Some processes. A context."""

    def __init__(self, count: int) -> None:
        self._running = ExitStack()
        self._pipes: list[Connection] = []
        self._count = count

    def __enter__(self) -> Self:
        for number in range(self._count):
            ours, theirs = _spawner.Pipe()
            process = _spawner.Process(target=_serve, args=(f"rival{number}", theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._running.callback(process.join)
        return self

    def __exit__(self, *error: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        self._running.close()

    def run(self, jobs: list[Job]) -> list[str | atdata.AtdataError]:
        """Let each process do its job, all at the same moment; what each of them got."""
        pipes = self._pipes[: len(jobs)]
        for pipe, job in zip(pipes, jobs, strict=True):
            pipe.send(job)
        failed = [error for pipe in pipes if (error := pipe.recv()) is not None]
        assert not failed, failed
        for pipe in pipes:
            pipe.send(True)
        found = [pipe.recv() for pipe in pipes]
        for error in found:
            if isinstance(error, AssertionError):
                raise error
        return found
