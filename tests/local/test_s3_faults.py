"""What a network and a server may do wrong between us and a bucket, one thing at a time: nothing lost, nothing partial.

Every request of storing meets every kind of fault once; then some that stay. Each run counts what fired.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")

from atdata.dataset import Dataset, write_samples
from atdata.dataset.stored import rows_by_shard
from atdata.errors import AuthError, DigestError, LimitError, NetworkError, NotFoundError, ShardError
from atdata.local.s3 import S3DataStore
from atdata.shards import Digest, FileSource, ShardRef, write_shard
from atdata.shards.writer import Row
from atdata.testing.conformance.ports import rows
from support.s3_servers import Fault, FaultProxy, S3Server, refusal


def rows_of(dataset: Dataset[Any]) -> Iterator[Row]:
    return itertools.chain.from_iterable(rows_by_shard(dataset.view))


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)
    monkeypatch.setattr("atdata.transport.budget.backoff", lambda _: 0.02)


@pytest.fixture(scope="module")
def standing(s3_server: S3Server) -> Iterator[FaultProxy]:
    """One for all tests, so that they share a client."""
    with FaultProxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def proxy(standing: FaultProxy) -> FaultProxy:
    standing.forget()
    return standing


@pytest.fixture
def store(s3_server: S3Server, bucket: str, proxy: FaultProxy) -> S3DataStore:
    return S3DataStore({**s3_server.credentials, "AWS_ENDPOINT": proxy.url}, bucket=bucket)


def large(size: int = 9) -> ShardRef:
    noise = os.urandom(1_000_000)
    return write_shard("large.tar", ((f"{n:04d}", noise[n:] + noise[:n]) for n in range(size)))


@pytest.fixture
def data() -> Dataset[Any]:
    """A shard in two parts, and a small one with a manifest."""
    pytest.importorskip("pyarrow")
    small = write_samples(rows(5), "small.tar", manifest=True)
    return Dataset(FileSource((large(), *small.shards)))


def check_stored(server: S3Server, bucket: str, data: Dataset[Any]) -> None:
    """All of it, each what it must be, and nothing else; nothing half-written."""
    found = {key: server.read(bucket, key) for key in server.keys(bucket)}
    whole = {key: Digest.sha256(body).hex in key for key, body in found.items() if key.endswith(".tar")}
    assert len(whole) == len(data.shards)
    assert all(whole.values())
    assert len(found) == len(whole) + 2
    assert server.unfinished(bucket) == []


def check_nothing_partial(server: S3Server, bucket: str) -> None:
    for key in server.keys(bucket):
        if key.endswith(".tar"):
            assert Digest.sha256(server.read(bucket, key)).hex in key


REQUESTS = {
    "a question": ("HEAD", r"\.tar$"),
    "a small shard": ("PUT", r"\.tar$"),
    "a manifest's rows": ("PUT", r"\.parquet$"),
    "a manifest's header": ("PUT", r"\.json$"),
    "the beginning of parts": ("POST", r"\?uploads"),
    "a part": ("PUT", r"partNumber=1\b"),
    "the last part": ("PUT", r"partNumber=2\b"),
    "the end of parts": ("POST", r"\?uploadId"),
}
FAULTS = {
    "busy": refusal(503, "SlowDown"),
    "broken": refusal(500, "InternalError"),
    "reset before": Fault(before=True),
    "reset within": Fault(within=100),
    "reset after": Fault(after=True),
    "an answer cut": Fault(cut=1, reset=True),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_fault_that_passes_is_outlived(
    store: S3DataStore, proxy: FaultProxy, s3_server: S3Server, data: Dataset[Any], request_: str, fault: str
) -> None:
    method, target = REQUESTS[request_]
    if fault == "an answer cut" and method in ("HEAD", "PUT"):
        fault = "reset after"  # their answers have no body
    proxy.once(method, FAULTS[fault], target=target)
    stored = store.put(data, prefix="a")
    assert proxy.fired == 1
    left = store.unfinished(timedelta(0))
    if request_ != "the beginning of parts":  # one whose answer was lost has begun what nobody can finish
        assert left == []
    store.abort(left)
    check_stored(s3_server, store.bucket, data)
    assert [shard.digest for shard in stored] == [shard.digest for shard in data.shards]


@pytest.mark.parametrize("request_", ["a small shard", "the beginning of parts", "the last part", "the end of parts"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refusal(503, "SlowDown"), NetworkError),
        (Fault(before=True), NetworkError),
        (Fault(within=100), NetworkError),
        (refusal(403, "ExpiredToken"), AuthError),
        (refusal(400, "ExpiredToken"), AuthError),
        (refusal(403, "AccessDenied"), AuthError),
        (refusal(404, "NoSuchBucket"), NotFoundError),
        (refusal(400, "EntityTooLarge"), LimitError),
    ],
)
def test_a_fault_that_stays_is_told_and_leaves_nothing_partial(
    store: S3DataStore,
    proxy: FaultProxy,
    s3_server: S3Server,
    data: Dataset[Any],
    request_: str,
    fault: Fault,
    error: type[Exception],
) -> None:
    method, target = REQUESTS[request_]
    proxy.once(method, fault, times=999, target=target)
    with pytest.raises(error) as caught:
        store.put(data, prefix="a")
    assert proxy.fired
    assert type(caught.value).__module__ == "atdata.errors"
    check_nothing_partial(s3_server, store.bucket)
    proxy.forget()
    store.put(data, prefix="a")
    store.abort(store.unfinished(timedelta(0)))
    check_stored(s3_server, store.bucket, data)


def test_a_question_that_is_refused_does_not_hide_the_reason(store: S3DataStore, proxy: FaultProxy) -> None:
    proxy.choose = lambda *_: refusal(400, "ExpiredToken")
    with pytest.raises(AuthError, match="allow"):
        store.write_shards(write_samples(rows(5), "small.tar"), prefix="a")
    assert proxy.fired


def test_who_may_only_write_is_not_told_what_is_there(
    store: S3DataStore, proxy: FaultProxy, s3_server: S3Server, data: Dataset[Any]
) -> None:
    proxy.once("HEAD", refusal(403, "AccessDenied"), times=999)
    for _ in range(2):
        store.put(data, prefix="a")
        check_stored(s3_server, store.bucket, data)
    assert proxy.fired > 4


def test_a_server_that_knows_no_conditions(
    store: S3DataStore, proxy: FaultProxy, s3_server: S3Server, data: Dataset[Any]
) -> None:
    proxy.once("PUT", refusal(501, "NotImplemented"), target=r"\.tar$")
    store.put(data, prefix="a")
    assert proxy.fired == 1
    check_stored(s3_server, store.bucket, data)


def test_an_object_that_is_not_shown_was_not_stored(store: S3DataStore, proxy: FaultProxy) -> None:
    shard = large()
    proxy.once("HEAD", refusal(404, "NoSuchKey"), times=999)
    with pytest.raises(NetworkError, match="show"):
        store.put(Dataset(FileSource((shard,))), prefix="a")
    assert proxy.fired


def test_an_end_whose_answer_is_lost_for_ever(
    store: S3DataStore, proxy: FaultProxy, s3_server: S3Server, data: Dataset[Any]
) -> None:
    """It was taken: what is there says so."""
    proxy.once("POST", Fault(after=True), times=99, target=r"\?uploadId")
    store.put(data, prefix="a")
    assert proxy.fired
    check_stored(s3_server, store.bucket, data)


def test_what_stood_ready_is_not_begun_after_a_failure(store: S3DataStore, proxy: FaultProxy) -> None:
    shards = tuple(write_shard(f"{n}.tar", [("a", bytes([n]) * 1000)]) for n in range(60))
    proxy.choose = lambda method, _: refusal(403, "AccessDenied") if method == "PUT" else None
    with pytest.raises(AuthError):
        store.put(Dataset(FileSource(shards)), prefix="a")
    asked = Counter(request.split()[0] for request in proxy.requests)
    assert asked["PUT"] < 30


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(store: S3DataStore) -> Dataset[Any]:
    """A shard of 9 MB, which is read by one stream; its reader is told no size."""
    urls = store.write_shards(Dataset(FileSource((large(),))), prefix="a")
    return Dataset(store.create_source(urls))


READS = {
    "busy": refusal(503, "SlowDown"),
    "reset before": Fault(before=True),
    "reset after": Fault(after=True),
    "cut at once": Fault(cut=0),
    "cut": Fault(cut=4_000_000),
    "reset in the middle": Fault(cut=4_000_000, reset=True),
    "cut near the end": Fault(cut=9_000_000),
}


@pytest.mark.parametrize("fault", READS)
@pytest.mark.parametrize("times", [1, 3])
def test_reading_goes_on_after_a_fault(stored: Dataset[Any], proxy: FaultProxy, fault: str, times: int) -> None:
    proxy.once("GET", READS[fault], times=times)
    assert Digest.sha256(b"".join(packed for _, packed in rows_of(stored))) == _rows_digest()
    assert 1 <= proxy.fired <= times, "in the end the rest is shorter than the cut"


def _rows_digest() -> Digest:
    return Digest.sha256(b"".join(packed for _, packed in rows_of(Dataset("large.tar"))))


@pytest.mark.parametrize("fault", ["cut at once", "reset before", "busy"])
def test_reading_that_never_succeeds_says_so(stored: Dataset[Any], proxy: FaultProxy, fault: str) -> None:
    proxy.choose = lambda *_: READS[fault]
    with pytest.raises(NetworkError):
        list(rows_of(stored))
    assert proxy.fired


@pytest.mark.parametrize("code", ["ExpiredToken", "AccessDenied", "InvalidAccessKeyId", "RequestTimeTooSkewed"])
def test_credentials_that_expire_while_reading(stored: Dataset[Any], proxy: FaultProxy, code: str) -> None:
    faults = itertools.chain([Fault(cut=4_000_000)], itertools.repeat(refusal(403, code)))
    proxy.choose = lambda *_: next(faults)
    with pytest.raises(AuthError):
        list(rows_of(stored))
    assert proxy.fired > 1


def test_a_shard_that_changes_while_it_is_read(store: S3DataStore, s3_server: S3Server, proxy: FaultProxy) -> None:
    """Of one without a digest nothing but its ETag tells."""
    shard = large()
    s3_server.client.upload_file(shard.url, store.bucket, "plain.tar")
    source = store.create_source([f"s3://{store.bucket}/plain.tar"])
    proxy.once("GET", Fault(cut=4_000_000))
    with source.open(source.shards[0]) as stream:
        stream.read(1000)
        s3_server.client.put_object(Bucket=store.bucket, Key="plain.tar", Body=bytes(shard.size or 0))
        with pytest.raises(ShardError, match="changed"):
            while stream.read(1 << 20):
                pass
    assert proxy.fired == 1


# --- in parts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_parts(store: S3DataStore) -> Dataset[Any]:
    """A shard of 38 MB, which is fetched in five parts."""
    shards = store.put(Dataset(FileSource((large(38),))), prefix="a")
    return Dataset(replace(store.create_source([]), shards=shards))


def test_a_large_shard_is_fetched_in_parts_whether_its_size_is_known(
    in_parts: Dataset[Any], store: S3DataStore, proxy: FaultProxy, tmp_path: Path
) -> None:
    for shards, asked in ((in_parts.shards, 5), (store.create_source([in_parts.shards[0].url]).shards, 6)):
        proxy.forget()
        data = Dataset(replace(store.create_source([]), shards=tuple(shards)), cache=tmp_path / str(asked))
        assert Digest.sha256(b"".join(packed for _, packed in rows_of(data))) == _rows_digest()
        assert [request.split()[0] for request in proxy.requests] == ["GET"] * asked


@pytest.mark.parametrize("fault", [fault for fault in READS if fault != "cut near the end"])
@pytest.mark.parametrize("nth", [1, 2, 5])
def test_a_part_that_fails_is_had_again(in_parts: Dataset[Any], proxy: FaultProxy, fault: str, nth: int) -> None:
    proxy.once("GET", READS[fault], nth=nth)
    assert Digest.sha256(b"".join(packed for _, packed in rows_of(in_parts))) == _rows_digest()
    assert proxy.fired == 1


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_what_is_not_given_in_parts_is_read_by_a_stream(in_parts: Dataset[Any], proxy: FaultProxy, nth: int) -> None:
    proxy.once("GET", refusal(400, "InvalidArgument"), nth=nth)
    assert Digest.sha256(b"".join(packed for _, packed in rows_of(in_parts))) == _rows_digest()
    assert proxy.fired == 1


def test_a_part_that_lies_is_found(in_parts: Dataset[Any], store: S3DataStore, s3_server: S3Server) -> None:
    (ref,) = in_parts.shards
    body = bytearray(Path("large.tar").read_bytes())
    body[30_000_000] ^= 1
    s3_server.client.put_object(Bucket=store.bucket, Key=ref.url.split("/", 3)[3], Body=bytes(body))
    with pytest.raises(DigestError):
        list(rows_of(in_parts))
