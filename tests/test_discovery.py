"""A search without a service: verified copies of the repositories that one names, on this machine."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.discovery import Discovery
from atdata.errors import IdentifierError, NetworkError, NotFoundError, UsageError
from atdata.search import SearchIndex
from atdata.testing import Devnet
from atdata.testing.http import Answer, Request
from support.networks import fresh_handle
from support.terminal import Terminal


@atdata.packable
class Spectrum:
    """A mass spectrum."""

    intensity: float


@atdata.packable
class Picture:
    width: int


def publish(devnet: Devnet, account: Any, sample: Any, name: str, **facts: Any) -> None:
    client = devnet.client(account)
    rows = atdata.write_samples([sample], str(client.settings.data / f"{name}.tar"))
    AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(rows, name=name, **facts)


def names(found: Discovery, text: str) -> list[str]:
    return [hit.record.value["name"] for hit in found.search(text).hits]


def requests(devnet: Devnet) -> int:
    return sum(len(server.requests) for server in devnet.pds_servers)


def test_what_accounts_published_is_found_and_follows_what_changes(devnet: Devnet) -> None:
    alice, bob = (devnet.create_account(fresh_handle()) for _ in range(2))
    publish(devnet, alice, Spectrum(1.0), "plasma", tags=["blood"], license="CC-BY-4.0")
    publish(devnet, bob, Picture(3), "cats", license="MIT")
    client = devnet.client()
    found = Discovery(client)
    assert names(found, "plasma") == []
    brought = found.bring([alice.handle, bob.did])
    assert [(item.did, item.error) for item in brought] == [(alice.did, None), (bob.did, None)]
    assert names(found, "plasma") == ["plasma"]
    assert names(found, "intensity kind:dataset") == ["plasma"], "a field of its schema"
    assert names(found, "license:MIT") == ["cats"]
    assert set(names(found, "")) >= {"plasma", "cats"}
    assert {found.handle(account.did) for account in (alice, bob)} == {alice.handle, bob.handle}
    publish(devnet, alice, Spectrum(2.0), "serum")
    assert names(found, "serum") == []
    found.bring([alice.handle], fresh=0)
    assert names(found, "serum") == ["serum"]
    writer = devnet.client(alice)
    writer.records.delete(AtmosphereIndex(writer).get_dataset("serum").located)
    assert AtmosphereIndex(devnet.client()).list_datasets(alice.handle)
    Discovery(client).bring([alice.did], fresh=0)
    assert names(Discovery(client), "serum kind:dataset") == []


def test_what_else_reads_a_repository_feeds_the_search(devnet: Devnet) -> None:
    alice = devnet.create_account(fresh_handle())
    publish(devnet, alice, Spectrum(1.0), "plasma")
    client = devnet.client()
    AtmosphereIndex(client).list_datasets(alice.handle)
    assert names(Discovery(client), "plasma kind:dataset") == ["plasma"]


def test_what_is_brought_takes_the_documents_to_the_end_of_the_log(devnet: Devnet) -> None:
    """Also of what others wrote before; and they are what is made of the records anew."""
    alice, bob, carol = (devnet.create_account(fresh_handle()) for _ in range(3))
    for account, name in ((alice, "plasma"), (bob, "serum"), (carol, "urine")):
        publish(devnet, account, Spectrum(1.0), name, tags=[name, "fluid"])
    client = devnet.client()
    found = Discovery(client)
    found.bring([alice.did])
    client.reader.follow(client.reader.identity(bob.did))
    found.bring([carol.did])
    replica, documents = found._replica, "SELECT * FROM search_documents ORDER BY id"
    kept = replica.read(lambda reading: reading.sql.all(documents))
    assert len(kept) == 6, "three datasets, and as many schemas"
    behind = "SELECT (SELECT max(number) FROM replica_changes) - change FROM search_followed"
    assert replica.read(lambda reading: reading.sql.first(behind)) == (0,)
    replica.write(lambda writing: SearchIndex().rebuild(writing.sql))
    assert set(names(found, "fluid")) == {"plasma", "serum", "urine"}
    assert replica.read(lambda reading: reading.sql.all(documents)) == kept


def test_much_that_is_to_be_followed_is_left_for_the_question(devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.search.index.FOLLOWED_AT_ONCE", 2)
    alice = devnet.create_account(fresh_handle())
    publish(devnet, alice, Spectrum(1.0), "plasma")
    found = Discovery(devnet.client())
    found.bring([alice.did])
    kept = "SELECT (SELECT count(*) FROM search_documents), count(*) > 2 FROM replica_changes"
    assert found._replica.read(lambda reading: reading.sql.first(kept)) == (0, 1)
    assert names(found, "plasma") == ["plasma"]


def test_a_repository_that_was_looked_into_is_not_asked_again_for_a_while(devnet: Devnet) -> None:
    accounts = [devnet.create_account(fresh_handle()) for _ in range(3)]
    client, repos = devnet.client(), [account.handle for account in accounts]
    Discovery(client).bring(repos)
    before = requests(devnet)
    other = devnet.client(folder=str(client.settings.cache.parent.name))
    assert other.settings.cache == client.settings.cache
    assert {item.error for item in Discovery(other).bring([*repos, *(account.did for account in accounts)])} == {None}
    assert requests(devnet) == before, "nor is who it is"
    Discovery(other).bring(repos[:1], fresh=0)
    assert requests(devnet) > before


def test_one_that_cannot_be_reached_is_said_and_searched_as_it_was(devnet: Devnet) -> None:
    alice, bob = (devnet.create_account(fresh_handle()) for _ in range(2))
    publish(devnet, alice, Spectrum(1.0), "plasma")
    found = Discovery(devnet.client())
    found.bring([alice.handle])

    def lie(request: Request, answer: Answer) -> Answer:
        gone = request.path.endswith(("sync.getRepo", "sync.getRecord")) and alice.did in request.target.replace(
            "%3A", ":"
        )
        return Answer.error(500, "InternalServerError", "no") if gone else answer

    devnet.tell(lie)
    said = found.bring([alice.handle, bob.handle, "nobody.test"], fresh=0)
    devnet.tell(None)
    assert [type(item.error) for item in said][1] is type(None)
    assert isinstance(said[0].error, NetworkError)
    assert said[2].did is None
    assert said[2].error is not None
    assert names(found, "plasma kind:dataset") == ["plasma"]


def test_what_is_no_account_or_question_is_refused(devnet: Devnet) -> None:
    found = Discovery(devnet.client())
    with pytest.raises(IdentifierError):
        found.bring(["not an account"])
    with pytest.raises(UsageError):
        found.search("a" * 2000)
    with pytest.raises(UsageError, match="cursor"):
        found.search("a", cursor="x")


def test_the_command_line_searches(
    devnet: Devnet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alice = devnet.create_account(fresh_handle())
    publish(
        devnet, alice, Spectrum(1.0), "plasma", description="Of\x1b[31m blood", license="MIT", tags=["blood", "raw"]
    )
    publish(devnet, alice, Spectrum(2.0), "serum", license="CC0-1.0", tags=["blood"])
    monkeypatch.setenv("ATDATA_CACHE", str(tmp_path / "cache"))
    for name, value in devnet.environment.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal(capsys, monkeypatch)
    assert terminal.run("search", "blood", "--repo", alice.handle) == 0, terminal.err
    assert "plasma" in terminal.out
    assert "\x1b" not in terminal.out
    said = terminal.json("search", "blood", "license:MIT")
    assert [hit["name"] for hit in said["hits"]] == ["plasma"]
    assert said["hits"][0]["by"] == f"@{alice.handle}"
    assert said["hits"][0]["description"] == "Of\x1b[31m blood"
    size = said["hits"][0]["size"]
    assert type(size) is int
    assert said["hits"][0]["kind"] == "dataset"
    asked = [f'{key}:"{count["value"]}"' for key, counts in said["facets"].items() for count in counts]
    assert [hit["uri"] for hit in terminal.json("search", *asked)["hits"]] == [said["hits"][0]["uri"]]
    assert {"license", "kind", "size", "samples", "publisher"} <= said["facets"].keys()
    page = terminal.json("search", "blood", "kind:dataset", "--limit", "1")
    after = terminal.json("search", "blood", "kind:dataset", "--limit", "1", "--cursor", page["cursor"])
    assert {page["hits"][0]["name"], after["hits"][0]["name"]} == {"plasma", "serum"}
    assert terminal.run("search", "nothing-of-the-kind") == 0
    assert "Nothing was found" in terminal.out
    assert terminal.run("search", "a", "--repo", "not an account") == 2
    assert terminal.run("search", "a", "--repo", "nobody.test") != 0
    assert terminal.run("search", "size:huge") == 2
    assert terminal.run("search", "blood", "-tag:raw") == 2
    assert "stands after --" in terminal.err
    assert terminal.run("search", "--json", "--", "blood", "-tag:raw") == 0
    assert [hit["name"] for hit in json.loads(terminal.out)["hits"]] == ["serum"]


def test_what_is_known_is_found_without_what_brings_and_reads_it(devnet: Devnet) -> None:
    alice = devnet.create_account(fresh_handle())
    publish(devnet, alice, Spectrum(1.0), "plasma", license="MIT", tags=["blood"])
    client = devnet.client()
    Discovery(client).bring([alice.did])
    assert names(Discovery(client), "blood") == ["plasma"]  # which takes it into the search
    program = f"""
