"""A view of a repository that changes: what it says is what the tree says, and only what is new is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.repo.view import RepositoryView
from atdata.atproto.syntax import Did, Nsid, Tid

DID, KEY = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), PrivateKey.generate("k256")
COLLECTIONS = [Nsid(f"com.example.{name}") for name in ("alpha", "beta", "gamma", "delta")]
KEYS = st.builds("{}/{}".format, st.sampled_from(COLLECTIONS), st.integers(0, 400))
RECORDS = {number: b"\x18" + bytes([number]) for number in range(24, 64)}
STATES = st.lists(st.dictionaries(KEYS, st.sampled_from(sorted(RECORDS)), max_size=60), min_size=1, max_size=5)


def commit_of(records: dict[str, int]) -> tuple[ProvenCommit, dict[Cid, bytes]]:
    contents = {Cid.of_cbor(block): block for block in RECORDS.values()}
    cids = {key: Cid.of_cbor(RECORDS[number]) for key, number in records.items()}
    root, nodes = mst.build(cids)
    commit = Commit.sign(KEY, DID, Tid.now(), root)
    return ProvenCommit(commit.cid, commit, {}), {**nodes, **{cid: contents[cid] for cid in cids.values()}}


@given(STATES, st.booleans())
def test_it_follows_a_repository(states: list[dict[str, int]], with_records: bool) -> None:
    wanted = (COLLECTIONS[1], COLLECTIONS[3])
    view = RepositoryView(wanted, with_records)
    for records in states:
        proven, server = commit_of(records)
        view.move_to(proven)
        while missing := view.missing():
            assert not view.blocks.keys() & set(missing), "nothing is asked for twice"
            view.blocks.update({cid: server[cid] for cid in missing})
        expected = sorted((key, number) for key, number in records.items() if Nsid(key.split("/")[0]) in wanted)
        assert view.leaves == tuple((key, Cid.of_cbor(RECORDS[number])) for key, number in expected)
        assert not with_records or all(leaf.value in view.blocks for leaf in view.leaves)


def test_what_did_not_change_is_not_read_again() -> None:
    records = {f"{COLLECTIONS[number % 4]}/{number:04d}": 24 + number % 40 for number in range(2_000)}
    view = RepositoryView(tuple(COLLECTIONS))
    proven, server = commit_of(records)
    view.blocks.update(server)
    view.move_to(proven)
    assert view.missing() == []
    proven, server = commit_of({**records, f"{COLLECTIONS[2]}/9999": 30})
    fresh = {cid: block for cid, block in server.items() if cid not in view.blocks}
    view.blocks = fresh  # what was read is not needed any more, and neither are the old records' blocks
    view.with_records = False
    view.move_to(proven)
    assert view.missing() == []
    assert len(fresh) < 12
    assert len(view.leaves) == 2_001
