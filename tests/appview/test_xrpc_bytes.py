"""Whatever strangers ask, and however large the records are that strangers wrote: few of their bytes are read at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from atdata.appview.web.addresses import record_path
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import from_json
from atdata.atproto.repo.node import key_depth
from atdata.records.nsids import LENS_VERIFICATION
from atdata.replica import StoredRecord
from support.appviews import (
    ALICE,
    BOB,
    ENTRY,
    LABEL,
    LENS,
    NAMESPACE,
    SCHEMA,
    Author,
    answering,
    at,
    entry,
    label,
    lens,
)


@pytest.mark.parametrize(
    "of", ["a lens", "lenses", "a verification", "a blob", "entries", "a dataset's page", "a lens's page"]
)
def test_no_question_reads_many_bytes_of_large_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    large, cid = {"more": "x" * 900_000}, "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    of_row, read = StoredRecord.of_row.__func__, list[int]()  # type: ignore[attr-defined]

    def counted(cls: type[StoredRecord], row: Any) -> StoredRecord:
        found: StoredRecord = of_row(cls, row)
        read.append(len(found.block or b""))
        return found

    with answering(tmp_path / "a.db") as (replica, asker):
        first, second = lens(at(f"{SCHEMA}/a"), at(f"{SCHEMA}/b")), lens(at(f"{SCHEMA}/b"), at(f"{SCHEMA}/a"))
        Author(replica).write({f"{LENS}/a": first, f"{LENS}/b": second, f"{ENTRY}/e": entry("e")})
        word = {
            "$type": str(LENS_VERIFICATION),
            "verificationMethod": "codeReview",
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        words = {
            f"{LENS_VERIFICATION}/{name}{n}": {
                **word,
                "lens": at(f"{LENS}/{name}"),
                "lensCommit": str(Cid.of_cbor(cbor.encode(said))),
                **large,
            }
            for name, said in (("a", first), ("b", second))
            for n in range(12)
        }
        blob = from_json({"$type": "blob", "ref": {"$link": cid}, "mimeType": "application/x-tar", "size": 4})
        storage = {"$type": f"{NAMESPACE}.storageBlobs", "blobs": [{"blob": blob}]}
        others = {f"{ENTRY}/{n}": entry("e", storage=storage, **large) for n in range(12)}
        labels = {f"{LABEL}/{n}": label(f"l{n}", at(f"{ENTRY}/e", BOB), **large) for n in range(12)}
        Author(replica, BOB).write({**words, **others, **labels, f"{ENTRY}/e": entry("e")})
        monkeypatch.setattr(StoredRecord, "of_row", classmethod(counted))
        uris = [("uris", at(f"{ENTRY}/{n}", BOB)) for n in range(12)]
        path, most = {
            "a lens": (f"getLens?{urlencode({'uri': at(f'{LENS}/a')})}", 2_000_000),
            "lenses": ("listLenses?limit=100", 3_000_000),
            "a verification": ("listVerifications?limit=1", 2_000_000),
            "a blob": (f"resolveBlobs?{urlencode({'uris': f'at://{BOB}/blob/{cid}'})}", 0),
            "entries": (f"getEntries?{urlencode(uris)}", 9_000_000),
            "a dataset's page": (str(record_path(at(f"{ENTRY}/e", BOB))), 4_500_000),
            "a lens's page": (str(record_path(at(f"{LENS}/a"))), 2_000_000),
        }[of]
        said = asker.send("GET", path if path.startswith("/") else f"/xrpc/{NAMESPACE}.{path}")
        assert said.status == (400 if of == "entries" else 200)
        assert sum(read) <= most, read


def test_a_proof_of_many_bytes_is_given_where_a_record_is_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atdata.appview.xrpc.views.MAX_NODES", 20_000)
    keys = [key for n in range(800) if key_depth(key := f"{LABEL}/{n}") == 0]  # of one node of the tree
    with answering(tmp_path / "a.db") as (replica, asker):
        Author(replica).write({key: label("l", at(f"{ENTRY}/e")) for key in keys})
        Author(replica, BOB).write({f"{LABEL}/b": label("b", at(f"{ENTRY}/e"))})
        views = asker.get("listLabels", proof="true").json["labels"]
        assert {view["did"] for view in views if "proof" in view} == {BOB}
        (alone,) = asker.get("listLabels", proof="true", limit=1, repo=ALICE).json["labels"]
        assert len(alone["proof"]) > 20_000
