"""The protocol kernel: commits verified and applied, frames skimmed, records copied, blocks decoded, a second and core.

All is one process on one core, counted in processor time, which a busy machine makes longer all the same: what OpenSSL
takes for a signature is measured in each round beside it. The replica is in SQLite; a batch of frames is one transaction,
as a service applies what has come meanwhile. With `libipld` installed its decoder is measured too.
"""

from __future__ import annotations

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from goals import in_short
from rich.console import Console
from rich.table import Table

from atdata.atproto import cbor, firehose
from atdata.atproto.cid import Cid
from atdata.atproto.events import CommitEvent, StatedOperation
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import diff, mst
from atdata.atproto.repo.car import write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import prove_commit
from atdata.atproto.syntax import Did, Tid
from atdata.replica import Replica, open_replica
from atdata.replica.writing import Writing

RECORDS, FRAMES, BATCH, ROUNDS, SKIMS = 2000, 300, 100, 7, 20
BASE = 1_700_000_000_000_000
DID = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
COMMITS, COPIES = 1500, 1000 / 0.3
"""The goals: own commits, and records of a cold copy, a second and core."""


def record(number: int) -> bytes:
    shards = [{"url": f"https://shards.example/{number}.tar", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}]
    return cbor.encode(
        {
            "$type": "science.alt.dataset.entry",
            "name": f"name-{number}",
            "schemaRef": f"at://{DID}/science.alt.dataset.schema/3k2aaaaaaaa22",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "tags": ["a", "b", "c"],
            "description": "some words about it " * 3,
            "license": "CC-BY-4.0",
            "storage": {"$type": "science.alt.dataset.storageHttp", "shards": shards},
        }
    )


def key_of(number: int) -> str:
    return f"science.alt.dataset.entry/{Tid.from_microseconds(BASE + number * 1000)}"


class Repository:
    """A repository of so many records as a file, and the frames of commits after it, each with one record more."""

    def __init__(self) -> None:
        self.key = PrivateKey.generate("k256")
        records = {key_of(number): record(number) for number in range(RECORDS)}
        root, nodes = mst.build({key: Cid.of_cbor(block) for key, block in records.items()})
        commit = Commit.sign(self.key, DID, Tid.from_microseconds(BASE), root)
        blocks = {Cid.of_cbor(block): block for block in records.values()}
        self.file = write_car([commit.cid], {commit.cid: commit.encode(), **nodes, **blocks})
        self.frames = []
        for number in range(RECORDS, RECORDS + FRAMES):
            key, block, rev = key_of(number), record(number), Tid.from_microseconds(BASE + number)
            cid = Cid.of_cbor(block)
            change = diff.apply(commit.data, [diff.Operation(key, cid, None)], nodes)
            nodes |= change.blocks
            after = Commit.sign(self.key, DID, rev, change.root)
            proof = {node: nodes[node] for node in diff.covering_proof(change.root, [key], nodes)}
            blocks = {after.cid: after.encode(), **proof, **change.blocks, cid: block}
            event = CommitEvent(
                seq=number,
                time="2026-01-01T00:00:00.000Z",
                did=DID,
                commit=after.cid,
                rev=rev,
                since=commit.rev,
                prev_data=commit.data,
                operations=(StatedOperation("create", key, cid, None),),
                blocks=write_car([after.cid], blocks),
            )
            self.frames.append(firehose.encode_frame(event))
            commit = after


def taken(work: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    work()
    return time.process_time() - began


def copy(replica: Replica, repository: Repository) -> None:
    """A cold copy: prove a file and keep its records."""
    proven = prove_commit(repository.file, DID, repository.key.public)
    moved = replica.write(lambda writing: writing.move(proven, proven.blocks, time.time_ns() // 1000))
    assert len(moved.changes) == RECORDS


def follow(replica: Replica, repository: Repository) -> None:
    """Verify and apply commits as they come in frames, a transaction for each batch."""
    public = repository.key.public

    def apply(writing: Writing, frames: list[bytes]) -> None:
        for frame in frames:
            assert firehose.skim(frame).did == DID
            event = firehose.parse_frame(frame)
            assert isinstance(event, CommitEvent)
            proven = prove_commit(event.blocks, DID, public)
            moved = writing.move(proven, proven.blocks, time.time_ns() // 1000)
            assert [change.key for change in moved.changes] == [event.operations[0].key]

    for first in range(0, FRAMES, BATCH):
        replica.write(lambda writing, at=first: apply(writing, repository.frames[at : at + BATCH]))


def measure(repository: Repository, folder: Path) -> dict[str, float]:
    """One round: how many a second of each."""
    folder.mkdir()
    replica = open_replica(folder)
    records = list(map(record, range(RECORDS)))
    rates = {
        "records copied": RECORDS / taken(lambda: copy(replica, repository)),
        "commits verified and applied": FRAMES / taken(lambda: follow(replica, repository)),
    }
    replica.close()
    skims = repository.frames * SKIMS
    rates["frames skimmed"] = len(skims) / taken(lambda: [firehose.skim(frame) for frame in skims])
    rates["records decoded"] = RECORDS / taken(lambda: [cbor.decode(block) for block in records])
    if find_spec("libipld"):
        decode = importlib.import_module("libipld").decode_dag_cbor
        rates["records decoded by libipld"] = RECORDS / taken(lambda: [decode(block) for block in records])
    commit = b"commit"
    signature, public = repository.key.sign(commit), repository.key.public
    rates["signatures verified"] = FRAMES / taken(lambda: [public.verify(signature, commit) for _ in range(FRAMES)])
    bare, method = ec.generate_private_key(ec.SECP256K1()), ec.ECDSA(hashes.SHA256())
    der, point = bare.sign(commit, method), bare.public_key()
    rates["signatures verified by OpenSSL"] = FRAMES / taken(
        lambda: [point.verify(der, commit, method) for _ in range(FRAMES)]
    )
    return rates


def main() -> bool:
    repository = Repository()
    with tempfile.TemporaryDirectory() as folder:
        rounds = [measure(repository, Path(folder) / str(number)) for number in range(ROUNDS)]
    table = Table(title=f"A second and core, medians of {ROUNDS} rounds (SQLite, {BATCH} commits a transaction)")
    for heading in ("", "median", "best", "ratio to its peer", "goal", ""):
        table.add_column(heading, justify="left" if not heading else "right")
    goals, reached = {"records copied": COPIES, "commits verified and applied": COMMITS}, True
    for what in rounds[0]:
        rates, goal = [each[what] for each in rounds], goals.get(what)
        peer = next((name for name in rounds[0] if name.startswith(f"{what} by ")), None)
        ratio = peer and f"{statistics.median(each[what] / each[peer] for each in rounds):.2f}"
        median = statistics.median(rates)
        verdict = "" if goal is None else "reached" if median >= goal else "missed"
        reached = reached and verdict != "missed"
        table.add_row(
            what, in_short(median), in_short(max(rates)), ratio or "", (goal and in_short(goal)) or "", verdict
        )
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    return reached
