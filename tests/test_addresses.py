"""Whatever text stands where an address should: what comes of it is a result, or one of our errors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereClient
from atdata.errors import AtdataError
from atdata.local import S3DataStore
from atdata.settings import Settings
from atdata.shards.addresses import source_at
from atdata.shards.ports import ShardRef
from atdata.transport import Get, Transport
from atdata.transport.download import Download, read_range

STRANGE = [
    "",
    "http://[::1",
    "HTTP://[::1",
    "https://[",
    "http://]/x",
    "//[zz]/",
    "https://a.test:port/",
    "https://a.test:99999999999/",
    "http://a\u2028b/",
    "http://a\ud800/",
    "http://\x00/",
    "http://" + "a" * 70 + ".test/x.tar",
    "http://a..b/x.tar",
    "http://%00/x.tar",
    "http://1.2.3.4.5/x.tar",
    "https://xn--/x.tar",
    "https://user:pw@[/",
    "https://a.test/\ud800.tar",
    "s3://[b/k",
    "s3://b]/k",
    "s3://b/\ud800",
    "gs://[b/k",
    "gs://b/[k",
    "gs://b/\ud800",
    "file://[x",
    "file://[::1/x.tar",
    "at://[x/y",
]


def quiet() -> Transport:
    return Transport(sleep=lambda _: None, patience=0.5)


def opened(url: str) -> object:
    with source_at([url]).open(ShardRef(url)) as stream:
        return stream.read()


WAYS: dict[str, Callable[[str], Any]] = {
    "load_dataset": lambda url: atdata.load_dataset(url, split="train"),
    "load_dataset, streaming": lambda url: list(atdata.load_dataset(url, split="train", streaming=True)),
    "Dataset": lambda url: list(atdata.Dataset[atdata.DictSample](url)),
    "source_at": opened,
    "get": lambda url: quiet().get(Get(url)),
    "get, spelled out": lambda url: quiet().trusting(url).get(Get(url)),
    "Download": lambda url: Download(quiet(), url),
    "read_range": lambda url: read_range(quiet(), url, 0, 1),
    "AtmosphereClient": lambda url: AtmosphereClient(base_url=url),
    "settings": lambda url: Settings.of(plc_url=url, resolver_url=url),
    "S3DataStore": lambda url: S3DataStore(bucket="bucket", endpoint_url=url),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", STRANGE, ids=ascii)
def test_no_other_error_comes_of_an_address(
    way: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ATDATA_CACHE", "ATDATA_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("ATDATA_PATIENCE", "0.5")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is there
    with suppress(AtdataError):
        WAYS[way](url)
