"""Every index: over each database, on the Devnet, and on a real PDS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.local import LocalDiskStore, LocalIndex
from atdata.records import Record
from support.networks import fresh_handle, list_records


@dataclass
class Place:
    """An index with a data store, and the way to open it once more, as another process would."""

    kind: str
    where: Any
    folder: Path
    network: Any = None
    opened: list[LocalIndex] = field(default_factory=list)

    def open(self) -> Any:
        if self.network is None:
            self.opened.append(LocalIndex(self.where, data_store=LocalDiskStore(self.folder / "store")))
            return self.opened[-1]
        client = self.network.client(self.where)
        return AtmosphereIndex(client, data_store=PDSBlobStore(client))

    def count(self, kind: type[Record]) -> int:
        """How many records there are: on the network as the server itself says."""
        if self.network is None:
            return len(self.open().records.read_all(None, kind))
        return len(list_records(self.where.pds_url, self.where.did, str(kind.NSID)))

    @property
    def public(self) -> bool:
        return self.network is not None


SERVED = [pytest.param(kind, marks=pytest.mark.served) for kind in ("redis", "postgres", "pds")]


@pytest.fixture(params=["sqlite", "devnet", *SERVED])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for an index with nothing in it, of each kind in turn."""
    kind = request.param
    if kind in ("devnet", "pds"):
        net = request.getfixturevalue("devnet" if kind == "devnet" else "realnet")
        yield Place(kind, net.create_account(fresh_handle()), tmp_path, net)
        return
    where = tmp_path / "index.sqlite" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    made = Place(kind, where, tmp_path)
    yield made
    for index in made.opened:  # what a failure holds in a circle would be closed in any order
        index.records.database.close()


@pytest.fixture
def index(place: Place) -> Any:
    """An index with nothing in it, of each kind in turn."""
    return place.open()
