"""Shards in buckets of a real server: named by what they hold, whole or not there, sent once, with no secret shown."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")

from atdata.dataset import Dataset, write_samples
from atdata.dataset.stores import ShardStore
from atdata.errors import (
    AuthError,
    DigestError,
    LimitError,
    NetworkError,
    NotFoundError,
    ShardNotFoundError,
    UsageError,
)
from atdata.local.credentials import parse_env, read_credentials
from atdata.local.s3 import S3DataStore
from atdata.manifest import ManifestWriter, manifest_paths
from atdata.shards import Digest, FileSource, ShardRef, write_shard
from atdata.shards.http import HttpSource
from atdata.shards.s3 import S3Source
from atdata.testing.conformance.ports import RangeSourceSuite, Row, ShardStoreSuite, SourceUnderTest, rows
from support.rawhttp import FileServer
from support.s3_servers import Fault, FaultProxy, S3Server


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def store(s3_server: S3Server, bucket: str) -> S3DataStore:
    return S3DataStore(credentials=s3_server.credentials, bucket=bucket)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server) as standing:
        yield standing


@pytest.fixture
def data() -> Dataset[Any]:
    return write_samples(rows(30), "rows-%06d.tar", maxcount=12)


def large(name: str = "large.tar", size: int = 20, seed: int = 0) -> ShardRef:
    """A shard of so many MB that is no repetition."""
    noise = bytes(itertools.islice(itertools.cycle(os.urandom(997)), 1_000_000))
    return write_shard(name, ((f"{n:04d}", noise[n + seed :] + noise[: n + seed]) for n in range(size)))


def of(*shards: ShardRef) -> Dataset[Any]:
    return Dataset(FileSource(shards))


class TestS3DataStore(ShardStoreSuite):
    @pytest.fixture
    def store(self, s3_server: S3Server, bucket: str) -> S3DataStore:
        return S3DataStore(credentials=s3_server.credentials, bucket=bucket)


class TestS3SourceOnARealServer(RangeSourceSuite):
    @pytest.fixture
    def made(self, store: S3DataStore, s3_server: S3Server, data: Dataset[Any]) -> SourceUnderTest:
        urls = store.write_shards(data, prefix="suite")
        keys = [url.removeprefix(f"s3://{store.bucket}/") for url in urls]
        contents = [s3_server.read(store.bucket, key) for key in keys]
        source = S3Source.from_keys(
            store.bucket, keys, endpoint_url=s3_server.url, credentials=(s3_server.key, s3_server.secret)
        )
        return SourceUnderTest(source, contents, f"s3://{store.bucket}/absent.tar")


# --- storing ---------------------------------------------------------------------------------------------------------


def test_it_is_a_store_of_planned_shards(store: S3DataStore) -> None:
    assert isinstance(store, ShardStore)


def test_shards_are_named_by_content_below_two_prefixes(s3_server: S3Server, bucket: str, data: Dataset[Any]) -> None:
    store = S3DataStore(s3_server.credentials, bucket=bucket, prefix="team/")
    stored = store.put(data, prefix="mnist/v1")
    assert [shard.url for shard in stored] == [
        f"s3://{bucket}/team/mnist/v1/{shard.digest.hex}.tar" for shard in data.shards
    ]
    for shard, before in zip(stored, data.shards, strict=True):
        key = shard.url.removeprefix(f"s3://{bucket}/")
        assert s3_server.read(bucket, key) == Path(before.url).read_bytes()
        head = s3_server.client.head_object(Bucket=bucket, Key=key)
        assert (head["Metadata"], head["ContentType"]) == ({"sha256": before.digest.hex}, "application/x-tar")
        assert (shard.digest, shard.size, shard.samples) == (before.digest, before.size, before.samples)
    assert store.write_shards(data, prefix="mnist/v1") == [shard.url for shard in stored]


def test_a_plan_asks_and_stores_nothing(proxy: FaultProxy, s3_server: S3Server, bucket: str) -> None:
    store = S3DataStore({**s3_server.credentials, "AWS_ENDPOINT": proxy.url}, bucket=bucket)
    planned = store.plan(write_samples(rows(30), "p-%06d.tar", maxcount=12), prefix="a", maxcount=10)
    assert proxy.requests == []
    assert all(shard.scratch and shard.digest and shard.size for shard in planned)
    stored = store.upload(planned)
    assert [(s.url, s.digest, s.size, s.samples) for s in stored] == [
        (p.url, p.digest, p.size, p.samples) for p in planned
    ]
    assert not any(Path(shard.origin.url).exists() for shard in planned)
    assert store.upload(planned) == stored, "what is there needs no source"


def test_nothing_is_sent_twice(proxy: FaultProxy, s3_server: S3Server, bucket: str, data: Dataset[Any]) -> None:
    store = S3DataStore({**s3_server.credentials, "AWS_ENDPOINT": proxy.url}, bucket=bucket)
    both = of(*data.shards, large())
    first = store.put(both, prefix="a")
    assert proxy.sent > 20_000_000
    proxy.requests.clear()
    proxy.sent = 0
    assert store.put(both, prefix="a") == first
    assert {request.split()[0] for request in proxy.requests} == {"HEAD"}
    assert proxy.sent == 0


@pytest.mark.parametrize("size", [1, 20])
def test_what_is_there_and_wrong_is_replaced(store: S3DataStore, s3_server: S3Server, size: int) -> None:
    shard = large(size=size)
    (planned,) = store.plan(of(shard), prefix="a")
    key = planned.url.removeprefix(f"s3://{store.bucket}/")
    for wrong in (b"short", bytes(shard.size or 0)):
        s3_server.client.put_object(Bucket=store.bucket, Key=key, Body=wrong)
        store.put(of(shard), prefix="a")
        assert s3_server.read(store.bucket, key) == Path(shard.url).read_bytes()


@pytest.mark.parametrize("size", [1, 20])
def test_what_changed_since_it_was_planned_is_not_stored(store: S3DataStore, s3_server: S3Server, size: int) -> None:
    shard = large(size=size)
    planned = store.plan(of(shard), prefix="a")
    with Path(shard.url).open("r+b") as file:
        file.seek(size * 900_000)
        file.write(b"other")
    with pytest.raises(DigestError):
        store.upload(planned)
    os.truncate(shard.url, (shard.size or 0) - 512)
    with pytest.raises(DigestError):
        store.upload(planned)
    assert s3_server.keys(store.bucket) == []
    assert s3_server.unfinished(store.bucket) == []


def test_remote_shards_pass_through(store: S3DataStore, s3_server: S3Server, data: Dataset[Any]) -> None:
    with FileServer() as server:
        server.files = {f"/{n}.tar": Path(shard.url).read_bytes() for n, shard in enumerate(data.shards)}
        source = HttpSource.from_urls([f"{server.url}/{n}.tar" for n in range(3)])
        stored = store.put(Dataset(source, sample_type=Row), prefix="a")
        assert len(server.requests) == 3
    assert [shard.digest for shard in stored] == [shard.digest for shard in data.shards]
    again = store.put(Dataset(store.create_source([s.url for s in stored]), sample_type=Row), prefix="b", maxcount=5)
    assert sum(shard.samples or 0 for shard in again) == 30


def test_manifests_go_with_their_shards(store: S3DataStore, s3_server: S3Server) -> None:
    pytest.importorskip("pyarrow")
    data = write_samples(rows(30), "with-%06d.tar", maxcount=12, manifest=True)
    stored = store.put(data, prefix="a")
    assert len(s3_server.keys(store.bucket)) == 9
    for shard, before in zip(stored, data.shards, strict=True):
        for file, path in zip(shard.manifest.shards, manifest_paths(Path(before.url)), strict=True):
            assert file.url == shard.url.removesuffix(".tar") + "".join(path.suffixes[-2:])
            assert s3_server.read(store.bucket, file.url.split("/", 3)[3]) == path.read_bytes()
            assert (file.digest, file.size) == (Digest.of_file(path), path.stat().st_size)
    assert [s.manifest for s in store.put(data, prefix="a")] == [s.manifest for s in stored]
    picked = Dataset(replace(store.create_source([]), shards=stored), sample_type=Row)
    assert picked[25] == rows(30)[25]
    other = store.put(data, prefix="a", maxcount=12, observer=ManifestWriter(Row, provenance={"by": "another"}))
    assert [shard.manifest for shard in other] == [None] * 3, "what is there stays"


def test_a_key_that_is_too_long(store: S3DataStore, data: Dataset[Any]) -> None:
    with pytest.raises(LimitError):
        store.plan(data, prefix="/".join(["x" * 200] * 6))


@pytest.mark.parametrize("prefix", ["..", "a/../b", "/a", "a//b", "a\0b", "\ud800"])
def test_a_prefix_never_leads_elsewhere(store: S3DataStore, data: Dataset[Any], prefix: str) -> None:
    with pytest.raises(UsageError):
        store.plan(data, prefix=prefix)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_an_address_for_plain_clients_is_signed(store: S3DataStore, s3_server: S3Server, data: Dataset[Any]) -> None:
    url = store.write_shards(data, prefix="a")[0]
    read = store.read_url(url)
    with urllib.request.urlopen(read) as answer:
        assert answer.read() == Path(data.shards[0].url).read_bytes()
    assert s3_server.secret not in read
    if s3_server.kind == "ceph":
        for wrong in (read.partition("?")[0], read[:-1] + ("0" if read[-1] != "0" else "1")):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(wrong)
            caught.value.close()
            assert caught.value.code == 403


def test_what_is_read_is_what_the_name_says(store: S3DataStore, s3_server: S3Server, data: Dataset[Any]) -> None:
    urls = store.write_shards(data, prefix="a")
    keys = [url.removeprefix(f"s3://{store.bucket}/") for url in urls]
    s3_server.client.put_object(Bucket=store.bucket, Key=keys[1], Body=s3_server.read(store.bucket, keys[0]))
    with pytest.raises(DigestError):
        list(Dataset(store.create_source(urls), sample_type=Row))


def test_other_names_have_no_digest(store: S3DataStore) -> None:
    source = store.create_source([f"s3://{store.bucket}/plain.tar", f"s3://{store.bucket}/a/{'ab' * 32}.tar"])
    assert [shard.digest for shard in source.shards] == [None, Digest("sha256", "ab" * 32)]
    for wrong in (f"s3://other-{store.bucket}/a.tar", "https://a.test/b.tar", f"s3://{store.bucket}"):
        with pytest.raises(UsageError):
            store.create_source([wrong])
        with pytest.raises(UsageError):
            store.read_url(wrong)


def test_the_public_needs_no_credentials(store: S3DataStore, s3_server: S3Server, data: Dataset[Any]) -> None:
    urls = store.write_shards(data, prefix="a")
    source = S3Source.from_urls(urls, endpoint_url=s3_server.url, anonymous=True)
    if s3_server.kind == "ceph":
        with pytest.raises(AuthError):
            source.open(source.shards[0])
    policy = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{store.bucket}/*",
    }
    s3_server.client.put_bucket_policy(
        Bucket=store.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    )
    assert list(Dataset(source, sample_type=Row)) == rows(30)


def test_what_is_not_there(store: S3DataStore, s3_server: S3Server, data: Dataset[Any]) -> None:
    absent = S3DataStore(s3_server.credentials, bucket="no-such-bucket-here")
    for action in (lambda: absent.write_shards(data, prefix="a"), absent.unfinished):
        with pytest.raises(NotFoundError, match="bucket"):
            action()
    with pytest.raises(NotFoundError):
        absent.put(of(large()), prefix="a")
    source = store.create_source([f"s3://{store.bucket}/absent.tar"])
    with pytest.raises(ShardNotFoundError):
        source.open(source.shards[0])


def test_a_server_that_is_not_there(data: Dataset[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    store = S3DataStore(
        {"AWS_ENDPOINT": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
        bucket="bucket",
    )
    with pytest.raises(NetworkError):
        store.write_shards(data, prefix="a")


# --- credentials -----------------------------------------------------------------------------------------------------

ENV = """\ufeff# for the new bucket

