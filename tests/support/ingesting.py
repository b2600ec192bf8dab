"""An ingester in a thread of a test, at a pace for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from atdata.appview import operator
from atdata.appview.ingest import Ingester, IngestPace
from atdata.appview.opening import TABLES
from atdata.atproto.cid import Cid
from atdata.atproto.events import CommitEvent
from atdata.atproto.syntax import Did
from atdata.databases import open_connection
from atdata.replica import Replica, now
from atdata.settings import Settings
from atdata.testing import Devnet
from atdata.testing.devnet.accounts import PdsAccount
from atdata.testing.http import Answer, Request
from support.histories import PATIENCE, shown
from support.networks import fresh_handle
from support.upstreams import TestedUpstream

PACE = IngestPace(workers=4, lease_seconds=5.0, sweep_seconds=0.2, retry_seconds=0.05)


def replica_at(address: str) -> Replica:
    """A replica with the tables of an AppView, without a search that follows."""
    return Replica(open_connection(address, TABLES, durable=False))


def settings_of(net: Any) -> Settings:
    """The settings with which a network is used."""
    environment = net.environment
    return Settings.of(
        plc_url=environment["ATDATA_PLC_URL"], resolver_url=environment["ATDATA_RESOLVER_URL"], allow_loopback=True
    )


@contextmanager
def ingesting(
    replica: Replica, net: Any, *upstreams: str, pace: IngestPace = PACE, doorbells: Sequence[str] = ()
) -> Iterator[Ingester]:
    """An ingester that runs; what it failed with is raised at the end."""
    ingester = Ingester(replica, upstreams, settings_of(net), pace, doorbells=doorbells)
    failures = list[BaseException]()

    def run() -> None:
        try:
            ingester.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ingester
    finally:
        ingester.stop()
        thread.join()
        if failures:
            raise failures[0]


class Writer:
    """An account that writes, and tells an upstream."""

    def __init__(self, net: Devnet, upstream: TestedUpstream, server: int = 0) -> None:
        self.net, self.upstream = net, upstream
        self.account = net.create_account(fresh_handle(), server=server)
        self.held: PdsAccount = net.account(self.account.did)
        self.did: Did = self.held.did

    def write(self, changes: dict[str, Any]) -> CommitEvent:
        """Write records, and give the event of it, which nobody gets yet."""
        return self.held.repo.write(changes)

    def tell(self, changes: dict[str, Any]) -> bytes:
        """Write records, and send the event of it; the frame."""
        return self.upstream.emit(self.write(changes))

    def shown(self, *keys: str) -> dict[str, str]:
        """What is to be shown of some keys."""
        return {f"at://{self.did}/{key}": str(Cid.of_cbor(self.held.repo.records[key])) for key in keys}


def until(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for something to be true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found


def until_begun(replica: Replica) -> None:
    """Wait until events come, and what came before was looked for."""

    def begun() -> bool:
        upstreams = operator.status(replica).upstreams
        return bool(upstreams) and all(each.swept_at and not each.sweep_at for each in upstreams)

    until(begun)


def until_shown(replica: Replica, expected: dict[str, str]) -> None:
    """Wait until that is shown, and nothing is left to be compared."""
    try:
        until(lambda: shown(replica) == expected and not operator.status(replica).behind)
    except AssertionError as error:
        found = replica.read(lambda reading: reading.behind(now() + 10**12, 64))
        raise AssertionError(
            f"shown {shown(replica)}, expected {expected}, behind {found}, {operator.status(replica)}, {reasons(replica)}"
        ) from error


def reasons(replica: Replica) -> list[str]:
    return [f"{item.what}: {item.reason}" for item in operator.rejected(replica)]


def until_heard(replica: Replica, upstream: TestedUpstream) -> None:
    """Wait until all that an upstream has sent is durable."""
    until(lambda: upstream.number in [each.cursor for each in operator.status(replica).upstreams])


def asked(net: Devnet) -> list[str]:
    """The requests that servers get from now on."""
    paths = list[str]()

    def note(request: Request, answer: Answer) -> Answer:
        paths.append(request.path)
        return answer

    net.tell(note)
    return paths