import sys
from atdata.atmosphere import AtmosphereClient
from atdata.discovery import Discovery

found = Discovery(AtmosphereClient(cache={str(client.settings.cache)!r})).search("blood license:MIT")
assert found.hits[0].record.parse().name == "plasma"
print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    costly = {
        *("atdata.samples", "atdata.schema", "atdata.lens.functions", "atdata.shards.writer", "atdata.policy.policy"),
        *(
            "atdata.transport",
            "atdata.atproto.fetch",
            "atdata.atproto.verify",
            "atdata.atproto.net",
            "ssl",
        ),
    }
    assert set(done.stdout.split()) & costly == set()


def test_an_account_that_is_gone_is_found_no_more_until_it_is_back(devnet: Devnet) -> None:
    alice = devnet.create_account(fresh_handle())
    publish(devnet, alice, Spectrum(1.0), "plasma")
    client = devnet.client()
    found = Discovery(client)
    found.bring([alice.handle])
    assert names(found, "plasma") == ["plasma"]
    for state in ("deactivated", "takendown"):
        devnet.account(alice.did).status = state
        (item,) = found.bring([alice.handle], fresh=0)
        assert isinstance(item.error, NotFoundError)
        assert names(found, "plasma") == names(found, "kind:dataset publisher:" + alice.did) == []
        devnet.account(alice.did).status = None
        found.bring([alice.handle], fresh=0)
        assert names(found, "plasma") == ["plasma"]
        assert AtmosphereIndex(client).get_dataset(f"@{alice.handle}/plasma").name == "plasma"
    devnet.host(alice.did).delete_account(alice.did)
    found.bring([alice.handle], fresh=0)
    assert names(found, "plasma") == []