export AWS_ENDPOINT="{url}"  # where
AWS_ACCESS_KEY_ID = {key}
AWS_SECRET_ACCESS_KEY='{secret}'\r
AWS_REGION=us-east-1 # somewhere
AWS_SESSION_TOKEN=
OTHER="a \\"b\\" \\n #c"
"""


def test_a_file_of_credentials(s3_server: S3Server, bucket: str, data: Dataset[Any]) -> None:
    Path("new-s3-creds.env").write_text(
        ENV.format(url=s3_server.url, key=s3_server.key, secret=s3_server.secret), "utf-8"
    )
    store = S3DataStore(credentials="new-s3-creds.env", bucket=bucket)
    assert (store.access.endpoint_url, store.access.region) == (s3_server.url, "us-east-1")
    assert len(store.write_shards(data, prefix="a")) == 3


def test_the_usual_chain(s3_server: S3Server, bucket: str, data: Dataset[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3DataStore(bucket=bucket, endpoint_url=s3_server.url)
    with pytest.raises(AuthError):
        store.write_shards(data, prefix="a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    store = S3DataStore(bucket=bucket, endpoint_url=s3_server.url, region="us-east-1")
    urls = store.write_shards(data, prefix="a")
    assert list(Dataset(store.create_source(urls), sample_type=Row)) == rows(30)


def test_lines_of_a_file() -> None:
    assert parse_env("A=1\n B = two words \nexport C='x # y' # z\nD=\"q\\\"\\n\"\nE=a#b\nF=\nG= #c\n", "f") == {
        "A": "1", "B": "two words", "C": "x # y", "D": 'q"\n', "E": "a#b", "F": "", "G": "",
    }  # fmt: skip
    for wrong in ("AWS_SECRET_ACCESS_KEY canary", "A='canary", 'A="canary', "A='can'ary", "=canary", "1A=canary"):
        with pytest.raises(UsageError) as caught:
            parse_env(f"OK=1\n{wrong}\n", "creds.env")
        assert "line 2" in str(caught.value)
        assert "canary" not in str(caught.value)


def test_credentials_that_are_none() -> None:
    with pytest.raises(NotFoundError):
        read_credentials("absent.env")
    with pytest.raises(UsageError, match="incomplete"):
        read_credentials({"AWS_ACCESS_KEY_ID": "canary"})
    with pytest.raises(UsageError):
        read_credentials(3)  # type: ignore[arg-type]
    Path("binary.env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError):
        read_credentials("binary.env")
    assert read_credentials({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT": "http://b"}).endpoint_url == "http://a"
    given = {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "AWS_DEFAULT_REGION": "r",
    }
    assert (read_credentials(given).keys, read_credentials(given).region) == (("k", "s", "t"), "r")


@pytest.mark.parametrize("endpoint", ["localhost:9000", "ftp://a", "http://", "http://user:canary@host", "file:///a"])
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(UsageError) as caught:
        S3DataStore(bucket="bucket", endpoint_url=endpoint)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "..?", "ü"])
def test_a_bucket_that_is_none(name: str) -> None:
    with pytest.raises(UsageError):
        S3DataStore(bucket=name)


def test_wrong_credentials(s3_server: S3Server, bucket: str, data: Dataset[Any]) -> None:
    if s3_server.kind != "ceph":
        pytest.skip("this server checks no credentials")
    for wrong in ({"AWS_SECRET_ACCESS_KEY": "x" * 40}, {"AWS_ACCESS_KEY_ID": "nobody"}):
        store = S3DataStore({**s3_server.credentials, **wrong}, bucket=bucket)
        actions = (
            lambda store=store: store.put(data, prefix="a"),
            lambda store=store: store.put(of(large()), prefix="a"),
            store.unfinished,
            lambda store=store: list(Dataset(store.create_source([f"s3://{bucket}/a.tar"]), sample_type=Row)),
        )
        for action in actions:
            with pytest.raises(AuthError):
                action()
    assert s3_server.keys(bucket) == []


def test_no_secret_is_shown(data: Dataset[Any], s3_server: S3Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "atdata")
    canary = {"AWS_SECRET_ACCESS_KEY": "canary-secret", "AWS_SESSION_TOKEN": "canary-token"}
    store = S3DataStore({**s3_server.credentials, **canary}, bucket="no-such-bucket-here")
    source = store.create_source(["s3://no-such-bucket-here/a.tar"])
    shown = [
        repr(store),
        repr(store.access),
        repr(source),
        repr(vars(store)),
        repr(read_credentials(canary | {"AWS_ACCESS_KEY_ID": "k"})),
    ]
    for action in (
        lambda: store.put(data, prefix="a"),
        lambda: store.put(of(large()), prefix="a"),
        lambda: source.open(source.shards[0]),
    ):
        try:
            action()
        except Exception as error:
            shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
        else:
            raise AssertionError("no such bucket")
    assert "canary" not in "\n".join([*shown, caplog.text])


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_store_and_its_source_go_to_other_processes(store: S3DataStore, data: Dataset[Any]) -> None:
    urls = store.write_shards(data, prefix="a")
    again = pickle.loads(pickle.dumps(store))
    assert again.write_shards(data, prefix="a") == urls
    source = store.create_source(urls)
    child = os.fork()
    if not child:
        code = 1
        try:
            with source.open(source.shards[0]) as stream:
                code = int(stream.read() != Path(data.shards[0].url).read_bytes())
            code += int(len(store.write_shards(data, prefix="b")) != 3)
        finally:
            os._exit(code)
    with source.open(source.shards[1]) as stream:
        assert stream.read() == Path(data.shards[1].url).read_bytes()
    assert os.waitpid(child, 0)[1] == 0


STORING = """
    import sys
    from atdata.dataset import Dataset
    from atdata.local.s3 import S3DataStore
    from atdata.shards import FileSource
    bucket, creds, *paths = sys.argv[1:]
    S3DataStore(creds, bucket=bucket, prefix="team").write_shards(Dataset(FileSource.of(paths)), prefix="a")
    print("stored")
