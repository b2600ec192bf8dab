"""A dataset read over HTTP, end to end: through cuts, without Range, and never what was not published."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.dataset import Dataset, write_samples
from atdata.errors import AddressError, DigestError, NetworkError, ShardError, ShardNotFoundError, XrpcError
from atdata.samples import packable
from atdata.shards import ShardRef
from atdata.shards.http import HttpSource
from atdata.transport import Transport
from atdata.transport.budget import TRIES
from support.rawhttp import FileServer


@packable
class Digit:
    image: NDArray[np.uint8]
    label: int


DIGITS = [Digit(np.full((20, 20), n, "u1"), n) for n in range(30)]


@pytest.fixture
def server(tmp_path) -> Iterator[FileServer]:
    """Three shards of ten digits."""
    made = write_samples(DIGITS, tmp_path / "d-%d.tar", maxcount=10)
    with FileServer(
        files={f"/d-{n}.tar": Path(shard.url).read_bytes() for n, shard in enumerate(made.shards)}
    ) as running:
        running.made = made  # type: ignore[attr-defined]
        yield running


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_open():
    yield
    gc.collect()


def published(server: FileServer, *, digests: bool = True) -> HttpSource:
    """The shards as a record would list them."""
    refs = server.made.shards  # type: ignore[attr-defined]
    shards = tuple(
        ShardRef(f"{server.url}/d-{n}.tar", *((ref.digest, ref.size) if digests else ())) for n, ref in enumerate(refs)
    )
    return HttpSource(shards, Transport(allow_loopback=True, sleep=lambda _: None))


def test_urls_that_a_caller_spells_out_are_read(server):
    for where in (f"{server.url}/d-{{0..2}}.tar", [f"{server.url}/d-{n}.tar" for n in range(3)]):
        data = Dataset[Digit](where)
        assert list(data) == list(data) == DIGITS
        assert len(data) == 30


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
def test_cuts_are_not_seen(server, ranges, lengths, digests):
    server.ranges, server.lengths = ranges, lengths
    server.cuts = [1, 2000, -1, 5000, None, 11_000, 0, 300, None, 8000]
    data = Dataset[Digit](published(server, digests=digests))
    assert [sample for batch in data.ordered(batch_size=7) for sample in batch] == DIGITS
    assert len(server.requests) > 3


def test_with_digests_each_shard_is_fetched_once_for_all_epochs(server):
    for _ in range(3):
        assert list(Dataset[Digit](published(server))) == DIGITS
    assert len(server.requests) == 3


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("what", ["altered", "cut", "longer", "another"])
def test_a_shard_that_is_not_the_one_published_gives_no_sample(server, number, what):
    name, body = f"/d-{number}.tar", server.files[f"/d-{number}.tar"]
    server.files[name] = {
        "altered": body[:700] + b"\xff" + body[701:],
        "cut": body[:-512],
        "longer": body + bytes(512),
        "another": server.files[f"/d-{(number + 1) % 3}.tar"],
    }[what]
    seen = []
    with pytest.raises(DigestError) as caught:
        for digit in Dataset[Digit](published(server)):
            seen.append(digit)
    assert seen == DIGITS[: number * 10]
    assert caught.value.uri == f"{server.url}{name}"


def test_without_a_digest_a_shard_that_ends_early_is_noticed_all_the_same(server):
    server.files["/d-1.tar"] = server.files["/d-1.tar"][:-1024]
    with pytest.raises(ShardError):
        list(Dataset[Digit](published(server, digests=False)))


def test_a_shard_that_is_gone_is_told(server):
    del server.files["/d-1.tar"]
    with pytest.raises(ShardNotFoundError) as caught:
        list(Dataset[Digit](published(server)))
    assert caught.value.uri == f"{server.url}/d-1.tar"


def test_a_server_that_is_gone_is_told(server):
    server.cuts = [-1] * 100
    with pytest.raises(NetworkError) as caught:
        list(Dataset[Digit](published(server)))
    assert not isinstance(caught.value, XrpcError)
    assert len([r for r in server.requests if r.target == "/d-0.tar"]) == TRIES


def test_an_address_from_a_record_is_guarded(server):
    with pytest.raises(AddressError):
        list(Dataset[Digit](HttpSource(published(server).shards)))
    assert server.connections == 0


def test_loopback_may_be_allowed_by_the_environment(server, monkeypatch):
    monkeypatch.setenv("ATDATA_ALLOW_LOOPBACK", "1")
    assert list(Dataset[Digit](HttpSource(published(server).shards))) == DIGITS
