"""Firehoses over real sockets: the Devnet says what the real PDS says of the same writes, and both can be replayed."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from atdata.atproto.cid import Cid
from atdata.atproto.events import (
    AccountEvent,
    CommitEvent,
    ErrorEvent,
    IdentityEvent,
    InfoEvent,
    SyncEvent,
)
from atdata.atproto.identity import DidDocument
from atdata.atproto.repo import mst
from atdata.atproto.repo.car import read_car
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.diff import invert
from atdata.atproto.syntax import Did
from atdata.errors import NetworkError
from atdata.testing import DevAccount, Devnet, FirehoseLie, firehose_lies
from atdata.testing.http import ask
from atdata.transport.websocket import WebSocket
from support.listening import Listener
from support.networks import Network, fresh_handle, get
from support.pds_suite import COLLECTION, RECORD, PdsUnderTest

ADMIN = {"authorization": "Basic " + base64.b64encode(b"admin:admin-pass").decode()}


def writer(network: Network, account: DevAccount) -> PdsUnderTest:
    return PdsUnderTest(account.pds_url, network.plc_url, account.did, account.handle, account.password, 0)


def administer(account: DevAccount, method: str, body: dict[str, Any]) -> None:
    headers = {**ADMIN, "content-type": "application/json"}
    url = f"{account.pds_url}/xrpc/com.atproto.admin.{method}"
    assert ask("POST", url, headers, json.dumps(body).encode())[0] == 200


def delete(account: DevAccount) -> None:
    administer(account, "deleteAccount", {"did": account.did})


def take_down(account: DevAccount, taken: bool) -> None:
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}
    status = {"subject": subject, "takedown": {"applied": taken, **({"ref": "r"} if taken else {})}}
    administer(account, "updateSubjectStatus", status)


def live(network: Network, account: DevAccount) -> None:
    """Do all that can happen to an account, but for its end."""
    pds = writer(network, account)
    assert pds.put("a", RECORD)[0] == 200
    assert pds.put("b", {**RECORD, "name": "y"})[0] == 200
    body = {"repo": pds.did, "collection": COLLECTION}
    update = {**body, "rkey": "a", "record": {**RECORD, "name": "z"}, "validate": False}
    assert pds.post("com.atproto.repo.putRecord", update)[0] == 200
    assert pds.post("com.atproto.repo.deleteRecord", {**body, "rkey": "b"})[0] == 200
    writes = [("create", f"k{number:03}", {**RECORD, "name": str(number)}) for number in range(60)]
    assert pds.apply(*writes)[0] == 200
    assert pds.apply(("delete", "k003", None), ("update", "k004", RECORD), ("create", "l", RECORD))[0] == 200
    assert pds.apply(*(("delete", f"k{number:03}", None) for number in range(60) if number != 3))[0] == 200
    new = f"new-{account.handle}"
    assert pds.post("com.atproto.identity.updateHandle", {"handle": new})[0] == 200
    assert pds.post("com.atproto.server.deactivateAccount", {})[0] == 200
    assert pds.post("com.atproto.server.activateAccount")[0] == 200
    take_down(account, True)
    take_down(account, False)
    assert pds.put("m", RECORD)[0] == 200


def names(event: Any, rkey: str) -> bool:
    """True if it is a commit of a record."""
    return any(each.key == f"{COLLECTION}/{rkey}" for each in getattr(event, "operations", ()))


def told(event: Any, account: DevAccount) -> tuple[Any, ...]:
    """What an event says, but for what no two accounts have in common."""
    match event:
        case CommitEvent():
            file = read_car(event.blocks)
            blocks = {cid for cid in file.blocks if cid != event.commit}
            assert file.roots == (event.commit,)
            return ("commit", event.operations, event.prev_data, event.too_big, event.since is None, blocks)
        case SyncEvent():
            return ("sync", len(read_car(event.blocks).blocks))
        case IdentityEvent():
            return ("identity", (event.handle or "").replace(account.handle, "alice"))
        case AccountEvent():
            return ("account", event.active, event.status)
    raise AssertionError(event)


def heard(network: Network) -> list[tuple[Any, ...]]:
    with Listener(network.pds_url) as listener:
        account = network.create_account(fresh_handle())
        live(network, account)
        events = listener.until(lambda event: names(event, "m"), account.did)
        delete(account)  # not before: a server drops the events of an account that is gone
        events += listener.until(lambda event: getattr(event, "status", None) == "deleted", account.did)
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    return [told(event, account) for event in events]


@pytest.mark.usefixtures("many_files")
def test_it_is_heard_where_many_files_are_open(devnet: Devnet) -> None:
    account = devnet.create_account(fresh_handle())
    with Listener(account.pds_url) as listener:
        assert writer(devnet, account).put("a", RECORD)[0] == 200
        assert len(listener.commits(1, str(account.did))) == 1


@pytest.mark.served
def test_the_devnet_says_what_the_real_pds_says(request: pytest.FixtureRequest) -> None:
    ours, real = (heard(request.getfixturevalue(name)) for name in ("devnet", "realnet"))
    for one, other in zip(ours, real, strict=True):
        assert one == other


def test_every_commit_follows_and_can_be_undone(network: Network, alice: DevAccount) -> None:
    """The evidence that an ingester needs is in the event itself."""
    with Listener(alice.pds_url, cursor=0) as listener:
        live(network, alice)
        commits = listener.commits(9, alice.did)
    key = document(network, alice).signing_key
    before: CommitEvent | None = None
    root = None
    for event in commits:
        file = read_car(event.blocks)
        commit = Commit.decode(file.blocks[event.commit])
        commit.verify(key)
        assert (commit.did, commit.rev) == (alice.did, event.rev)
        changes = event.changes()
        if before is None:
            assert (event.since, event.prev_data, event.operations) == (None, None, ())
            assert mst.build({})[0] == commit.data
        else:
            assert changes is not None
            assert (event.since, event.prev_data) == (before.rev, root)
            assert event.rev > before.rev
            assert invert(commit.data, changes, file.blocks) == root
            for change in changes:
                assert change.cid is None or change.cid in file.blocks
        before, root = event, commit.data


def document(network: Network, account: DevAccount) -> DidDocument:
    return DidDocument.parse(ask("GET", f"{network.plc_url}/{account.did}", {}, None)[1], Did(account.did))


# --- cursors ---------------------------------------------------------------------------------------------------------


def test_a_cursor_replays_what_came_after_it(network: Network, alice: DevAccount) -> None:
    pds = writer(network, alice)
    with Listener(alice.pds_url) as listener:
        for number in range(5):
            pds.put(f"k{number}", RECORD)
        first = listener.until(lambda event: names(event, "k4"), alice.did)[-5:]
    with Listener(alice.pds_url, cursor=first[1].seq) as listener:
        assert listener.commits(3, alice.did) == first[2:]
        pds.put("k9", RECORD)
        (last,) = listener.commits(1, alice.did)
        assert last.operations[0].key == f"{COLLECTION}/k9"
        assert last.seq > first[-1].seq


def test_a_cursor_in_the_future_is_an_error(network: Network, alice: DevAccount) -> None:
    with Listener(alice.pds_url, cursor=10**9) as listener:
        error = listener.next()
        assert isinstance(error, ErrorEvent)
        assert error.error == "FutureCursor"
        with pytest.raises(NetworkError) as caught:
            listener.socket.receive(20)
        assert caught.value.actual == "1008 FutureCursor"


def test_nothing_is_said_of_a_deleted_account_but_that(network: Network, alice: DevAccount) -> None:
    writer(network, alice).put("a", RECORD)
    with Listener(alice.pds_url) as listener:
        delete(alice)
        last = listener.until(lambda event: getattr(event, "status", None) == "deleted", alice.did)[-1]
    with Listener(alice.pds_url, cursor=0) as listener:
        (event,) = listener.until(lambda event: True, alice.did)
    assert event == last
    assert (event.active, event.status) == (False, "deleted")
    assert ask("GET", f"{alice.pds_url}/xrpc/com.atproto.sync.getRepoStatus?did={alice.did}", {}, None)[0] == 400


def test_an_account_that_is_taken_down(network: Network, alice: DevAccount) -> None:
    take_down(alice, True)
    status = get(alice.pds_url, "com.atproto.sync.getRepoStatus", did=alice.did)
    assert (status["active"], status["status"]) == (False, "takendown")
    answer = ask("GET", f"{alice.pds_url}/xrpc/com.atproto.sync.getRepo?did={alice.did}", {}, None)
    assert (answer[0], answer[1]["error"]) == (400, "RepoTakendown")
    take_down(alice, False)
    assert get(alice.pds_url, "com.atproto.sync.getRepoStatus", did=alice.did)["active"] is True


def test_a_server_knows_nothing_of_collections(network: Network, alice: DevAccount) -> None:
    url = f"{alice.pds_url}/xrpc/com.atproto.sync.listReposByCollection?collection={COLLECTION}"
    assert ask("GET", url, {}, None)[0] in (400, 401, 501)


# --- the Devnet alone ------------------------------------------------------------------------------------------------


@pytest.fixture
def net() -> Iterator[Devnet]:
    with Devnet(servers=2) as net:
        yield net


def test_a_window_that_has_passed(net: Devnet) -> None:
    net.pdses[0].firehose.window = 3
    account = net.create_account("alice.test")
    for number in range(5):
        writer(net, account).put(f"k{number}", RECORD)
    with Listener(net.pds_url, cursor=1) as listener:
        info = listener.next()
        assert isinstance(info, InfoEvent)
        assert info.name == "OutdatedCursor"
        assert [event.operations[0].key[-2:] for event in listener.commits(3, account.did)] == ["k2", "k3", "k4"]


def test_numbers_go_on_when_a_server_comes_back(net: Devnet) -> None:
    account = net.create_account("alice.test")
    with Listener(net.pds_url, cursor=0) as listener:
        before = listener.until(lambda event: isinstance(event, SyncEvent))
    writer(net, account).put("a", RECORD)
    with Listener(net.pds_url, cursor=before[-1].seq) as listener:
        assert listener.next().seq == before[-1].seq + 1  # type: ignore[union-attr]


def test_a_relay_joins_servers_under_numbers_of_its_own(net: Devnet) -> None:
    old = net.create_account("old.test")
    writer(net, old).put("a", RECORD)
    relay = net.create_relay()
    with Listener(relay.url, cursor=0) as listener:
        alice, bob = net.create_account("alice.test"), net.create_account("bob.test", server=1)
        for account in (alice, bob, alice):
            writer(net, account).put(f"k{account.handle[0]}", {**RECORD, "name": account.handle})
        events = listener.until(lambda event: getattr(event, "seq", 0) == 10)
    assert [event.seq for event in events] == list(range(1, 11)), "the third write said what was there already"
    assert {event.did for event in events} == {alice.did, bob.did}

    def listed(**more: Any) -> Any:
        return get(relay.url, "com.atproto.sync.listReposByCollection", collection=COLLECTION, **more)

    assert listed() == {"repos": [{"did": each.did} for each in (old, alice, bob)]}
    page = listed(limit=2)
    assert page == {"repos": [{"did": old.did}, {"did": alice.did}], "cursor": "2"}
    assert listed(limit=2, cursor=page["cursor"]) == {"repos": [{"did": bob.did}]}
    delete(bob)
    assert listed(cursor=2) == {"repos": [{"did": bob.did}]}, "it forgets none"
    relay.overlooked.add(old.did)
    assert listed() == {"repos": [{"did": alice.did}, {"did": bob.did}]}


def test_moving_and_rotating(net: Devnet) -> None:
    """The identity changes, the repository stays, and each server says what it has to say."""
    account = net.create_account("alice.test")
    pds = writer(net, account)
    pds.put("a", RECORD)
    keys = [document(net, account).signing_key]
    with Listener(net.pds_url) as old, Listener(net.pds_servers[1].url) as new:
        net.host(account.did).rotate_key(account.did)
        assert [type(old.next()) for _ in range(2)] == [IdentityEvent, SyncEvent]
        keys.append(document(net, account).signing_key)
        moved = net.migrate(account, 1)
        assert [type(new.next()) for _ in range(3)] == [AccountEvent, IdentityEvent, SyncEvent]
        left = old.next()
    assert isinstance(left, AccountEvent)
    assert (left.active, left.status) == (False, "deactivated")
    keys.append(document(net, account).signing_key)
    assert len({key.multibase for key in keys}) == 3
    assert moved.pds_url == net.pds_servers[1].url
    assert document(net, account).pds == moved.pds_url
    assert writer(net, moved).put("b", RECORD)[0] == 200
    assert net.account(account.did).repo.records.keys() == {f"{COLLECTION}/a", f"{COLLECTION}/b"}


def test_a_write_changes_what_it_must(net: Devnet) -> None:
    """A repository that grew write by write is the one that is built at once, blocks and all."""
    account = net.create_account("alice.test")
    held, host = net.account(account.did), net.pdses[0]
    chance = random.Random(7)
    for number in range(400):
        size = chance.choice([1, 1, 1, 2, 5, 40, 0])
        keys = [f"{COLLECTION}/{chance.randrange(150):03}" for _ in range(size)]
        if number % 50 == 49:
            keys = list(held.repo.records)
        least = 0 if number % 50 == 49 else chance.choice([0, 4, 9])
        writes = {
            key: None if least == 0 or chance.randrange(10) > least else {**RECORD, "name": str(number % 5)}
            for key in keys
        }
        host.write(account.did, writes)
        root, nodes = mst.build({key: Cid.of_cbor(block) for key, block in held.repo.records.items()})
        head = held.repo.head
        assert head.data == root
        assert held.repo.all_blocks() == {
            **nodes,
            head.cid: head.encode(),
            **{Cid.of_cbor(block): block for block in held.repo.records.values()},
        }
        assert held.repo.since.keys() == held.repo.all_blocks().keys()


# --- lies ------------------------------------------------------------------------------------------------------------

LIES = [lie.name for lie in firehose_lies(lambda did: pytest.fail("not asked"))]


@pytest.mark.parametrize("name", LIES)
def test_every_lie_is_told_once(net: Devnet, name: str) -> None:
    """Before and after it the stream is honest; what comes in between is not what was to come."""
    account = net.create_account("alice.test")
    pds, lies = writer(net, account), firehose_lies(lambda did: net.account(did).repo.key)
    lie: FirehoseLie = next(lie for lie in lies if lie.name == name)
    net.tell(lie)
    with Listener(net.pds_url, cursor=0, silence=0.5) as listener:
        listener.until(lambda event: isinstance(event, SyncEvent))
        honest = net.pdses[0].firehose.subscribe(4)
        for number in range(3):
            assert pds.apply(("create", f"k{number}", RECORD), ("create", f"l{number}", RECORD))[0] == 200
        assert pds.apply(("update", "k0", {**RECORD, "name": "y"}), ("delete", "l0", None))[0] == 200
        assert pds.put("m", RECORD)[0] == 200
        frames = [next(honest) for _ in range(5)]
        received: list[bytes] = []
        try:
            while received[-1:] != frames[-1:]:
                received += listener.socket.receive(20)
        except (NetworkError, ValueError):
            assert name in ("byte by byte", "a frame that is too large")
    assert lie.told == 1
    assert received != frames


def test_a_stream_on_which_nothing_happens_is_kept(network: Network) -> None:
    """The server says that it is there when it is asked."""
    url = f"ws{network.pds_servers[0].url.removeprefix('http')}/xrpc/com.atproto.sync.subscribeRepos"
    with WebSocket(url, max_message=10_000_000, allow_loopback=True, silence=4.0) as socket:
        end = time.monotonic() + 6
        while time.monotonic() < end:
            socket.receive(end - time.monotonic())