def damage_header(file: Path) -> None:
    file.write_bytes(b"nothing of a database" * 5000)


def damage_end(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20_000])


def damage_pages(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    file.write_bytes(data)


def damage_record(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        for number, block in db.execute("SELECT id, block FROM replica_records").fetchall():
            changed = block.replace(b"plasma", b"pla%ma")
            db.execute("UPDATE replica_records SET block = ? WHERE id = ?", [changed, number])


def damage_nodes(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE replica_nodes SET block = zeroblob(20)")


def lose_a_record(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE replica_records SET block = CAST('' AS BLOB) WHERE kind LIKE '%entry'")


@pytest.mark.parametrize(
    ("reads", "damage"),
    [
        *(("search", each) for each in (damage_header, damage_end, damage_pages, damage_record, damage_nodes)),
        *(("load", each) for each in (damage_header, lose_a_record, damage_nodes)),
        ("publish", damage_record),
    ],
)
def test_copies_that_were_damaged_are_made_anew(devnet: Devnet, damage: Any, reads: str) -> None:
    alice = devnet.create_account(fresh_handle())
    publish(devnet, alice, Spectrum(1.0), "plasma")
    client = devnet.client(alice)
    found = Discovery(client)
    found.bring([alice.handle])
    assert names(found, "plasma") == ["plasma"]
    for replica in (found._replica, client.reader.replica):
        replica.close()
    file = client.settings.cache / "repositories.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(file)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    if reads == "publish":
        rows = atdata.write_samples([Spectrum(2.0)], str(client.settings.data / "serum.tar"))
        index.insert_dataset(rows, name="serum")
    if reads == "load":
        assert index.get_dataset(f"@{alice.handle}/plasma").name == "plasma"
        assert [entry.name for entry in index.list_datasets(alice.handle)] == ["plasma"]
    found = Discovery(client)
    found.bring([alice.handle], fresh=0)
    assert names(found, "plasma") == ["plasma"]
    assert names(found, "serum") == ["serum"] * (reads == "publish")
