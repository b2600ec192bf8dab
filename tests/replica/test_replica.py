"""A replica holds what the signed trees say, and nothing else, whatever is brought to it, and proves it again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import read_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit, prove_record
from atdata.atproto.syntax import AtUri, Did, Nsid, RecordKey, Tid
from atdata.databases import SqlConnection, open_connection
from atdata.errors import NotFoundError, ProofError, RollbackError
from atdata.replica import Moved, RecordChange, Replica, Writing, now
from atdata.replica.mending import forget_damaged
from atdata.replica.pages import links_to, page_of
from atdata.replica.statements import Statements
from atdata.replica.tables import COLLECTIONS, TABLES
from atdata.replica.writing import ASKED

DID, OTHER = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), Did("did:plc:z72i7hdynmk6r22z27h6tvur")
KEY = PrivateKey.generate("k256")
ENTRY, SCHEMA = "science.alt.dataset.entry", "science.alt.dataset.schema"
FOREIGN = "app.bsky.feed.post"


def entry(name: str, words: str = "", **members: Any) -> dict[str, Any]:
    """A record that is valid today."""
    shard = {"url": "https://example.org/a.tar", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}
    return {
        "$type": ENTRY,
        "name": name,
        "schemaRef": f"at://{OTHER}/{SCHEMA}/3k2aaaaaaaa2a",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "storage": {"$type": "science.alt.dataset.storageHttp", "shards": [shard]},
        **({"description": words} if words else {}),
        **members,
    }


@dataclass
class Account:
    """An account whose repository is made here."""

    did: Did = DID
    records: dict[str, bytes] = field(default_factory=dict)

    def commit(self, records: dict[str, Any]) -> tuple[ProvenCommit, dict[Cid, bytes]]:
        """The newest commit, and all blocks of it."""
        self.records = {
            key: value if isinstance(value, bytes) else cbor.encode(value) for key, value in records.items()
        }
        root, nodes = mst.build({key: Cid.of_cbor(block) for key, block in self.records.items()})
        commit = Commit.sign(KEY, self.did, Tid.now(), root)
        contents = {Cid.of_cbor(block): block for block in self.records.values()}
        return ProvenCommit(commit.cid, commit, {}), {**nodes, **contents}


class Follower:
    """Follows a change log, as whoever reads it does."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[str, Cid]] = {}

    def apply(self, sql: Statements, account: int, changes: list[RecordChange]) -> None:
        for change in changes:
            if change.action == "create":
                assert change.number not in self.rows
            else:
                assert self.rows[change.number][0] == change.key
            if change.cid is None:
                del self.rows[change.number]
            else:
                self.rows[change.number] = (change.key, change.cid)

    def show(self, sql: Statements, account: int, visible: bool) -> None:
        raise AssertionError("nobody asked")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.served)])
