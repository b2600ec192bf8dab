"""A service and a search without one answer the same: the same records in the same order, pages, totals and facets."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.discovery import Discovery
from atdata.records import Schema
from atdata.testing import Devnet
from support.appviews import ENTRY, LABEL, LENS, SCHEMA, Asker, entry, label
from support.commands import served
from support.networks import fresh_handle

WORDS = [
    "retina",
    "scan",
    "plasma",
    "serum",
    "fundus",
    "oct",
    "cohort",
    "blood",
    "cell",
    "mnist",
    "ResNet50",
    "眼底写真",
]
LICENSES = [
    "MIT",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "Apache-2.0 OR MIT",
    "https://creativecommons.org/licenses/by/4.0/",
]


@atdata.packable
class Scan:
    """An image of the back of an eye."""

    image: NDArray[np.uint8]
    intensity: float


@atdata.packable
class Blood:
    cells: int
    note: str


@dataclass
class Both:
    """A service and a search without one, over the same repositories."""

    asker: Asker
    discovery: Discovery
    publishers: list[str]
    schemas: list[str]


def records_of(did: str, chance: random.Random, schemas: list[str]) -> dict[str, Any]:
    """What one account publishes."""

    def words(count: int) -> str:
        return " ".join(chance.choices(WORDS, k=count))

    found: dict[str, Any] = {}
    for number in range(14):
        shards = [
            {
                "url": f"https://example.org/{n}.tar",
                **({"checksum": {"algorithm": "sha256", "digest": "ab" * 32}} if known else {}),
            }
            for n, known in enumerate(chance.choice([[True], [True, False], [False]]))
        ]
        storage = {"$type": "science.alt.dataset.storageHttp", "shards": shards}
        if not all("checksum" in shard for shard in shards):
            storage = {"$type": "science.alt.dataset.storageExternal", "urls": ["s3://bucket/a.tar"]}
        more = {
            "description": words(6),
            "tags": chance.sample(["eye", "raw", "two words", "Blood"], chance.randrange(4)),
            "license": chance.choice(LICENSES),
            "createdAt": f"2026-0{chance.randint(1, 3)}-01T00:00:00.000Z",
            "storage": storage,
            **(
                {"size": {"samples": 10 ** chance.randrange(7), "bytes": 10 ** chance.randrange(10)}}
                if number % 3
                else {}
            ),
        }
        found[f"{ENTRY}/{number:02}"] = entry(words(2).replace(" ", "-"), chance.choice(schemas), **more)
        if number % 4 == 0:
            uri = f"at://{did}/{ENTRY}/{number:02}"
            found[f"{LABEL}/{number:02}"] = label(chance.choice(["stable", "deprecated"]), uri, f"1.{number}.0")
    return found


def fill(net: Devnet) -> tuple[list[str], list[str]]:
    """Publish on some accounts; their DIDs, and schemas."""
    chance = random.Random(16)
    accounts = [net.create_account(fresh_handle(), server=number % 2) for number in range(5)]
    first = accounts[0].did
    types = {
        "Scan:1.0.0": Schema.of(Scan, version="1.0.0"),
        "Scan:1.1.0": Schema.of(Scan, version="1.1.0"),
        "Blood:1.0.0": Schema.of(Blood, version="1.0.0"),
    }
    schemas = [f"at://{first}/{SCHEMA}/{key}" for key in types]
    code = {"repository": "https://example.org/git", "commit": "0" * 40, "path": "a.py:f"}
    lens = {"$type": LENS, "name": "scan to blood", "sourceSchema": schemas[0], "targetSchema": schemas[2]}
    lens |= {"getterCode": code, "putterCode": code, "createdAt": "2026-01-01T00:00:00.000Z"}
    records = {f"{SCHEMA}/{key}": one.to_record() for key, one in types.items()}
    net.account(first).repo.write({**records, f"{LENS}/a": lens})
    for account in accounts:
        net.account(account.did).repo.write(records_of(account.did, chance, schemas))
    return [account.did for account in accounts], schemas


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("agreement")
    with Devnet(servers=2) as net:
        dids, schemas = fill(net)
        upstreams = [text for server in net.pds_servers for text in ("--upstream", server.url.replace("http", "ws", 1))]
        count = sum(len(net.account(did).repo.records) for did in dids)
        with served(
            *upstreams, "--database", f"sqlite://{folder}/appview.db", "--rate", "0", environment=net.environment
        ) as url:
            asker, until = Asker(url), time.monotonic() + 60
            while asker.get("describeService").json["recordCount"] < count:
                assert time.monotonic() < until
                time.sleep(0.05)
            discovery = Discovery(net.client())
            assert {item.error for item in discovery.bring(dids)} == {None}
            yield Both(asker, discovery, dids, schemas)
            asker.close()


def questions(both: Both) -> st.SearchStrategy[str]:
    """Questions over all keys that there are."""
    word = st.sampled_from([*WORDS, "nothing", "snake_case", "resnet", "写真"])
    sizes = st.sampled_from([">=1k", "<1k", "1k..1M", "10k", "unknown", ">=1M"])
    values: dict[str, st.SearchStrategy[str]] = {
        "kind": st.sampled_from(["dataset", "schema", "lens", "dataset,lens"]),
        "license": st.sampled_from(["MIT", "CC-BY", "cc-by-4.0", "CC0-1.0,MIT", "Apache-2.0", "GPL"]),
        "tag": st.sampled_from(["eye", "raw", '"two words"', "blood", "eye,raw"]),
        "field": st.sampled_from(["image", "cells", "none"]),
        "type": st.sampled_from(["str", "NDArray", "NDArray[uint8]", "int"]),
        "shape": st.sampled_from(["?x3", "224x224x3"]),
        "publisher": st.sampled_from(both.publishers),
        "samples": sizes,
        "size": sizes,
        "storage": st.sampled_from(["http", "external", "s3", "blobs"]),
        "digests": st.sampled_from(["all", "some", "none"]),
        "label": st.sampled_from(["stable", "deprecated"]),
        "schema": st.sampled_from(both.schemas),
        "compatible": st.sampled_from(both.schemas),
    }
    conditions = [st.tuples(st.just(key), value).map(":".join) for key, value in values.items()]
    condition = st.tuples(st.sampled_from(["", "", "-"]), st.one_of(conditions)).map("".join)
    phrase = st.tuples(word, word).map(lambda pair: f'"{pair[0]} {pair[1]}"')
    part = st.one_of(word, word.map(lambda text: f"{text[:3]}*"), phrase, condition, condition)
    return st.lists(part, max_size=3).map(" ".join)


def of_service(both: Both, text: str, limit: int) -> list[Any]:
    pages, cursor = [], {}
    while True:
        said = both.asker.get("searchRecords", q=text, limit=limit, facets="true", **cursor).json
        facets = {one["kind"]: [(each["value"], each["count"]) for each in one["values"]] for one in said["facets"]}
        pages.append(([view["uri"] for view in said["records"]], said["hitsTotal"], said["exact"], facets))
        if "cursor" not in said:
            return pages
        cursor = {"cursor": said["cursor"]}


def of_this_machine(both: Both, text: str, limit: int) -> list[Any]:
    pages, cursor = [], None
    while True:
        said = both.discovery.search(text, limit=limit, cursor=cursor)
        facets = {kind: [(each.value, each.count) for each in values] for kind, values in said.facets.items()}
        pages.append(([str(hit.record.uri) for hit in said.hits], said.total, said.exact, facets))
        if said.cursor is None:
            return pages
        cursor = said.cursor


def test_they_agree_on_two_hundred_questions(both: Both) -> None:
    found = list[int]()

    @seed(16)
    @settings(max_examples=200, database=None)
    @given(data=st.data())
    def agree(data: st.DataObject) -> None:
        text, limit = data.draw(questions(both)), data.draw(st.sampled_from([1, 7, 25, 100]))
        with_service = of_service(both, text, limit)
        assert with_service == of_this_machine(both, text, limit), text
        found.append(with_service[0][1])

    agree()
    assert len(found) >= 200
    assert sum(count > 0 for count in found) > 80, "most questions find something"
    assert max(found) > 70
