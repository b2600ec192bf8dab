"""The comparison of a repository with its own server: who the account is, whether it is active, what it has.

It is done for every account that is marked, and until it succeeds. The mark is taken off in the transaction that writes
what was found, unless the account was marked again meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from atdata.appview.ingest.accounts import ADDED, DECIDED, confirm, forget_blocked, hiding, is_blocked, lift
from atdata.appview.ingest.batch import NEWS, horizon
from atdata.appview.ingest.claims import Claims, NoRoomError
from atdata.appview.ingest.lease import IngestLease
from atdata.appview.ingest.rejected import REFUSED, Rejected
from atdata.appview.ingest.upstream import Upstream
from atdata.atproto.fetch import HostedAccount, fetch_status, fetch_update, is_host
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.resolve import fetch_identity, resolve_handle
from atdata.atproto.syntax import Did
from atdata.atproto.verify import VerifiedIdentity, verify_identity
from atdata.errors import (
    AddressError,
    IdentityError,
    LimitError,
    NetworkError,
    NotFoundError,
    ProofError,
    SignatureError,
)
from atdata.replica import KeptIdentity, Replica, ReplicaCopy, Writing, keep_identity, now
from atdata.replica.reading import BehindMark
from atdata.replica.writing import ASKED, HeadRow
from atdata.settings import Settings
from atdata.transport import Transport

T = TypeVar("T")

log = logging.getLogger("atdata.appview.ingest")

IDENTITY_AGE = 86_400 * 1_000_000
"""Microseconds after which an identity is looked at anew."""
HANDLE_AGAIN = 4 * 3_600 * 1_000_000
"""Microseconds after which it is where its handle could not be asked for: many a domain was given up."""
HANDLE_PATIENCE = 20.0
"""Seconds that are waited for those who know a handle."""
TOMBSTONED = "the identity was tombstoned"
"""Words of the error for an identity that its owner has ended for ever."""
GIVEN_UP = 8
"""Tries after which an account is forgotten that never showed anything."""
PATIENCE = 60.0
"""Seconds that a server may take for one answer: while it does, it holds a worker."""
LARGE_PAUSE = 10 * 1_000_000
"""Microseconds before another try where too many hold more than is small."""
LONGEST_PAUSE = 3600.0
"""Seconds between two tries, at most."""


class Reconciler:
    """Compares the repositories that are marked with their own servers.

    Args:
        replica: what is compared.
        settings: in force: the directory, resolvers, and what addresses may be dialled.
        followed: the accounts of which the applier looks at all.
        lease: under which this is done.
        counted: counts what happens.
        shortest_pause: seconds before a second try.
        workers: how many threads do this.
    """

    def __init__(
        self,
        replica: Replica,
        settings: Settings,
        followed: set[str],
        lease: IngestLease,
        counted: Counter[str],
        shortest_pause: float = 1.0,
        workers: int = 8,
    ) -> None:
        self._replica, self._settings, self._followed, self._lease = replica, settings, followed, lease
        patient = replace(settings, patience=min(settings.patience, PATIENCE))
        self._claims, self._marked = Claims(workers), threading.Condition()
        transport = Transport.of(patient).trusting(settings.plc_url, *settings.resolver_urls)
        self._transport = replace(transport, watch=self._claims.watch)
        self._resolving = replace(self._transport, patience=min(self._transport.patience, HANDLE_PATIENCE))
        self._pause, self._counted = shortest_pause, counted

    def wake(self) -> None:
        """Look for marks now."""
        with self._marked:
            self._marked.notify_all()

    def run(self, stopping: threading.Event) -> None:
        """Compare one after the other, until the end. Any number of threads may do this."""
        while not stopping.is_set():
            mark = self._claims.account(self._replica.read(lambda reading: reading.behind(now(), 64)))
            if mark is None:
                with self._marked:
                    self._marked.wait(0.25)
                continue
            try:
                with self._claims.time(stopping):
                    self.reconcile(mark)
            finally:
                self._claims.leave(mark.did)

    def reconcile(self, mark: BehindMark) -> None:
        """Compare one repository; where that fails, note when to try again."""
        did = mark.did
        self._followed.add(did)  # before anything is asked: what is written later comes as an event
        try:
            self._compare(mark)
        except NoRoomError:
            self._lease.write(lambda writing: _retry(writing, mark, LARGE_PAUSE, failed=False))
        except (NetworkError, NotFoundError, *REFUSED) as error:
            self._counted["failed comparisons"] += 1
            self._counted[f"failed: {type(error).__name__}"] += 1
            facts = {"did": mark.did, "error": error.what, "kind": type(error).__name__, "tries": mark.tries + 1}
            log.warning("a comparison failed", extra={"facts": facts})
            self._failed(mark, error)

    def _failed(self, mark: BehindMark, error: NetworkError | NotFoundError | Exception) -> None:
        pause = min(self._pause * 2.0 ** min(mark.tries, 20), LONGEST_PAUSE)

        def work(writing: Writing) -> bool:
            head = writing.head(mark.did)
            if head.head is None and (mark.tries >= GIVEN_UP or mark.reason == ASKED):
                writing.forget(mark.did)
                return True
            _retry(writing, mark, int(pause * 1e6))
            if isinstance(error, REFUSED):
                Rejected.of("repository", error, mark.did).write(writing.sql, now())
            return False

        if self._lease.write(work):
            self._followed.discard(mark.did)

    def _compare(self, mark: BehindMark) -> None:
        asked_at, is_first = now(), self._is_unknown(mark.did)
        if self._lease.write(lambda writing: _forget_blocked(writing, mark, asked_at)):
            return
        try:
            identity = self._identity(mark)
        except IdentityError as error:
            if error.what != TOMBSTONED:
                raise
            self._lease.write(lambda writing: _end(writing, mark, asked_at))
            return
        with self._claims.server(identity.pds) as free:
            if not free:
                self._lease.write(lambda writing: _retry(writing, mark, 1_000_000, failed=False))
                return
            hosted = self._hosted(identity)
            if hosted.active:
                identity = self._update(mark, identity, hosted)
        hosts, lifted = self._ask_hiding(identity) if hosted.active else ({identity.pds}, [])

        def finish(writing: Writing) -> bool:
            if not writing.caught_up(mark.did, mark.marks):  # something happened meanwhile, and this may be old
                _retry(writing, mark, 0, failed=False)  # after those that wait already
                return False
            for upstream in lifted:  # none has said anything since: the account would have been marked again
                lift(writing, mark.did, upstream)
            confirm(writing, mark.did, hosted, hosts, asked_at)
            named = mark.reason in (ADDED, DECIDED)  # by the operator
            may_go = is_first and not named and (hosted.active or mark.reason == ASKED)
            return may_go and _forget_empty(writing, mark.did)

        self._counted["comparisons"] += 1
        if self._lease.write(finish):
            self._counted["without records"] += 1
            self._followed.discard(mark.did)

    def _update(self, mark: BehindMark, identity: VerifiedIdentity, hosted: HostedAccount) -> VerifiedIdentity:
        """Bring the copy to the newest commit, with the key of now."""
        head = self._replica.read(lambda reading: HeadRow.read(reading.sql, mark.did))
        if head is not None and head.root is not None and hosted.rev is not None and head.rev == hosted.rev:
            return identity
        with self._claims.memory() as reserve:
            copy = ReplicaCopy(
                self._replica, mark.did, check=_check_time, write=self._lease.write, reserve=reserve, anew=False
            )
            try:
                self._transport.run(fetch_update(identity, copy))
            except SignatureError:
                identity = self._fetch_identity(mark)
                self._transport.run(fetch_update(identity, copy))
        return identity

    def _identity(self, mark: BehindMark) -> VerifiedIdentity:
        """The identity of an account: as it is kept, where it need not be asked for anew."""
        kept = self._replica.read(lambda reading: KeptIdentity.of_account(reading, mark.did))
        if kept is not None and now() - kept.checked_at < IDENTITY_AGE:
            return kept.verify()
        return self._fetch_identity(mark)

    def _fetch_identity(self, mark: BehindMark) -> VerifiedIdentity:
        checked_at = now()
        found = verify_identity(self._transport.run(fetch_identity(mark.did, self._settings.plc_url)))
        identity, is_known = self._with_handle(found)
        good_until = checked_at if is_known else checked_at - IDENTITY_AGE + HANDLE_AGAIN

        def keep(writing: Writing) -> None:
            if not is_blocked(writing, mark.did):  # marked again, it may have changed since it was asked
                keep_identity(writing, identity, good_until if writing.is_marked(mark.did, mark.marks) else 0)

        self._lease.write(keep)
        self._counted["identities"] += 1
        return identity

    def _with_handle(self, identity: VerifiedIdentity) -> tuple[VerifiedIdentity, bool]:
        """The same with the handle that it names first, if that leads back to it; and whether that could be asked."""
        for handle in identity.handles[:1]:
            try:
                did, resolved_by = self._resolving.run(resolve_handle(handle, self._settings.resolver_urls))
            except (IdentityError, AddressError):
                continue
            except NetworkError:
                return identity, False
            if did == identity.did:
                return identity.of_handle(handle, resolved_by), True
        return identity, True

    def _ask_hiding(self, identity: VerifiedIdentity) -> tuple[set[str], list[Upstream]]:
        """The servers of an account, of today and before, that have no say in whether it is active elsewhere; and the
        upstreams that hide it no more.

        A former server is one that hosts accounts: an account may name any address in its log, that of a relay too, which
        did not host it and may have taken it down. An upstream that does not answer hides it as before.
        """
        hosts, lifted = {identity.pds}, []
        for upstream in self._replica.read(lambda reading: hiding(reading, identity.did)):
            if (server := upstream.server) == identity.pds:
                continue
            transport = self._transport.trusting(server)
            with suppress(NetworkError, NotFoundError, LimitError):
                if server in identity.servers and transport.run(is_host(server)):
                    hosts.add(server)
                elif transport.run(fetch_status(server, identity.did)).active:
                    lifted.append(upstream)
        return hosts, lifted

    def _is_unknown(self, did: Did) -> bool:
        """True if no commit of an account was ever verified: it may have nothing of ours, and then nothing is kept of it."""
        head = self._replica.read(lambda reading: HeadRow.read(reading.sql, did))
        return head is None or head.head is None

    def _hosted(self, identity: VerifiedIdentity) -> HostedAccount:
        try:
            return self._transport.run(fetch_status(identity.pds, identity.did))
        except NotFoundError:
            return HostedAccount(False, "deleted")


def _retry(writing: Writing, mark: BehindMark, pause: int, *, failed: bool = True) -> None:
    """Let a repository be tried after a pause in microseconds, or sooner where there were news of it meanwhile."""
    moment = now()
    writing.retry(mark.did, mark.marks, moment + pause, moment + NEWS, failed=failed)


def _end(writing: Writing, mark: BehindMark, asked_at: int) -> None:
    """Hide an account whose identity was ended; it is looked at again where something is said of it."""
    if writing.caught_up(mark.did, mark.marks):
        gone = "DELETE FROM replica_identities WHERE account = ?"  # its key is good for nothing any more
        writing.sql.run(gone, writing.head(mark.did).account)
        confirm(writing, mark.did, HostedAccount(False, "deleted"), (), asked_at)
        writing.forget(mark.did)


def _forget_blocked(writing: Writing, mark: BehindMark, moment: int) -> bool:
    """Forget what is kept of an account of which nothing is to be; `False` where it is another."""
    if not is_blocked(writing, mark.did):
        return False
    forget_blocked(writing, mark.did, moment)
    writing.caught_up(mark.did, mark.marks)
    return True


def _forget_empty(writing: Writing, did: Did) -> bool:
    """Forget an account that was verified to have nothing of ours, and that never had; `False` where it has."""
    if not writing.forget(did, empty=True):
        return False
    writing.sql.run("DELETE FROM ingest_hosting WHERE did = ?", did)
    return True


def _check_time(proven: ProvenCommit) -> None:
    latest = horizon(now())
    if proven.commit.rev > latest:
        message = "a commit is of the future"
        raise ProofError(message, step="commit", expected=f"at most {latest}", actual=proven.commit.rev)