def replicas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Makes replicas that hold nothing."""
    count, made = itertools.count(), list[SqlConnection]()

    def make(derivations: Any = ()) -> Replica:
        if request.param == "sqlite":
            made.append(open_connection(tmp_path / f"{next(count)}.db", [TABLES], durable=False))
        elif not made:
            made.append(open_connection(request.getfixturevalue("postgres_url"), [TABLES], durable=False))
        replica = Replica(made[-1], derivations)
        if request.param != "sqlite":
            names = ("changes", "links", "records", "nodes", "identities", "accounts")
            tables = ", ".join(f"replica_{name}" for name in names)
            replica.write(lambda writing: writing.sql.run(f"TRUNCATE {tables} RESTART IDENTITY"))
        return replica

    yield make
    for connection in made:
        connection.close()


def bring(replica: Replica, proven: ProvenCommit, server: dict[Cid, bytes], now: int = 0) -> Moved:
    """Move a replica to a commit, giving it only what it asks for."""
    brought: dict[Cid, bytes] = {}

    def move(writing: Writing) -> Moved:
        return writing.move(proven, brought, now)

    while (moved := replica.write(move)).missing:
        assert not brought.keys() & set(moved.missing), "nothing is asked for twice"
        brought |= {cid: server[cid] for cid in moved.missing}
    return moved


def ask(replica: Replica, question: str, *values: Any) -> Any:
    return replica.read(lambda reading: getattr(reading, question)(*values))


def proof(replica: Replica, uri: AtUri) -> bytes:
    key = f"{uri.collection}/{uri.rkey}"
    return replica.read(lambda reading: reading.account(Did(uri.authority)).proofs([key])[key])


def held(replica: Replica, table: str) -> int:
    return int(replica.read(lambda reading: reading.sql.first(f"SELECT count(*) FROM {table}")[0]))


KEYS = st.builds(
    "{}/{}".format, st.sampled_from([ENTRY, SCHEMA, "ac.foundation.dataset.record", FOREIGN]), st.integers(0, 99)
)
VALUES = st.one_of(
    st.builds(entry, st.sampled_from(["a", "b", "\x00", "é"]), st.sampled_from(["", "words"])),
    st.sampled_from([{"$type": ENTRY}, {"$type": ENTRY, "name": "a"}, b"\x61a", b"\xff", b"\xa1"]),
)
STATES = st.lists(st.dictionaries(KEYS, VALUES, max_size=30), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATES)
def test_it_holds_what_the_newest_signed_tree_says(replicas: Any, states: list[dict[str, Any]]) -> None:
    follower, account = Follower(), Account()
    replica = replicas([follower])
    for state in states:
        proven, server = account.commit(state)
        bring(replica, proven, server)
        ours = {key: block for key, block in account.records.items() if key.partition("/")[0] in COLLECTIONS}
        assert dict(follower.rows.values()) == {k: Cid.of_cbor(b) for k, b in ours.items()}
        assert replica.read(lambda reading: reading.account(DID).head()) == proven.commit
        assert held(replica, "replica_records") == len(ours)
        for key, block in ours.items():
            uri = AtUri(f"at://{DID}/{key}")
            found = ask(replica, "get", uri)
            assert found is not None
            assert (found.block, found.cid, found.key) == (block, Cid.of_cbor(block), key)
            collection, _, rkey = key.partition("/")
            car = proof(replica, uri)
            file = read_car(car)
            assert file.roots == (proven.cid,)
            assert mst.lookup(proven.commit.data, key, file.blocks) == Cid.of_cbor(block)
            assert file.blocks[found.cid] == block
            if found.validity == "valid":
                proved = prove_record(car, DID, KEY.public, Nsid(collection), RecordKey(rkey))
                assert (proved.block, proved.commit) == (block, proven.commit)
        with pytest.raises(NotFoundError, match="no such record"):
            car = proof(replica, AtUri(f"at://{DID}/{ENTRY}/nobody"))
            prove_record(car, DID, KEY.public, Nsid(ENTRY), RecordKey("nobody"))
        # Of the tree it holds what leads to our records, and no more.
        path = {cid for key in ours for cid in mst.proof_path(proven.commit.data, key, server)}
        assert len(path) <= held(replica, "replica_nodes") <= len(server)
    log = replica.read(lambda reading: reading.sql.all("SELECT action, key, cid FROM replica_changes ORDER BY number"))
    folded: dict[bytes, bytes] = {}
    for action, key, cid in log:
        assert (key in folded) == (action != "create")
        folded = {**folded, key: cid} if action != "delete" else {k: v for k, v in folded.items() if k != key}
    assert folded == {key.encode(): bytes(cid) for key, cid in follower.rows.values()}


def test_an_older_commit_changes_nothing_and_a_second_one_of_a_revision_is_refused(replicas: Any) -> None:
    replica, account = replicas(), Account()
    first, first_blocks = account.commit({f"{ENTRY}/a": entry("a")})
    second, blocks = account.commit({f"{ENTRY}/a": entry("b")})
    assert len(bring(replica, second, blocks).changes) == 1
    assert bring(replica, second, blocks).was_there
    assert bring(replica, first, first_blocks).was_there
    assert replica.read(lambda reading: reading.account(DID).head()) == second.commit
    fork = Commit.sign(KEY, DID, second.commit.rev, first.commit.data)
    with pytest.raises(RollbackError, match="two commits of one revision"):
        bring(replica, ProvenCommit(fork.cid, fork, {}), first_blocks)
    replica.write(lambda writing: writing.sql.run("UPDATE replica_accounts SET root = NULL"))
    with pytest.raises(RollbackError):
        bring(replica, ProvenCommit(fork.cid, fork, {}), first_blocks)
    assert bring(replica, first, first_blocks).was_there


def test_what_is_missing_is_said_and_nothing_is_written(replicas: Any) -> None:
    replica, account = replicas(), Account()
    proven, blocks = account.commit({f"{ENTRY}/{number}": entry(f"n{number}") for number in range(50)})
    nodes_only = {cid: block for cid, block in blocks.items() if block not in account.records.values()}
    moved = replica.write(lambda writing: writing.move(proven, nodes_only, 0))
    assert set(moved.missing) == blocks.keys() - nodes_only.keys()
    assert moved.changes == ()
    assert replica.read(lambda reading: reading.account(DID).head()) is None
    assert held(replica, "replica_nodes") == held(replica, "replica_records") == held(replica, "replica_changes") == 0


def test_nodes_that_were_lost_are_brought_anew_with_what_was_deleted_meanwhile(replicas: Any) -> None:
    replica, account = replicas(), Account()
    before = {f"{ENTRY}/{number}": entry(f"n{number}") for number in range(50)}
    bring(replica, *account.commit(before))
    replica.write(lambda writing: writing.sql.run("UPDATE replica_accounts SET root = NULL"))
    after = {key: value for key, value in before.items() if not key.endswith("7")} | {f"{ENTRY}/3": entry("other")}
    proven, blocks = account.commit(after)
    moved = bring(replica, proven, blocks)
    assert sorted((change.action, change.key) for change in moved.changes) == [
        *(("delete", f"{ENTRY}/{number}") for number in (17, 27, 37, 47, 7)),
        ("update", f"{ENTRY}/3"),
    ]
    assert proof(replica, AtUri(f"at://{DID}/{ENTRY}/3"))


def test_the_same_content_elsewhere_need_not_be_brought(replicas: Any) -> None:
    replica, account = replicas(), Account()
    bring(replica, *account.commit({f"{ENTRY}/a": entry("a")}))
    proven, blocks = account.commit({f"{ENTRY}/a": entry("a"), f"{ENTRY}/b": entry("a")})
    nodes = {cid: block for cid, block in blocks.items() if block not in account.records.values()}
    assert len(bring(replica, proven, nodes).changes) == 1


def test_a_changed_row_is_noticed(replicas: Any) -> None:
    replica, account = replicas(), Account()
    bring(replica, *account.commit({f"{ENTRY}/a": entry("a")}))
    uri = AtUri(f"at://{DID}/{ENTRY}/a")
    forged = cbor.encode(entry("forged"))
    replica.write(lambda writing: writing.sql.run("UPDATE replica_records SET block = ?", forged))
    with pytest.raises(ProofError, match="not what its CID names"):
        ask(replica, "get", uri)
    replica.write(lambda writing: writing.sql.run("UPDATE replica_nodes SET block = ?", forged))
    with pytest.raises(ProofError, match="not what its CID names"):
        proof(replica, uri)


def test_records_are_found_by_name_version_time_and_link(replicas: Any) -> None:
    replica, account = replicas(), Account()
    target = f"at://{DID}/{ENTRY}/a"
    labels = {
        f"science.alt.dataset.label/{index}": {
            "$type": "science.alt.dataset.label",
            "name": "mnist",
            "datasetUri": target,
            "version": version,
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        for index, version in enumerate(["1.10.0", "1.9.0", "2.0.0-rc.1", "1.10.0-beta"])
    }
    bring(replica, *account.commit({f"{ENTRY}/a": entry("a"), **labels}), now=7)
    bring(replica, *Account(OTHER).commit({f"{ENTRY}/z": entry("z", createdAt="2999-01-01T00:00:00Z")}), now=9)

    def ask(reading: Any) -> None:
        found = reading.account(DID).named("science.alt.dataset.label", "mnist")
        assert [record.value["version"] for record in found] == ["2.0.0-rc.1", "1.10.0", "1.10.0-beta", "1.9.0"]
        assert reading.account(OTHER).named("science.alt.dataset.label", "mnist") == []
        first = links_to(reading.sql, AtUri(target), ["dataset"], limit=3)
        assert [link.record.key for link in first.links] == sorted(labels)[:3]
        assert first.last == (first.links[-1].record.number, "dataset")
        rest = links_to(reading.sql, AtUri(target), ["dataset"], 3, first.last)
        assert ([link.record.key for link in rest.links], rest.last) == (sorted(labels)[3:], None)
        assert links_to(reading.sql, AtUri(target), ["lens"], limit=3).links == []
        page = page_of(reading.sql, ENTRY, 1)
        assert [(record.did, record.sorted_at) for record in page.records] == [(OTHER, 9)], "nobody dates ahead"
        (older,) = page_of(reading.sql, ENTRY, 5, page.last).records
        assert (older.did, older.sorted_at, older.first_seen, older.verified_at) == (DID, 7, 7, 7)
        assert [r.key for r in reading.account(DID).all("science.alt.dataset.label", 2)] == sorted(labels)[:1:-1]

    replica.read(ask)


def test_the_first_so_many_are_the_newest_of_all_eras(replicas: Any) -> None:
    replica = replicas()
    old = "ac.foundation.dataset.record"
    keys = [f"{old}/{n}" for n in range(4)] + [f"{ENTRY}/{n}" for n in range(4)]
    records = {key: entry(key[-1]) for key in keys} | {f"{ENTRY}/2": {"$type": ENTRY}, f"{old}/3": {"$type": old}}
    bring(replica, *Account().commit(records), now=7)

    def ask(reading: Any) -> None:
        whole = reading.account(DID).all(ENTRY)
        assert [record.key for record in whole] == [*sorted(keys[4:], reverse=True), *sorted(keys[:4], reverse=True)]
        valid = [record for record in whole if record.validity != "invalid"]
        for limit in range(1, 10):
            last = valid[limit - 1] if limit <= len(valid) else whole[-1]
            expected = whole[: whole.index(last) + 1]
            assert reading.account(DID).all(ENTRY, limit) == expected, limit

    replica.read(ask)


NOW = 1_790_000_000_000_000


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000),
        ("0000-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("1960-01-01T00:00:00Z", -315_619_200_000_000),
        ("2999-01-01T00:00:00Z", NOW),
        ("today", NOW),
        (7, NOW),
    ],
)
def test_a_record_is_as_old_as_it_says_but_never_newer_than_it_is(replicas: Any, said: Any, moment: int) -> None:
    replica = replicas()
    bring(replica, *Account().commit({f"{ENTRY}/a": entry("a", createdAt=said)}), now=NOW)
    found = replica.read(lambda reading: reading.account(DID).all(ENTRY))
    assert [record.sorted_at for record in found] == [moment]


def test_an_account_that_is_not_active_is_hidden_and_comes_back(replicas: Any) -> None:
    replica = replicas()
    proven, blocks = Account().commit({f"{ENTRY}/a": entry("a")})
    bring(replica, proven, blocks)
    uri = AtUri(f"at://{DID}/{ENTRY}/a")
    for status in ("deactivated", "suspended", "takendown", "deleted"):
        replica.write(lambda writing, status=status: writing.set_status(DID, status, 1))
        assert replica.read(lambda reading: (reading.get(uri), page_of(reading.sql, ENTRY, 9).records)) == (None, [])
        with pytest.raises(NotFoundError):
            proof(replica, uri)
    replica.write(lambda writing: writing.set_status(DID, "active", 1))
    assert replica.read(lambda reading: len(page_of(reading.sql, ENTRY, 9).records)) == 1
    follower = Follower()
    gone = replica.write(lambda writing: writing.purge(DID, 5))
    assert [(change.action, change.key) for change in gone] == [("delete", f"{ENTRY}/a")]
    assert held(replica, "replica_records") == held(replica, "replica_nodes") == held(replica, "replica_links") == 0
    assert replica.read(lambda reading: reading.account(DID).head()) is None
    assert len(bring(replica, proven, blocks).changes) == 1, "it was recreated"
    assert follower.rows == {}


def test_a_mark_goes_only_if_it_was_not_renewed(replicas: Any) -> None:
    replica, before = replicas(), now()

    def behind(moment: int) -> list[Any]:
        return ask(replica, "behind", moment, 9)

    assert behind(2**62) == []
    replica.write(lambda writing: writing.mark_behind(DID, "a gap"))
    replica.write(lambda writing: writing.mark_behind(DID, "another"))
    marked = now()
    assert behind(before - 1) == [], "turns are in the order of the moments of marks"
    (mark,) = behind(marked)
    assert (mark.did, mark.reason, mark.marks, mark.tries) == (DID, "a gap", 2, 0)
    replica.write(lambda writing: writing.caught_up(DID, 1))
    assert behind(marked) == [mark]
    replica.write(lambda writing: writing.retry(DID, 2, marked + 11, marked + 10))
    assert behind(marked + 10) == []
    assert behind(marked + 11)[0].tries == 1
    replica.write(lambda writing: writing.caught_up(DID, 2))
    assert behind(2**62) == []


def test_a_reason_stays_unless_it_was_that_a_stranger_asked(replicas: Any) -> None:
    replica = replicas()
    for reason, kept in ((ASKED, ASKED), ("a gap", "a gap"), (ASKED, "a gap"), ("another", "a gap")):
        replica.write(lambda writing, it=reason: writing.mark_behind(DID, it))
        assert [mark.reason for mark in ask(replica, "behind", 2**62, 9)] == [kept]


def test_a_try_that_failed_does_not_outlast_news_that_came_meanwhile(replicas: Any) -> None:
    replica = replicas()
    for reason in ("a gap", "its identity may have changed"):
        replica.write(lambda writing, reason=reason: writing.mark_behind(DID, reason, 10))
    replica.write(lambda writing: writing.retry(DID, 1, 1_000, 10))
    assert [(mark.tries, mark.marks) for mark in ask(replica, "behind", 10, 9)] == [(1, 2)]
    replica.write(lambda writing: writing.retry(DID, 2, 1_000, 10))
    assert ask(replica, "behind", 999, 9) == [], "nothing was said since"


def test_a_tree_that_lacks_a_node_is_made_anew_and_its_records_stay(replicas: Any) -> None:
    replica, account = replicas(), Account()
    records = {f"{ENTRY}/{number}": entry(str(number)) for number in range(40)}
    bring(replica, *account.commit(records))
    replica.write(lambda writing: writing.sql.run("DELETE FROM replica_nodes") and None)
    proven, blocks = account.commit({**records, f"{ENTRY}/a": entry("a")})
    assert replica.write(lambda writing: writing.move(proven, {}, 0)).missing == (proven.commit.data,)
    assert [(change.action, change.key) for change in bring(replica, proven, blocks).changes] == [
        ("create", f"{ENTRY}/a")
    ]
    assert held(replica, "replica_records") == 41
    assert not replica.write(lambda writing: forget_damaged(writing, DID)), "it is whole"


def test_a_transaction_that_fails_leaves_nothing(replicas: Any) -> None:
    replica = replicas()
    proven, blocks = Account().commit({f"{ENTRY}/a": entry("a")})

    def work(writing: Writing) -> None:
        writing.move(proven, blocks, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replica.write(work)
    assert held(replica, "replica_records") == held(replica, "replica_accounts") == 0
