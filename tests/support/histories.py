"""Seeded histories of accounts, and the faults of a server that tells of them.

A history changes real repositories on a Devnet, and tells upstreams about it in real frames, some of them wrong, late,
twice, or not at all. What is to be shown in the end is known from the repositories alone.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.events import CommitEvent, IdentityEvent, StatedOperation
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo.car import read_car, write_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.syntax import Did, Tid
from atdata.replica import Replica
from atdata.replica.tables import COLLECTIONS
from atdata.testing import Devnet
from atdata.testing.devnet.accounts import PdsAccount
from atdata.testing.devnet.firehose import Numbered
from support.networks import fresh_handle
from support.upstreams import TestedUpstream

PATIENCE = float(os.environ.get("TEST_PATIENCE", "120"))
"""Seconds that something is waited for."""
ENTRY, SCHEMA, OLD = "science.alt.dataset.entry", "science.alt.dataset.schema", "ac.foundation.dataset.record"
FOREIGN = ("app.bsky.feed.post", "science.alt.other", "a.b.c")
OTHER = "did:plc:z72i7hdynmk6r22z27h6tvur"


def entry(name: str, **members: Any) -> dict[str, Any]:
    """A record that is valid today."""
    shard = {"url": "https://example.org/a.tar", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}
    return {
        "$type": ENTRY,
        "name": name,
        "schemaRef": f"at://{OTHER}/{SCHEMA}/3k2aaaaaaaa2a",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "storage": {"$type": "science.alt.dataset.storageHttp", "shards": [shard]},
        **members,
    }


@dataclass
class Faults:
    """How often, of a hundred events, something is wrong with one."""

    dropped: float = 2
    twice: float = 4
    late: float = 5
    older: float = 3
    garbled: float = 1
    without_previous: float = 3
    without_blocks: float = 2
    forged: float = 2
    ahead: float = 1


@dataclass
class History:
    """A history, made step by step.

    The accounts are on two servers, and whatever these say the relay says too, with faults.

    Args:
        net: of two servers.
        relay: what the faults are on.
        seed: decides everything.
        accounts: how many.
        faults: of the relay.
    """

    net: Devnet
    relay: TestedUpstream
    seed: int
    accounts: int = 8
    faults: Faults = field(default_factory=Faults)
    counted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._late: dict[Did, list[Numbered]] = {}
        self._numbers = iter(range(10**9))
        for pds in self.net.pdses:
            pds.firehose.listeners.append(self._tell)
        self._made = [self.net.create_account(fresh_handle(), server=number % 2).did for number in range(self.accounts)]
        self._removed: dict[Did, PdsAccount] = {}
        self._holders: dict[str, dict[str, None]] = {}
        self.relay.statuses = self._status
        self.relay.lists = lambda: {collection: list(dids) for collection, dids in self._holders.items()}

    @property
    def direct(self) -> str:
        """The address of the second server, whose own stream has no faults."""
        return "ws" + self.net.pds_servers[1].url.removeprefix("http")

    def step(self) -> None:
        """Let one thing happen."""
        did = self.random.choice(self._made)
        self.counted["steps"] += 1
        if did in self._removed:
            self._recreate(did)
        elif not (account := self.net.account(did)).active:
            self._restore(account)
        else:
            names = [self._commit, self._hide, self._remove, self._rename, self._rotate, self._migrate, self._lose]
            self.random.choices(names, [100, 3, 1, 2, 2, 2, 2])[0](account)

    def expected(self) -> dict[str, str]:
        """The records that are to be shown: CID by address."""
        return {
            f"at://{account.did}/{key}": str(Cid.of_cbor(block))
            for account in self._there()
            if account.active
            for key, block in account.repo.records.items()
            if key.partition("/")[0] in COLLECTIONS
        }

    def handles(self) -> dict[str, str]:
        """The handles of those that are shown."""
        return {account.did: str(account.handle) for account in self._there() if account.active}

    def _status(self, did: str) -> dict[str, Any]:
        """What the relay says of an account when it is asked."""
        if did in self._removed:
            return {"did": did, "active": False, "status": "deleted"}
        account = self.net.account(did)
        return {"did": did, "active": account.active} | ({} if account.active else {"status": account.status})

    def _there(self) -> list[PdsAccount]:
        return [self.net.account(did) for did in self._made if did not in self._removed]

    def mark(self) -> None:
        """Tell anything: a gap is seen between two numbers."""
        self.relay.emit(IdentityEvent(0, self._made[0]))

    def end(self) -> None:
        """Tell what is still to be told."""
        for did in list(self._late):
            self._tell_late(did)
        self.mark()

    # what accounts do

    def _commit(self, account: PdsAccount) -> None:
        keys, changes = list(account.repo.records), dict[str, Any]()
        for _ in range(self.random.choice([1, 1, 1, 2, 5])):
            if keys and self.random.random() < 0.45:
                key = self.random.choice(keys)
                changes[key] = None if self.random.random() < 0.6 else self._value(key)
            else:
                place = self.random.choice([ENTRY, ENTRY, SCHEMA, OLD, *FOREIGN])
                key = f"{place}/{self.random.choice(['', 'self-', 'zz'])}{next(self._numbers)}"
                changes[key] = self._value(key)
        self.counted["commits"] += 1
        self.net.host(account.did).write(account.did, changes)

    def _value(self, key: str) -> Any:
        if self.random.random() < 0.1:
            return {"$type": key.partition("/")[0], "nothing": self.random.randrange(10**6)}
        return entry(f"name {self.random.randrange(20)}", description=str(next(self._numbers)))

    def _hide(self, account: PdsAccount) -> None:
        self.counted["hidden"] += 1
        host = self.net.host(account.did)
        (host.deactivate if self.random.random() < 0.5 else host.take_down)(account.did)

    def _restore(self, account: PdsAccount) -> None:
        host = self.net.host(account.did)
        if self.random.random() < 0.1:
            self._remove(account)
        elif account.status == "takendown":
            host.take_down(account.did, taken=False)
        else:
            host.activate(account.did)

    def _remove(self, account: PdsAccount) -> None:
        self.counted["deleted"] += 1
        for pds in self.net.pdses:
            if account.did in pds.accounts:
                pds.delete_account(account.did)
        self._removed[account.did] = account

    def _recreate(self, did: Did) -> None:
        self.counted["recreated"] += 1
        account = self._removed.pop(did)
        account.repo.records.clear()
        self.random.choice(self.net.pdses).take_in(account)
        self.net.host(did).write(did, {f"{ENTRY}/first": entry("first")})

    def _rename(self, account: PdsAccount) -> None:
        self.counted["renamed"] += 1
        self.net.host(account.did).rename(account.did, fresh_handle())

    def _rotate(self, account: PdsAccount) -> None:
        self.counted["rotated"] += 1
        self.net.host(account.did).rotate_key(account.did)

    def _migrate(self, account: PdsAccount) -> None:
        self.counted["migrated"] += 1
        old = self.net.host(account.did)
        self.net.pdses[1 - self.net.pdses.index(old)].take_in(account)
        old.leave(account.did)
        if self.random.random() < 0.5:
            old.delete_account(account.did)

    def _lose(self, account: PdsAccount) -> None:
        """The server has lost its own history, and says where it is."""
        if not any(account.did in dids for kind, dids in self._holders.items() if kind in COLLECTIONS):
            return  # of one that nobody follows nobody looks there; the lists of relays name it
        host = self.net.host(account.did)
        account.repo.write({f"{ENTRY}/{next(self._numbers)}": self._value(ENTRY)})
        host.firehose.add(account.repo.state())

    # what the relay tells

    def _tell(self, event: Numbered) -> None:
        self.counted["events"] += 1
        did = event.did
        for each in event.operations if isinstance(event, CommitEvent) else ():
            self._holders.setdefault(each.key.partition("/")[0], {})[did] = None
        if did in self._late:
            self._late[did].append(event)  # order is kept for each account
        elif self._happens(self.faults.late):
            self._late[did] = [event]
            self.counted["late"] += 1
        else:
            self._relay(event)
        if self._late and self._happens(30):
            self._tell_late(self.random.choice(list(self._late)))

    def _tell_late(self, did: Did) -> None:
        for event in self._late.pop(did):
            self._relay(event)

    def _relay(self, event: Numbered) -> None:
        if self._happens(self.faults.dropped):
            self.counted["dropped"] += 1
            self.relay.skip()
            return
        if isinstance(event, CommitEvent):
            event = self._spoiled(event)
        frame = self.relay.emit(event)
        if self._happens(self.faults.twice):
            self.relay.send(frame, self.relay.number)
        if self._happens(self.faults.older):
            self.relay.send(*reversed(self.random.choice(self.relay.sent)))
        if self._happens(self.faults.garbled):
            cut = self.random.randrange(len(frame))
            self.relay.send(self.random.choice([frame[:cut], frame[:cut] + b"\xff" + frame[cut + 1 :], b""]))

    def _spoiled(self, event: CommitEvent) -> CommitEvent:
        if self._happens(self.faults.without_previous):
            return replace(event, prev_data=None)
        if self._happens(self.faults.without_blocks):
            block = read_car(event.blocks).blocks[event.commit]
            return replace(event, blocks=write_car([event.commit], {event.commit: block}), too_big=True)
        if self._happens(self.faults.forged):
            self._forge(event, Tid.now())
        if self._happens(self.faults.ahead):
            self._forge(event, Tid.from_microseconds(time.time_ns() // 1000 + 3600 * 10**6))
        return event

    def _forge(self, event: CommitEvent, rev: Tid) -> None:
        """An event that no account has signed."""
        self.counted["forged"] += 1
        block = cbor.encode(entry("forged"))
        commit = Commit.sign(PrivateKey.generate("k256"), event.did, rev, event.prev_data or Cid.of_cbor(block))
        operation = StatedOperation("create", f"{ENTRY}/forged", Cid.of_cbor(block))
        car = write_car([commit.cid], {commit.cid: commit.encode(), Cid.of_cbor(block): block})
        forged = replace(event, rev=rev, commit=commit.cid, operations=(operation,), blocks=car)
        self.relay.emit(forged)

    def _happens(self, of_a_hundred: float) -> bool:
        return self.random.random() * 100 < of_a_hundred


def shown(replica: Replica) -> dict[str, str]:
    """The records that a replica shows: CID by address."""
    found = """SELECT a.did, r.key, r.cid FROM replica_records r JOIN replica_accounts a ON a.id = r.account
        WHERE a.status = 'active'"""
    rows = replica.read(lambda reading: reading.sql.all(found))
    return {f"at://{did}/{bytes(key).decode()}": str(Cid.from_bytes(cid)) for did, key, cid in rows}


def logged(replica: Replica) -> dict[str, str]:
    """The records that the change log leads to, those of hidden accounts too."""
    found = "SELECT a.did, c.key, c.cid, c.action FROM replica_changes c JOIN replica_accounts a ON a.id = c.account"
    folded = dict[str, str]()
    for did, key, cid, action in replica.read(lambda reading: reading.sql.all(f"{found} ORDER BY c.number")):
        address = f"at://{did}/{bytes(key).decode()}"
        if action in ("hide", "show"):
            continue
        assert (address in folded) == (action != "create"), (address, action)
        if action == "delete":
            del folded[address]
        else:
            folded[address] = str(Cid.from_bytes(cid))
    return folded


def named(replica: Replica) -> dict[str, str]:
    """The handles under which accounts are shown."""
    found = """SELECT a.did, i.handle FROM replica_identities i JOIN replica_accounts a ON a.id = i.account
        WHERE a.status = 'active'"""
    return dict(replica.read(lambda reading: reading.sql.all(found)))


def stored(replica: Replica) -> dict[str, str]:
    """All records that a replica keeps, of whomever: CID by address."""
    found = "SELECT a.did, r.key, r.cid FROM replica_records r JOIN replica_accounts a ON a.id = r.account"
    rows = replica.read(lambda reading: reading.sql.all(found))
    return {f"at://{did}/{bytes(key).decode()}": str(Cid.from_bytes(cid)) for did, key, cid in rows}


def settled(replica: Replica, history: History, seconds: float = PATIENCE) -> None:
    """Wait until a replica shows what is to be shown, and nothing is left to be compared."""
    deadline, marked = (
        time.monotonic() + seconds,
        "SELECT did, behind, tries FROM replica_accounts WHERE behind IS NOT NULL",
    )
    expected = history.expected()
    while True:
        behind = replica.read(lambda reading: reading.sql.all(marked))
        if behind and time.monotonic() < deadline:  # all that is shown is only looked at once it may be right
            time.sleep(0.05)
            continue
        began, found = time.monotonic(), shown(replica)
        shown_handles = named(replica)
        handles = {did: handle for did, handle in history.handles().items() if did in shown_handles}
        if expected == found and handles == shown_handles and not behind:
            break
        if time.monotonic() > deadline:
            missing = {at: cid for at, cid in expected.items() if found.get(at) != cid}
            extra = {at: cid for at, cid in found.items() if expected.get(at) != cid}
            renamed = {did: (handle, shown_handles.get(did)) for did, handle in handles.items()}
            renamed = {did: pair for did, pair in renamed.items() if pair[0] != pair[1]}
            raise AssertionError(
                f"seed {history.seed}: missing {missing}, extra {extra}, behind {behind}, handles {renamed}"
            )
        time.sleep(0.05 + time.monotonic() - began)
    assert logged(replica) == stored(replica)
