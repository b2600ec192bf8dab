"""Commits, and the proof of a record against everything a server could answer instead."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import read_car, write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import prove_commit, prove_record
from atdata.atproto.syntax import Did, Nsid, RecordKey, Tid
from atdata.errors import NotFoundError, ProofError, SignatureError, VerificationError

DID = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
OTHER = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
KEY = PrivateKey.from_bytes("k256", bytes(range(1, 33)))
STRANGER = PrivateKey.from_bytes("p256", bytes(range(1, 33)))
COLLECTION = Nsid("science.alt.dataset.entry")
REV = Tid("3jzfcijpj2z2a")
RECORD = {"$type": str(COLLECTION), "name": "mnist", "size": 60_000}
BLOCK = cbor.encode(RECORD)
RKEY = RecordKey("mnist")


class Repo:
    """A repository and the file that proves one of its records; each part can be replaced by a false one."""

    def __init__(self, **records: bytes) -> None:
        fillers = {f"{COLLECTION}/{number:04}": cbor.encode({"number": number}) for number in range(40)}
        self.records = {**fillers, **{f"{COLLECTION}/{name}": block for name, block in records.items()}}
        self.root, self.nodes = mst.build({key: Cid.of_cbor(block) for key, block in self.records.items()})
        self.commit = Commit.sign(KEY, DID, REV, self.root)

    def car(self, rkey: str = RKEY) -> bytes:
        key = f"{COLLECTION}/{rkey}"
        blocks = {self.commit.cid: self.commit.encode()}
        blocks |= {cid: self.nodes[cid] for cid in mst.proof_path(self.root, key, self.nodes)}
        if key in self.records:
            blocks[Cid.of_cbor(self.records[key])] = self.records[key]
        return write_car([self.commit.cid], blocks)


REPO = Repo(mnist=BLOCK)
CAR = REPO.car()


def prove(car: bytes, rkey: str = RKEY, did: Did = DID, key: PrivateKey = KEY) -> Any:
    return prove_record(car, did, key.public, COLLECTION, RecordKey(rkey))


def test_a_record_is_proven() -> None:
    proven = prove(CAR)
    assert (proven.cid, proven.block, proven.value) == (Cid.of_cbor(BLOCK), BLOCK, RECORD)
    assert (proven.commit, proven.commit_cid) == (REPO.commit, REPO.commit.cid)
    assert pickle.loads(pickle.dumps(proven)) == proven


def test_absence_is_proven() -> None:
    with pytest.raises(NotFoundError) as caught:
        prove(REPO.car("cifar"), "cifar")
    assert caught.value.uri == f"at://{DID}/{COLLECTION}/cifar"


def test_the_same_file_proves_nothing_else() -> None:
    for rkey in ("0000", "0039", "zzz"):
        with pytest.raises((ProofError, NotFoundError)):
            prove(CAR, rkey)


def without(car: bytes, cid: Cid) -> bytes:
    file = read_car(car)
    return write_car(file.roots, {other: block for other, block in file.blocks.items() if other != cid})


def failing_step(car: bytes, **changes: Any) -> str:
    with pytest.raises(VerificationError) as caught:
        prove(car, **changes)
    assert caught.value.uri == f"at://{changes.get('did', DID)}/{COLLECTION}/{RKEY}"
    assert caught.value.step
    return caught.value.step


def test_a_broken_file() -> None:
    assert failing_step(b"") == "car"
    assert failing_step(CAR[:-1]) == "car"
    assert failing_step(CAR + b"\0") == "car"
    assert failing_step(CAR[:-1] + bytes([CAR[-1] ^ 1])) == "car"


def test_a_file_without_its_commit() -> None:
    assert failing_step(write_car([], read_car(CAR).blocks)) == "commit"
    assert failing_step(without(CAR, REPO.commit.cid)) == "commit"
    assert failing_step(write_car([REPO.root], read_car(CAR).blocks)) == "commit"
    assert failing_step(write_car([Cid.of_raw(b"x")], {Cid.of_raw(b"x"): b"x"})) == "commit"


def test_the_commit_of_another_account() -> None:
    assert failing_step(CAR, did=OTHER) == "commit"


def test_a_commit_that_another_signed() -> None:
    assert failing_step(CAR, key=STRANGER) == "signature"
    for sig in (b"", bytes(64), STRANGER.sign(b"x"), REPO.commit.sig[:-1], REPO.commit.sig + b"\0"):
        forged = copy.copy(REPO)
        forged.commit = replace(REPO.commit, sig=sig)
        assert failing_step(forged.car()) == "signature"


@pytest.mark.parametrize(
    "change", [{"rev": Tid("3jzfcijpj2z2b")}, {"data": Cid.of_cbor(b"x")}, {"prev": Cid.of_cbor(b"x")}]
)
def test_a_signature_covers_every_field(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        replace(REPO.commit, **change).verify(KEY.public)


def test_a_path_with_a_gap() -> None:
    for cid in mst.proof_path(REPO.root, f"{COLLECTION}/{RKEY}", REPO.nodes):
        assert failing_step(without(CAR, cid)) == "proof"


def test_a_record_that_is_not_sent() -> None:
    assert failing_step(without(CAR, Cid.of_cbor(BLOCK))) == "record"


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xff",
        b"\x81" * 10_000,
        cbor.encode([]),
        cbor.encode("x"),
        cbor.encode({"a": 0.5}),
        BLOCK + b"\0",
        bytes.fromhex("a1616100")[:-1],
    ],
)
def test_a_record_that_is_none(block: bytes) -> None:
    assert failing_step(Repo(mnist=block).car()) == "record"


def test_the_bytes_of_a_record_decide_not_what_they_say() -> None:
    """A map with its keys out of order says the same and is another block: it is no record."""
    disordered = bytes.fromhex("a2 61 62 01 61 61 01")
    assert failing_step(Repo(mnist=disordered).car()) == "record"


def test_a_record_under_a_raw_cid() -> None:
    repo = Repo(mnist=BLOCK)
    key = f"{COLLECTION}/{RKEY}"
    repo.root, repo.nodes = mst.build({key: Cid.of_raw(BLOCK)})
    commit = Commit.sign(KEY, DID, REV, repo.root)
    car = write_car([commit.cid], {commit.cid: commit.encode(), **repo.nodes, Cid.of_raw(BLOCK): BLOCK})
    assert failing_step(car) == "record"


@given(st.integers(0, len(CAR) * 8 - 1))
def test_no_bit_of_a_proof_can_be_changed(bit: int) -> None:
    data = bytearray(CAR)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        prove(bytes(data))


def test_a_proof_cut_short_is_none() -> None:
    for end in range(len(CAR)):
        with pytest.raises(VerificationError):
            prove(CAR[:end])


def test_other_blocks_in_the_file_do_no_harm() -> None:
    file = read_car(CAR)
    more = {Cid.of_raw(b"x"): b"x", Cid.of_cbor(b"\xff"): b"\xff"}
    assert prove(write_car(file.roots, {**more, **file.blocks})).value == RECORD


def test_a_commit_alone_is_proven() -> None:
    proven = prove_commit(CAR, DID, KEY.public)
    assert proven.commit == REPO.commit
    assert proven.cid == REPO.commit.cid
    assert proven.blocks == read_car(CAR).blocks
    with pytest.raises(SignatureError) as caught:
        prove_commit(CAR, DID, STRANGER.public)
    assert (caught.value.step, caught.value.uri) == ("signature", f"at://{DID}")


def test_a_commit_is_read_as_it_was_written() -> None:
    block = REPO.commit.encode()
    commit = Commit.decode(block)
    assert commit == REPO.commit
    assert (commit.encode(), commit.cid) == (block, Cid.of_cbor(block))
    assert [type(part) for part in (commit.did, commit.rev)] == [Did, Tid]
    commit.verify(KEY.public)
    later = replace(commit, prev=commit.cid)
    assert Commit.decode(later.encode()) == later


FIELDS = cbor.decode(REPO.commit.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": True},
        {"version": "3"},
        {"did": "alice.test"},
        {"did": 7},
        {"rev": "now"},
        {"rev": None},
        {"data": None},
        {"data": Cid.of_raw(b"x")},
        {"data": str(REPO.root)},
        {"prev": "x"},
        {"prev": Cid.of_raw(b"x")},
        {"sig": "x"},
        {"sig": None},
        {"extra": 1},
    ],
    ids=str,
)
def test_what_is_no_commit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProofError) as caught:
        Commit.decode(cbor.encode({**FIELDS, **change}))
    assert caught.value.step == "commit"


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_commit_has_all_its_fields(name: str) -> None:
    with pytest.raises(ProofError):
        Commit.decode(cbor.encode({key: value for key, value in FIELDS.items() if key != name}))


@pytest.mark.parametrize("block", [b"", b"\xa0", b"\x80", b"\xf6", b"\x81" * 1000])
def test_what_is_no_block_of_a_commit_is_refused(block: bytes) -> None:
    with pytest.raises(ProofError):
        Commit.decode(block)
