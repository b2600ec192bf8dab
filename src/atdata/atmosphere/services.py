"""`AppViewClient`: questions to an AppView, of whose answers nothing is believed that is not proven here.

What cannot be proven is what is not there: that nothing more was found, that a label is the newest of its name, that the
order is right, how many there are. All of that is the service's word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from atdata.arguments import checked_service, checked_text, maybe_text
from atdata.atmosphere.client import AtmosphereClient, checked_client
from atdata.atmosphere.evidence import reader_of
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atmosphere.service_answers import ServiceAnswers, ServicePage, body_of, items_of, refusal_of, told
from atdata.atmosphere.service_records import FACTS, ServiceProofs, ServiceRecord, prove_each
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import NetworkError, ProofError, UsageError
from atdata.index import NamedRecords
from atdata.numbers import checked_int
from atdata.records import Entry, Label, LensRecord, LensVerification, Record, Schema
from atdata.records.nsids import collections
from atdata.replica.columns import links_of
from atdata.transport import Get

R = TypeVar("R", bound=Record)

NAMESPACE = "science.alt.dataset"
MAX_ANSWER = 1 << 25
"""Bytes of an answer."""
PATIENCE = 20.0
"""Seconds that a service, and what its answers lead to, is waited for at most."""
ANSWER_SECONDS = 60.0
"""Seconds in which an answer must have come, however steadily it does."""
MAX_PAGE = 100

_ANY = frozenset(range(100, 600))


@dataclass(frozen=True)
class ResolvedLabel:
    """A label and the entry that it stands for, found by a service and both proven.

    That no newer label has the name is the service's word.
    """

    label: ServiceRecord[Label]
    entry: ServiceRecord[Entry]


class AppViewClient:
    """Asks an AppView. Every record that it gives is proven here: it is in its account's repository, signed with the key in
    the account's DID document, and says what the service showed of it.

    Args:
        url: the root of the service.
        client: whose settings and memory of repositories are used.

    Raises:
        UsageError: the root is no address of one.

    Attributes:
        url: the root of the service.
    """

    def __init__(self, url: str, client: AtmosphereClient | None = None) -> None:
        self.url = checked_service(checked_text(url, "url"), "url")
        self._client = AtmosphereClient() if client is None else checked_client(client)
        settings = self._client.settings
        hurried = replace(settings, patience=min(settings.patience, PATIENCE))
        reader = reader_of(hurried, self._client.trusted_origins)
        self._transport, self._reader = reader.transport.trusting(self.url), reader

    def entry(self, uri: str) -> ServiceRecord[Entry]:
        """The dataset at an address.

        Raises:
            NotFoundError: the service knows none, or its account has it no more.
            VerificationError, LexiconError: it could not be proven; `step` names the link that broke.
            NetworkError: the service gives no usable answer.
        """
        return self._one("getEntry", "entry", uri, Entry)

    def schema(self, uri: str) -> ServiceRecord[Schema]:
        """The schema at an address. Raises what `entry` does."""
        return self._one("getSchema", None, uri, Schema)

    def lens(self, uri: str) -> ServiceRecord[LensRecord]:
        """The lens at an address. Raises what `entry` does."""
        return self._one("getLens", "lens", uri, LensRecord)

    def resolve_label(self, handle: str, name: str, version: str | None = None) -> ResolvedLabel:
        """The entry that a name of an account stands for: of one version, or the newest.

        Where a newer commit of the account is known here than the service shows, the account's own server is asked.

        Raises:
            NotFoundError: the service knows no such label, or its entry is gone.
            IdentityError: nobody has the handle.
            VerificationError, LexiconError, NetworkError: as `entry`.
        """
        did = self._reader.identity(handle).did
        asked = {"handle": str(did), "name": checked_text(name, "name"), "version": maybe_text(version, "version")}
        said = self._ask("resolveLabel", **asked)
        label = self._named(said, "labelUri", "labelCid", "label", Label, partial(_is_named, name, version))
        if label.confirmed:
            own = AtmosphereIndex(self._client).get_label(name, version, did)
            label = replace(label, record=own, rev=_rev_of(own, label.rev))
        entry = self.entry(label.record.dataset_uri)
        expected = (str(entry.record.located), str(entry.record.cid))
        if not (label.confirmed or entry.confirmed) and (said.get("uri"), said.get("cid")) != expected:
            with ServiceProofs(self._reader, self.url).blaming(expected[0]):
                raise ProofError("an answer names another entry than its label", step="members", expected=expected)
        return ResolvedLabel(label, entry)

    def resolve_schema(self, handle: str, name: str, version: str | None = None) -> ServiceRecord[Schema]:
        """The schema that a name of an account stands for: of one version, or the newest. Raises what `resolve_label` does."""
        did = self._reader.identity(handle).did
        asked = {"handle": str(did), "schemaId": checked_text(name, "name"), "version": maybe_text(version, "version")}
        said = self._ask("resolveSchema", **asked)
        return self._named(said, "uri", "cid", "record", Schema, partial(_is_keyed, name, version))

    def search(
        self, question: str, *, limit: int = 25, cursor: str | None = None, verifiers: Sequence[str] | None = None
    ) -> ServiceAnswers[Record]:
        """The answers to a question in the language of `docs/search.md`: datasets, schemas and lenses.

        Args:
            question: words and conditions.
            limit: records on a page, at most 100.
            cursor: of the page before.
            verifiers: DIDs of whose verifications make a lens one through which a schema is reached; by default those
                on the service's list.

        Raises:
            IdentifierError: a verifier is no DID.
        """
        own = {} if verifiers is None else {"verifiers": [str(Did(one)) for one in verifiers]}
        params = {"q": checked_text(question, "question"), "facets": "true", **own}
        return self._listed("searchRecords", "records", params, limit, cursor)

    def entries(self, *, repo: str | None = None, schema: str | None = None, limit: int = 25) -> ServiceAnswers[Entry]:
        """Datasets, the newest first: of all accounts or one, of any schema or one."""
        return self._listed("listEntries", "entries", {"repo": repo}, limit, kind=Entry, naming={"schemaRef": schema})

    def schemas(self, *, repo: str | None = None, limit: int = 25) -> ServiceAnswers[Schema]:
        """Schemas, the newest first."""
        return self._listed("listSchemas", "schemas", {"repo": repo}, limit, kind=Schema)

    def lenses(
        self, source: str | None = None, target: str | None = None, *, repo: str | None = None, limit: int = 25
    ) -> ServiceAnswers[LensRecord]:
        """Lenses, the newest first: those that name a schema as their source, and one as their target."""
        naming = {"sourceSchema": source, "targetSchema": target}
        return self._listed("listLenses", "lenses", {"repo": repo}, limit, kind=LensRecord, naming=naming)

    def labels(self, *, entry: str | None = None, repo: str | None = None, limit: int = 25) -> ServiceAnswers[Label]:
        """Labels, the newest first: of all datasets or one."""
        return self._listed("listLabels", "labels", {"repo": repo}, limit, kind=Label, naming={"entry": entry})

    def verifications(
        self, lens: str | None = None, *, repo: str | None = None, limit: int = 25
    ) -> ServiceAnswers[LensVerification]:
        """Verifications, the newest first: of all lenses or one. Which of them count is for a policy to say."""
        naming = {"lens": lens}
        params = {"repo": repo}
        return self._listed("listVerifications", "verifications", params, limit, kind=LensVerification, naming=naming)

    def backlinks(self, uri: str, *, relation: str | None = None, limit: int = 25) -> ServiceAnswers[Record]:
        """The records of any kind that name another record."""
        params = {"relation": maybe_text(relation, "relation")}
        return self._listed("listBacklinks", "backlinks", params, limit, naming={"uri": uri})

    def _one(self, method: str, member: str | None, uri: str, kind: type[R]) -> ServiceRecord[R]:
        asked = self._by_did(uri, "uri")
        if asked.rkey is None or asked.collection not in collections(kind.NSID):
            raise UsageError(f"the address names no {kind.NSID.name}", expected=kind.NSID, actual=asked)
        said = self._ask(method, uri=str(asked))
        proofs = ServiceProofs(self._reader, self.url)
        with proofs.blaming(str(asked)):
            return proofs.prove(said if member is None else said.get(member), kind, asked)

    def _named(
        self, said: dict[str, Any], uri: str, cid: str, member: str, kind: type[R], fits: Callable[[R], bool]
    ) -> ServiceRecord[R]:
        """The record that a name is said to stand for."""
        shown = said.get(member)
        view = {name: value for name, value in shown.items() if name not in FACTS} if isinstance(shown, dict) else {}
        view |= {"uri": said.get(uri), "cid": said.get(cid), **{name: said.get(name) for name in ("proof", "proofRev")}}
        proofs = ServiceProofs(self._reader, self.url)
        with proofs.blaming(str(view["uri"])[:500]):
            found = proofs.prove(view, kind)
            if not fits(found.record):
                raise ProofError("an answer is of another name or version than was asked for", step="question")
        return found

    def _listed(
        self,
        method: str,
        member: str,
        params: Mapping[str, Any],
        limit: int,
        cursor: str | None = None,
        kind: type[R] = Record,  # type: ignore[assignment]  # any kind
        naming: Mapping[str, str | None] | None = None,
    ) -> ServiceAnswers[R]:
        if not 1 <= checked_int(limit, "limit") <= MAX_PAGE:
            raise UsageError("a page cannot have so many records", expected=f"1 to {MAX_PAGE}", actual=limit)
        named = {key: self._by_did(uri, key) for key, uri in (naming or {}).items() if uri is not None}
        repo = params.get("repo")
        owner = None if repo is None else self._reader.identity(repo).did
        asked = {**params, **({} if owner is None else {"repo": str(owner)}), **named, "limit": str(limit)}

        def check(found: ServiceRecord[Any], view: Any) -> None:
            record = found.record
            links = {(link.relation, link.target) for link in links_of(record)}
            relation = view.get(_RELATION)
            for key, uri in named.items():
                if not {(one, str(uri)) for one in _RELATIONS.get(key, (relation,))} & links:
                    raise ProofError("a record does not name what was asked for", step="question", expected=uri)
            if not isinstance(record, kind) or owner not in (None, record.located.authority):
                raise ProofError("a record is none of those that were asked for", step="question")
            if params.get("relation") not in (None, relation):
                raise ProofError("a record has another relation than was asked for", step="question", actual=relation)

        def fetch(cursor: str | None) -> ServicePage[R]:
            said = self._ask(method, **asked, cursor=cursor)
            views = [_unwrapped(view) for view in items_of(said, member, self.url)[:limit]]
            found, refused = prove_each(ServiceProofs(self._reader, self.url), views, check)
            return ServicePage(tuple(found), tuple(refused), **told(said, self.url))

        return ServiceAnswers(fetch, maybe_text(cursor, "cursor"))

    def _by_did(self, uri: str, path: str) -> AtUri:
        """An address as services know it."""
        given = AtUri(checked_text(uri, path, "Give an address: at://..."))
        return (
            given
            if isinstance(given.authority, Did)
            else given.with_authority(self._reader.identity(given.authority).did)
        )

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The body of an answer.

        Raises:
            NotFoundError, LexiconError, UsageError, VerificationError: the service says so.
            NetworkError: it gives no usable answer.
        """
        given = ((name, value if isinstance(value, list) else [value]) for name, value in params.items())
        pairs = tuple((name, str(one)) for name, values in given for one in values if one is not None)
        try:
            "".join(text for _, text in pairs).encode()
        except UnicodeEncodeError:
            raise UsageError("a question is no text", path=method, hint="Write it in Unicode.") from None
        url = f"{self.url}/xrpc/{NAMESPACE}.{method}"
        asked = Get(url, (*pairs, ("proof", "true")), max_bytes=MAX_ANSWER, accept=_ANY)
        until = time.monotonic() + ANSWER_SECONDS

        def watch() -> None:
            if time.monotonic() > until:
                raise NetworkError("a service takes too long", uri=self.url, expected=f"at most {ANSWER_SECONDS:.0f} s")

        answer = replace(self._transport, watch=watch).get(asked)
        said = body_of(answer)
        if answer.status != 200:
            raise refusal_of(answer.status, said, method, self.url)
        return said


_RELATION = "\0relation"  # what a view is said to be to another; no member of a record can be called so
_RELATIONS = {
    "schemaRef": ("schema",),
    "sourceSchema": ("sourceSchema",),
    "targetSchema": ("targetSchema",),
    "entry": ("dataset",),
    "lens": ("lens",),
}


def _unwrapped(view: Any) -> Any:
    """The view in an item of a list; in a list of backlinks there is something around it."""
    if isinstance(view, dict) and "relation" in view and isinstance(view.get("record"), dict):
        return {**view["record"], _RELATION: view["relation"]}
    return view


def _is_named(name: str, version: str | None, label: Label) -> bool:
    named = NamedRecords([label])
    return label.name == name and not label.is_retracted and (version is None or named.of_version(version) is not None)


def _is_keyed(name: str, version: str | None, schema: Schema) -> bool:
    key = str(schema.located.rkey).partition(":")[0]
    return name in (schema.name, key) and (version is None or NamedRecords([schema]).of_version(version) is not None)


def _rev_of(record: Record, otherwise: Any) -> Any:
    return otherwise if record.evidence is None else record.evidence.verify().commit.rev