"""


def storing(server: S3Server, url: str, bucket: str, *paths: str) -> subprocess.Popen[bytes]:
    Path("creds.env").write_text(ENV.format(url=url, key=server.key, secret=server.secret), "utf-8")
    command = [sys.executable, "-c", textwrap.dedent(STORING), bucket, "creds.env", *paths]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_processes_that_store_the_same(s3_server: S3Server, bucket: str, data: Dataset[Any]) -> None:
    paths = [*(shard.url for shard in data.shards), large().url]
    children = [storing(s3_server, s3_server.url, bucket, *paths) for _ in range(3)]
    for child in children:
        assert child.communicate(timeout=120) == (b"stored\n", b"")
    found = s3_server.keys(bucket)
    assert sorted(found) == sorted(f"team/a/{Digest.of_file(path).hex}.tar" for path in paths)
    for key in found:
        assert Digest.sha256(s3_server.read(bucket, key)).hex in key
    assert s3_server.unfinished(bucket) == []


def test_a_killed_upload_is_invisible_found_and_ended(s3_server: S3Server, bucket: str, proxy: FaultProxy) -> None:
    proxy.once("PUT", Fault(stall=60), nth=2, times=9, target="partNumber")
    with storing(s3_server, proxy.url, bucket, large(size=40).url) as child:
        deadline = time.monotonic() + 60
        while not proxy.fired:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert s3_server.keys(bucket) == []
    store = S3DataStore(s3_server.credentials, bucket=bucket, prefix="team")
    (left,) = store.unfinished(timedelta(0))
    assert left.key.startswith("team/a/")
    assert S3DataStore(s3_server.credentials, bucket=bucket, prefix="tea").unfinished(timedelta(0)) == []
    if s3_server.kind != "moto":  # which says that all uploads began long ago
        assert store.unfinished() == [], "it may still be going on"
    store.abort([left])
    store.abort([left])
    assert store.unfinished(timedelta(0)) == []


# --- memory ----------------------------------------------------------------------------------------------------------

MEASURED = """
    import sys, threading
    from atdata.dataset import Dataset
    from atdata.local.s3 import S3DataStore
    from atdata.shards import FileSource, ShardRef, write_shard
    from atdata.shards.cache import ShardCache

    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000

    bucket, creds, work, path, cache = sys.argv[1:]
    store = S3DataStore(creds, bucket=bucket)
    if work == "up":
        small = write_shard("tiny.tar", [("a", b"\\x80")])
        store.write_shards(Dataset(FileSource((small,))), prefix="a")
        before = peak()
        store.write_shards(Dataset(path), prefix="a")
    else:
        (source, ref) = (lambda s: (s, s.shards[0]))(store.create_source([path]))
        source.read_range(ref, 0, 10)
        before = peak()
        ShardCache(__import__("pathlib").Path(cache)).fetch(source, ref, ref.digest, threading.Event()).close()
    print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
def test_memory_is_bounded_whatever_the_size(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    shard = large(size=400)
    Path("creds.env").write_text(ENV.format(url=s3_server.url, key=s3_server.key, secret=s3_server.secret), "utf-8")
    for work, path in (("up", shard.url), ("down", f"s3://{bucket}/a/{shard.digest.hex}.tar")):
        command = [sys.executable, "-c", textwrap.dedent(MEASURED), bucket, "creds.env", work, path, tmp_path / "cache"]
        done = subprocess.run(command, capture_output=True, timeout=240)
        assert done.returncode == 0, done.stderr.decode()
        print(work, done.stdout.decode())
        assert float(done.stdout) < 120, work
