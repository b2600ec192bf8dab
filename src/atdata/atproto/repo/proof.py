"""The proof that an account's repository holds a record: commit, path and record in one CAR file.

https://atproto.com/specs/repository, /sync; the file is what `com.atproto.sync.getRecord` serves. Five steps, each
naming itself in the error's `step` when it fails:

1. `car`: every block is what its CID names;
2. `commit`: the file's root is a commit of that account;
3. `signature`: the account's key signed it;
4. `proof`: the signed tree has the record's CID at the record's key, or provably has nothing there;
5. `record`: the record's block is there and is a record of the data model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import check_record
from atdata.atproto.keys import PublicKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import read_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.node import MissingBlockError
from atdata.atproto.syntax import AtUri, Did, Nsid, RecordKey
from atdata.errors import AtdataError, LimitError, NotFoundError, ProofError, VerificationError


class ProvenCommit(Struct, frozen=True):
    """A commit that an account signed, and the blocks that came with it.

    Attributes:
        cid: the CID of the commit.
        commit: the commit.
        blocks: all blocks of the file by their CIDs, each what its CID names.
    """

    cid: Cid
    commit: Commit
    blocks: Mapping[Cid, bytes]


class ProvenRecord(Struct, frozen=True):
    """A record that was in an account's repository when the account signed the commit.

    Attributes:
        cid: the CID of the record, recomputed from `block`.
        block: its bytes, as they came.
        value: what they say.
        commit: the signed commit.
        commit_cid: its CID.
    """

    cid: Cid
    block: bytes
    value: dict[str, Any]
    commit: Commit
    commit_cid: Cid


def prove_commit(
    car: bytes, did: Did, key: PublicKey, held: Mapping[Cid, bytes] = MappingProxyType({}), uri: AtUri | None = None
) -> ProvenCommit:
    """Steps 1 to 3: the signed commit of a CAR file, whatever else is in the file.

    Args:
        car: the file.
        did: whose commit it should be.
        key: the account's signing key at the time of the commit.
        held: blocks that were hashed before; a file of what changed since need not bring them again.
        uri: what to call it in errors; the repository unless given.

    Raises:
        VerificationError: a step failed; `step` names it.
        LimitError: the file has more blocks than are read.
    """
    uri = uri or AtUri.of(did)
    with _step("car", uri):
        file = read_car(car)
    with _step("commit", uri):
        if not file.roots:
            raise ProofError("the file names no root")
        cid = file.roots[0]
        block = file.blocks.get(cid) or held.get(cid)
        if block is None:
            raise MissingBlockError.of(cid)
        commit = Commit.decode(block)
        if commit.did != did:
            raise ProofError("the commit is another account's", expected=did, actual=commit.did)
    with _step("signature", uri):
        commit.verify(key)
    return ProvenCommit(cid, commit, file.blocks)


def claimed_account(car: bytes) -> Did:
    """The account whose commit a CAR file says to have. Nothing of the file is proven by that.

    Raises:
        ProofError: the file is none, or has no commit.
        LimitError: it has more blocks than are read.
    """
    file = read_car(car)
    block = file.blocks.get(file.roots[0]) if file.roots else None
    if block is None:
        raise ProofError("the file has no commit", step="commit")
    return Commit.decode(block).did


def proven_keys(proven: ProvenCommit) -> list[str]:
    """The keys in the signed tree of the records that came with a commit, as far as the nodes of the tree came too.

    Raises:
        ProofError: a node is malformed or misplaced, or there is no root.
    """
    with _step("proof", AtUri.of(proven.commit.did)):
        leaves = mst.held_leaves(proven.commit.data, proven.blocks)
        return [leaf.key for leaf in leaves if leaf.value in proven.blocks]


def prove_record(car: bytes, did: Did, key: PublicKey, collection: Nsid, rkey: RecordKey) -> ProvenRecord:
    """All five steps.

    Args:
        car: the file, such as `com.atproto.sync.getRecord` answers.
        did: whose record it should be.
        key: the account's signing key at the time of the commit.
        collection: the record's collection.
        rkey: the record's key.

    Raises:
        VerificationError: a step failed; `step` names it, and `uri` the record.
        NotFoundError: it is proven that the account had no such record.
    """
    uri = AtUri.of(did, collection, rkey)
    proven = prove_commit(car, did, key, uri=uri)
    with _step("proof", uri):
        cid = mst.lookup(proven.commit.data, f"{collection}/{rkey}", proven.blocks)
        if cid is None:
            raise NotFoundError("there is no such record", hint="That is proven: it was never there, or was deleted.")
    with _step("record", uri):
        block = proven.blocks.get(cid)
        if block is None:
            raise MissingBlockError.of(cid)
        # Of the bytes as they came: an encoding of what they say could be other bytes.
        recomputed = Cid.of_cbor(block)
        if recomputed != cid:
            raise ProofError("the record is not a block of the data model", expected=recomputed, actual=cid)
        value = check_record(cbor.decode(block))
    return ProvenRecord(recomputed, block, value, proven.commit, proven.cid)


@contextmanager
def _step(name: str, uri: AtUri) -> Iterator[None]:
    """Give every error of a step its name and the address; make each a `VerificationError`, `NotFoundError` or `LimitError`."""
    try:
        yield
    except (VerificationError, NotFoundError, LimitError) as error:
        error.step, error.uri = name, str(uri)
        raise
    except AtdataError as error:
        facts = {"path": error.path, "expected": error.expected, "actual": error.actual, "hint": error.hint}
        raise ProofError(error.what, step=name, uri=str(uri), **facts) from error
