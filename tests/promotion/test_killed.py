"""A promotion of many shards that is killed again and again: one entry, and nothing is sent twice.

With ATDATA_TEST_MANY=1 there are 400 of them, of which no record can list the manifests too; otherwise 48.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtUri
from atdata.local import LocalIndex
from atdata.records import Entry
from atdata.testing import DevAccount
from support import MANY
from support.networks import Devnet, Network, fresh_handle, list_records
from support.s3_servers import S3Server

pytestmark = pytest.mark.slow


@atdata.packable
class Reading:
    number: int


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


SHARDS = 400 if MANY else 24
PROGRAM = """
import sys
from atdata.atmosphere import AtmosphereClient, PDSBlobStore
from atdata.local import LocalIndex, S3DataStore
from atdata.promote import promote_to_atmosphere
handle, password, where, url, key, secret, bucket = sys.argv[1:]
index, client = LocalIndex("team.sqlite"), AtmosphereClient(cache="cache", data="data")
client.login(handle, password)
keys = {"AWS_ENDPOINT": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
store = PDSBlobStore(client) if where == "blobs" else S3DataStore(keys, bucket=bucket)
print(promote_to_atmosphere(index.get_entry_by_name("readings"), index, client, data_store=store))
"""


def when_written(server: S3Server, bucket: str) -> dict[str, Any]:
    pages = server.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {found["Key"]: found["LastModified"] for page in pages for found in page.get("Contents", ())}


def count(account: DevAccount, kind: str) -> int:
    return len(list_records(account.pds_url, account.did, f"science.alt.dataset.{kind}"))


def test_shards_that_become_blobs(
    network: Network, alice: DevAccount, bob: DevAccount, s3_server: S3Server, public_bucket: str
) -> None:
    killed_five_times(network, alice, bob, s3_server, public_bucket, "blobs")


def test_shards_that_are_copied_to_a_bucket(devnet: Devnet, s3_server: S3Server, public_bucket: str) -> None:
    alice, bob = (devnet.create_account(fresh_handle()) for _ in range(2))
    killed_five_times(devnet, alice, bob, s3_server, public_bucket, "bucket")


def killed_five_times(
    network: Network, alice: DevAccount, bob: DevAccount, s3_server: S3Server, public_bucket: str, where: str
) -> None:
    """Killed five times on the way. Nothing is sent again but what was under way."""
    index = LocalIndex("team.sqlite")
    entry = index.insert_dataset(
        atdata.write_samples(map(Reading, range(SHARDS)), "readings-%06d.tar", maxcount=1, overwrite=True),
        name="readings",
        version="1.0.0",
    )
    assert len(entry.shards) == SHARDS
    objects = SHARDS if MANY or where == "bucket" else 3 * SHARDS  # a blob is also each of the two files of a manifest
    sent, kill_at, running = [0], [0], [0]

    def before(request: Any) -> None:
        if "uploadBlob" in request.path:
            sent[0] += 1
            if sent[0] == kill_at[0]:
                os.kill(running[0], signal.SIGKILL)

    for server in network.pds_servers:
        server.before = before
    arguments = [alice.handle, alice.password, where, s3_server.url, s3_server.key, s3_server.secret, public_bucket]

    def promote(limit: int | None) -> tuple[int, str]:
        kill_at[0] = limit or 0
        environment = {**os.environ, **network.environment}
        command = [sys.executable, "-c", PROGRAM, *arguments]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            running[0] = process.pid
            while where == "bucket" and limit and process.poll() is None:
                if len(s3_server.keys(public_bucket)) >= limit:
                    process.kill()
            output, _ = process.communicate()
        return process.returncode, output

    written: dict[str, Any] = {}
    for limit in range(objects // 6, objects, objects // 6)[:5]:
        code, _ = promote(limit)
        assert code == -signal.SIGKILL
        written.update(when_written(s3_server, public_bucket))
    code, output = promote(None)
    assert code == 0
    uri = AtUri(output.strip())
    if where == "blobs":
        listed = network.client().read(uri, Entry).manifests
        assert len(listed) == (0 if MANY else SHARDS), "with theirs, 400 shards do not fit into a record"
        assert sent[0] <= objects + 5, "only what was under way is sent again"
    else:
        there = when_written(s3_server, public_bucket)
        assert len(there) == objects
        again = [key for key, moment in written.items() if there[key] != moment]
        assert not again, "what is there is not sent again"
    assert [count(alice, kind) for kind in ("schema", "entry", "label")] == [1, 1, 1]
    loaded = atdata.load_dataset(f"@{alice.handle}/readings", client=network.client(bob), split="train")
    assert [sample.number for sample in loaded] == list(range(SHARDS))
