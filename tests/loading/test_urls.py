"""URLs that name shards: what they stand for, and which are refused before anything is asked."""

from __future__ import annotations

import pytest

import atdata
from atdata.errors import LimitError, UsageError


def test_without_an_emulator_google_is_asked_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    (shard,) = atdata.load_dataset("gs://bucket/some key.tar", split="train").shards
    assert shard.url == "https://storage.googleapis.com/bucket/some%20key.tar"


def test_s3_addresses_may_be_in_brace_notation() -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    loaded = atdata.load_dataset("s3://bucket/{train,test}-{0..1}.tar")
    assert {name: [shard.url for shard in dataset.shards] for name, dataset in loaded.items()} == {
        "train": ["s3://bucket/train-0.tar", "s3://bucket/train-1.tar"],
        "test": ["s3://bucket/test-0.tar", "s3://bucket/test-1.tar"],
    }


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "s3://bucket/",
        "s3://bucket",
        "s3://bucket/train-*.tar",
        "s3://bucket/folder/",
        "gs://bucket",
        "gs:///key",
        "gs://bucket/**",
        "https://a.test/folder/",
        "https://a.test/*.tar",
        "ftp://a.test/b.tar",
        "http://a.test/{0.tar",
    ],
)
def test_places_that_cannot_be_listed_or_read_say_so(ref: str) -> None:
    with pytest.raises(UsageError) as caught:
        atdata.load_dataset(ref)
    assert caught.value.hint or caught.value.expected


def test_an_address_stands_for_so_many_shards_at_most() -> None:
    with pytest.raises(LimitError) as caught:
        atdata.load_dataset("http://a.test/{0..99999999}.tar")
    assert caught.value.expected


def test_a_bucket_that_cannot_be_one_selects_no_server() -> None:
    for bucket in ("b?cket", "a@b", "..:80", "%2e"):
        with pytest.raises(UsageError, match="bucket"):
            atdata.load_dataset(f"gs://{bucket}/key")


def test_a_scheme_that_was_mistyped_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'https'"):
        atdata.load_dataset("htps://a.test/b.tar")
