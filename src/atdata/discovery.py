"""A search over repositories that one names, without any service: over verified copies of them in the cache folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from atdata.atmosphere import AtmosphereClient
from atdata.atproto.syntax import AtUri, Did, Handle, typed_identifier
from atdata.errors import AtdataError, ProofError
from atdata.progress import progress
from atdata.replica import KeptIdentity, Reading, Writing, keep_identity, now, open_replica
from atdata.search import TABLES as SEARCH_TABLES
from atdata.search import LogFollower, Question, SearchAnswer, SearchIndex, search
from atdata.trust import TABLES as TRUST_TABLES
from atdata.trust import FollowedLabeler, VerifierList, follow, labelers, lists_of, unfollow

if TYPE_CHECKING:
    from atdata.atmosphere.evidence import EvidenceReader
    from atdata.policy import Policy

FRESH = 300.0
"""Seconds for which a copy is searched without asking the account's server for what is new."""

_AT_ONCE = 8  # repositories


@dataclass(frozen=True)
class BroughtRepository:
    """A repository that a search was told of.

    Attributes:
        repo: the DID or handle that was given.
        did: the account; `None` where it could not be found.
        error: the reason why its newest commit could not be had; then what was known of it before is searched.
        known: whether anything is known of it.
    """

    repo: Did | Handle
    did: Did | None
    error: AtdataError | None = None
    known: bool = True


class Discovery:
    """Searches verified copies of repositories, by the rules by which a service searches (docs/search.md).

    Args:
        client: brings and verifies what the copies lack.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self._client, self._index = client, SearchIndex()
        tables, derivations = [TRUST_TABLES, SEARCH_TABLES], [LogFollower(self._index)]
        self._replica = open_replica(client.settings.cache, tables, derivations)

    def bring(self, repos: Iterable[str], fresh: float = FRESH) -> list[BroughtRepository]:
        """Bring copies of repositories to their newest commits, several at a time.

        Args:
            repos: DIDs or handles.
            fresh: seconds for which a copy is taken as it is.

        Raises:
            IdentifierError: one is neither; nothing was brought.
        """
        wanted = list(dict.fromkeys(map(typed_identifier, repos)))
        self._read_labelers(fresh)
        found = self._replica.read(lambda reading: {name: _fresh(reading, name, fresh) for name in wanted})
        missing = [name for name in wanted if found[name] is None]
        brought = dict(zip(missing, self._bring_all(missing), strict=True)) if missing else {}
        return [brought.get(name) or BroughtRepository(name, found[name]) for name in wanted]

    def _bring_all(self, wanted: Sequence[Did | Handle]) -> list[BroughtRepository]:
        from concurrent.futures import ThreadPoolExecutor

        with progress("Looking into repositories", len(wanted), "repositories") as bars:
            bars.begin("repositories", len(wanted))

            def bring(name: Did | Handle) -> BroughtRepository:
                try:
                    return self._bring(name)
                finally:
                    bars.advance(1)

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                return list(pool.map(bring, wanted))

    def _bring(self, name: Did | Handle) -> BroughtRepository:
        kept, moment = self._replica.read(lambda reading: _kept(reading, name)), now()
        did = None if kept is None else kept.did
        reader = self._reader
        try:
            identity = reader.identity(name)
            did = identity.did
            reader.follow(identity)
            shown = reader.shown_handle(did)  # one that is proven, whatever the account was called by

            def note(writing: Writing) -> None:
                keep_identity(writing, identity if shown is None else reader.identity(shown), moment)
                writing.looked(identity.did, moment)

            self._replica.write(note)
        except AtdataError as error:
            return BroughtRepository(name, did, error, known=did is not None and self._holds(did))
        return BroughtRepository(name, did)

    @cached_property
    def _reader(self) -> EvidenceReader:
        from atdata.atmosphere.evidence import EvidenceReader

        return EvidenceReader(self._client.settings, self._client.trusted_origins, self._replica)

    def _read_labelers(self, fresh: float) -> None:
        """Read the labelers that the policy in force names, and let go of others. One that cannot be read leaves its labels."""
        policy = self._policy()
        wanted, moment = () if policy is None else policy.labelers, now()
        known = {each.did: each for each in self._replica.read(lambda reading: labelers(reading.sql))}

        def choose(writing: Writing) -> None:
            for did in known.keys() - {*wanted}:
                unfollow(writing.sql, did)
            for did in wanted:
                if did not in known:
                    follow(writing.sql, did, "the policy names it", moment)

        if known.keys() != {*wanted}:
            self._replica.write(choose)
        if wanted:
            self._read_labels(wanted, known, fresh)

    def _read_labels(self, wanted: Sequence[Did], known: Mapping[Did, FollowedLabeler], fresh: float) -> None:
        from atdata.trust.reading import LabelerReader

        reader, moment = LabelerReader(self._replica, self._client.settings), now()
        for did in wanted:
            if did not in known or not 0 <= moment - known[did].read_at < fresh * 1e6:
                while reader.read(did):
                    pass

    def _policy(self) -> Policy | None:
        if self._client.settings.policy is None:  # then what reads one need not be imported
            return None
        from atdata.policy import policy_in_force

        return policy_in_force(self._client.settings)

    def _holds(self, did: Did) -> bool:
        try:
            return self._replica.read(lambda reading: reading.account(did).tree_head()) is not None
        except AtdataError:
            return False

    def search(
        self, text: str, *, limit: int = 25, cursor: str | None = None, verifiers: Sequence[str] | None = None
    ) -> SearchAnswer:
        """The answer to a question, from what is in the cache folder: of repositories that were ever brought or read.

        Args:
            text: the question, in the language of docs/search.md.
            limit: how many on a page.
            cursor: of the page before.
            verifiers: DIDs of whose verifications make a lens one through which a schema is reached; by default those
                that the policy in force asks for.

        Raises:
            UsageError: the question is too long, or a value in it is none of its key's; or the cursor is none.
            IdentifierError: a verifier is no DID.
            ProofError: what was found is damaged, and its repository is not.
        """
        question = Question.parse(text)
        own = verifiers is not None
        trusted = [VerifierList.of(verifiers or ())] if own else lists_of(self._policy())
        while True:
            while self._replica.write(self._catch_up):
                pass
            try:
                return self._replica.read(
                    lambda reading: search(reading.sql, question, limit=limit, cursor=cursor, trusted=trusted)
                )
            except ProofError as error:  # somebody else has changed the file; each turn one copy less is damaged
                from atdata.replica.mending import forget_damaged

                did = Did(AtUri(str(error.uri)).authority)
                if not self._replica.write(partial(forget_damaged, did=did)):
                    raise
                self.bring([did], fresh=0)  # where that is not possible now it is not found

    def _catch_up(self, writing: Writing) -> bool:
        return self._index.follow_log(writing.sql) or self._index.catch_up(writing.sql)

    def handle(self, did: Did) -> Handle | None:
        """The handle of an account that was proven when the account was looked at last."""
        kept = self._replica.read(lambda reading: _kept(reading, did))
        return None if kept is None else kept.handle


def _kept(reading: Reading, name: Did | Handle) -> KeptIdentity | None:
    """The identity of an account that was proven last."""
    return KeptIdentity.of_account(reading, name) if isinstance(name, Did) else KeptIdentity.of_handle(reading, name)


def _fresh(reading: Reading, name: Did | Handle, fresh: float) -> Did | None:
    """The account of a name, if its server was asked not long ago."""
    kept = _kept(reading, name)
    if kept is None:
        return None
    (looked_at,) = reading.sql.first("SELECT looked_at FROM replica_accounts WHERE did = ?", kept.did)
    return kept.did if 0 <= now() - looked_at < fresh * 1e6 else None
