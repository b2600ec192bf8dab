"""The lenses among which a way is searched: those known in this process, those of one's own index, and those in repositories
of the network. They are gathered here and nowhere else.

Nothing of a stranger runs here but programs of the language of `atdata.lens`, and code that was allowed by repository,
commit and digest; that is fetched when a way may need it, and not before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice, product
from typing import Any, TypeVar

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.code_lenses import AllowedCode, code_lens, is_allowed
from atdata.atmosphere.services import AppViewClient
from atdata.atmosphere.trust import Inquiry
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Did, Handle
from atdata.errors import AtdataError, LensError, NotFoundError, PassedOverWarning, UsageError, warn
from atdata.index.lenses import OwnLenses, ServicePlace, lens_place
from atdata.lens import DataLens, Lens, Program, registered_lenses
from atdata.lens.language.constants import BEYOND
from atdata.lens.language.trying import laws_of
from atdata.lens.search import LensEdge
from atdata.lens.types import name_beside, schema_cid
from atdata.policy import Policy, is_verified
from atdata.records import LensRecord, Record, Schema, VersionRange
from atdata.records.address import AUTHORITY
from atdata.samples import DictSample, fields_of

R = TypeVar("R", bound=Record)

MOST_REPOSITORIES = 20
"""Repositories that are looked into for one way."""
MOST_QUESTIONS, MOST_LENSES = 20, 50
"""Questions to services for one way, and lenses that one answer is followed for."""
OWN, HERE = "your own index", "registered here"
"""The places of lenses that are not of the network."""
_NO_WAY_BACK = ("there is no way back",)


@dataclass(frozen=True)
class PublishedLens:
    """The lens of a record, between two schemas.

    Attributes:
        record: as it was read.
        source, target: the schemas.
        make: makes it; what is code is fetched and started then.
    """

    record: LensRecord
    source: Schema
    target: Schema
    make: Callable[[], Lens[Any, Any]]

    @cached_property
    def lens(self) -> Lens[Any, Any]:
        """It, ready to be used."""
        return self.make()

    @cached_property
    def fault(self) -> str | None:
        """The reason for which it may not be used: it cannot be had, or its laws do not hold here, between these schemas."""
        try:
            if not isinstance(self.lens, DataLens):
                return None  # what is code has kept them before it is given
            report = laws_of(self.lens)
        except Exception as error:  # noqa: BLE001  as well if no samples can be made: then nothing is known of it
            return _why(error, self.record)
        if report.verdict == "holds":
            return None
        found = report.counterexample
        return f"it breaks the law {found.law}" if found else "nothing is known of its laws"


class LensCandidates:
    """Lenses as they are now, as the edges of a search.

    Args:
        client: to read with.
        repositories: DIDs or handles, or addresses of single lenses, to look into besides those of the publishers; and
            services to ask, besides those of the settings.
        policy: whose verifiers make a lens a verified one.
        own: one's own index, if there is one.
        allowed: the code that may be fetched and run.

    Attributes:
        passed: lenses and repositories that were passed over, and why.
        types: a sample type of each schema.
    """

    def __init__(
        self,
        client: AtmosphereClient,
        repositories: Sequence[str] = (),
        policy: Policy | None = None,
        own: OwnLenses | None = None,
        allowed: Sequence[AllowedCode] = (),
    ) -> None:
        self._client, self._policy, self._own = client, policy, own
        places = tuple(map(lens_place, repositories))
        self._places = tuple(place for place in places if not isinstance(place, ServicePlace))
        named = (str(place) for place in places if isinstance(place, ServicePlace))
        self._services = tuple(dict.fromkeys([*named, *client.settings.appview_urls]))
        self._addresses: dict[Cid, dict[AtUri, None]] = defaultdict(dict)
        self._allowed = tuple(allowed)
        self._asked: set[AtUri] = set()
        self._names: dict[Cid, str] = {}
        self._publishers: dict[Cid, dict[str, None]] = defaultdict(dict)
        self._schemas: dict[AtUri, Schema | None] = {}
        self._listed: dict[str, list[Schema]] = {}
        self.types: dict[Cid, type[Any]] = {}
        self.passed: dict[str, str] = {}

    def edges(self, schema: Schema) -> list[LensEdge]:
        """The lenses that may be on a way from a schema, of the network those in the repositories that are given, and of the
        publishers of the schemas that are reached.

        Raises:
            NotFoundError: a lens that is given is not there.
            UsageError: one is the address of a lens in one's own index, and none is searched.
            IdentityError: nobody has a handle that is given.
            VerificationError, NetworkError: it cannot be proven what a lens is, or whose a handle is.
        """
        source, found = self.node(schema), list(self._known_here())
        given = [self._account(place) for place in self._places if not isinstance(place, AtUri)]
        asked = [self._lens_at(place) for place in self._places if isinstance(place, AtUri)]
        self._asked |= {record.located for record in asked}
        found += self._edges_of(self._own_lenses(), OWN)
        found += self._edges_of(record for record in asked if record.located.authority != AUTHORITY)
        looked, questions = dict[str, None](), dict[tuple[str, AtUri], None]()
        while True:
            reached = _reached(found, source)
            wanted = [*given, *(repo for cid in reached for repo in self._publishers[cid])]
            repo = next((repo for repo in wanted if repo not in looked), None)
            asked_for = product(self._services, (uri for cid in reached for uri in self._addresses[cid]))
            question = next((each for each in asked_for if each not in questions), None)
            if repo is not None and len(looked) < MOST_REPOSITORIES:
                looked[repo] = None
                found += self._edges_of(self._lenses_of(repo))
            elif question is not None and len(questions) < MOST_QUESTIONS:
                questions[question] = None
                found += self._edges_of(self._lenses_known_to(*question))
            else:
                break
        return list({(edge.key, edge.source, edge.target): edge for edge in found}.values())

    def node(self, schema: Schema) -> Cid:
        """The CID of a schema, which is searched for; the schema is known from now on."""
        cid = schema_cid(schema.sample_type)
        self.types[cid] = schema.sample_type
        self._names[cid] = f"{schema.name} {schema.version}"
        if schema.uri is not None and schema.uri.authority != AUTHORITY:
            self._publishers[cid][schema.uri.authority] = None
            self._addresses[cid][schema.uri] = None
        return cid

    def target(self, sample_type: type[Any]) -> Cid:
        """The CID of the schema of a class of one's own."""
        cid = schema_cid(sample_type)
        self.types.setdefault(cid, sample_type)
        return cid

    def name(self, cid: Cid, beside: Cid | None = None) -> str:
        """The name of a schema, for people: with its version, where one is known; else, beside one of the same name, with
        what it has other than that.
        """
        if cid not in self._names and cid in self.types:
            same = (one for one in self._known_schemas() if one.name == self.types[cid].__name__)
            for schema in same:
                with suppress(AtdataError):  # what no type can be built from is not it
                    self.node(schema)
        if cid in self._names or cid not in self.types:
            return self._names.get(cid, str(cid))
        return name_beside(self.types[cid], self.types[cid if beside is None else beside])

    def _known_schemas(self) -> Iterator[Schema]:
        """Yields those of one's own index, and of the publishers that are known."""
        if self._own is not None:
            yield from self._read(OWN, self._own.list_schemas)
        for repo in {repo: None for repos in [*self._publishers.values()] for repo in repos}:
            yield from self._read(repo, partial(self._client.reader.read_all, repo, Schema))

    def _known_here(self) -> Iterator[LensEdge]:
        """Yields the lenses that are registered in this process: one's own code, which one trusts."""
        for lens in registered_lenses():
            if DictSample in (lens.source_type, lens.view_type):
                continue
            ends = self.target(lens.source_type), self.target(lens.view_type)
            losses = getattr(lens, "losses", () if lens.putter_function else _NO_WAY_BACK)
            key = f"{lens.__module__}.{lens.name}"
            yield LensEdge(*ends, key, lens.name, tuple(losses), verified=True, named=True, place=HERE, lens=lens)

    def _account(self, name: Did | Handle) -> Did:
        return name if isinstance(name, Did) else self._client.reader.identity(name).did

    def _lens_at(self, uri: AtUri) -> LensRecord:
        if uri.authority != AUTHORITY:
            return self._client.read(uri, LensRecord)
        if self._own is None:
            hint = "Give the index that it is in: index=, or --index."
            raise UsageError("a lens of a local index is asked for, and none is searched", actual=uri, hint=hint)
        return self._own.get_lens(uri)

    def _own_lenses(self) -> list[LensRecord]:
        return [] if self._own is None else self._read(OWN, self._own.list_lenses)

    def _lenses_of(self, repo: str) -> list[LensRecord]:
        return self._read(repo, partial(self._client.reader.read_all, repo, LensRecord))

    def _lenses_known_to(self, service: str, schema: AtUri) -> list[LensRecord]:
        """The lenses from a schema that a service knows. It is a hint: each is read from its account's own server."""

        def ask() -> Iterator[LensRecord]:
            answers = AppViewClient(service, self._client).lenses(schema)
            yield from (found.record for found in islice(answers, MOST_LENSES))
            self.passed |= {f"{service}: {item.uri}": item.error.what for item in answers.refused}

        def anew(uri: AtUri) -> Iterator[LensRecord]:
            yield self._client.read(uri, LensRecord)

        known = [lens.located for lens in self._read(service, ask)]
        return [lens for uri in known for lens in self._read(uri, partial(anew, uri))]

    def _read(self, where: str, read: Callable[[], Iterable[R]]) -> list[R]:
        try:
            return list(read())
        except AtdataError as error:
            self.passed[where] = error.what
            return []

    def _edges_of(self, records: Iterable[LensRecord], place: str = "") -> Iterator[LensEdge]:
        """Yields the ways in which records join schemas: their own, and other versions that they say they take.

        Args:
            records: lenses.
            place: where they are; by default in their publishers' repositories.
        """
        for record in records:
            key = f"{record.located}#{record.cid}"
            found = self._between(record, place == OWN)
            if isinstance(found, str):
                self.passed[key] = found
                continue
            verified, own, asked = self._is_verified(record), place == OWN, record.located in self._asked
            for published, losses in found:
                ends = self.node(published.source), self.node(published.target)
                yield LensEdge(
                    *ends, key, record.name, losses, verified, own, asked, place or record.located.authority, published
                )

    def _between(self, record: LensRecord, own: bool) -> list[tuple[PublishedLens, tuple[str, ...]]] | str:
        """The lens of a record between schemas that it takes, each with what it loses; or why it is between none."""
        code = record.program is None
        if code and not is_allowed(record, self._allowed):
            return "it is code, which nobody allowed to run"
        try:
            program = None if record.program is None else Program.parse(record.program.value)
            # Whether code takes another version nobody can tell but by running it.
            sources = self._versions(record.source_schema, None if code else record.source_schema_version, own)
            targets = self._versions(record.target_schema, None if code else record.target_schema_version, own)
        except Exception as error:  # noqa: BLE001  whatever a stranger's record leads to, other lenses do not need it
            return _why(error, record)
        found, why = list[tuple[PublishedLens, tuple[str, ...]]](), "it joins no versions of its schemas"
        for source, target in product(sources, targets):
            try:
                types = source.sample_type, target.sample_type
                if program is None:
                    losses: tuple[str, ...] = () if record.has_putter else _NO_WAY_BACK
                    make: Any = partial(code_lens, record, self._allowed, self._client.settings, *types)
                else:
                    lens = _fitting(program, sources[0].sample_type, *types, record.name)
                    losses, make = lens.losses, partial(_same, lens)
                found.append((PublishedLens(record, source, target, make), losses))
            except Exception as error:  # noqa: BLE001  likewise
                why = _why(error, record)
        return found or why

    def _versions(self, uri: AtUri, wanted: str | None, own: bool) -> list[Schema]:
        """The schema at an address, and other versions of its name in a range."""
        found = self._schema(uri, own)
        if wanted is None:
            return [found]
        versions = VersionRange.parse(wanted)
        if uri.authority not in self._listed:
            if self._own is not None and uri.authority == AUTHORITY:
                self._listed[uri.authority] = list(self._own.list_schemas())
            else:
                self._listed[uri.authority] = list(self._client.reader.read_all(uri.authority, Schema))
        same = [other for other in self._listed[uri.authority] if other.name == found.name]
        return [found, *(other for other in same if other.uri != found.uri and other.version in versions)]

    def _schema(self, uri: AtUri, own: bool) -> Schema:
        """The schema at an address that a lens names. What is in one's own index only lenses of it can name."""
        here = uri.authority == AUTHORITY
        if uri not in self._schemas and (own or not here):
            with suppress(NotFoundError):
                read = self._own.get_schema if here and self._own else partial(self._client.read, kind=Schema)
                self._schemas[uri] = read(uri)
        found = self._schemas.get(uri) if own or not here else None
        if found is None:
            raise NotFoundError("a schema that a lens names is not there", uri=uri)
        return found

    def _is_verified(self, record: LensRecord) -> bool:
        """True if the policy in force asks for verified lenses, and this is one."""
        policy = self._policy
        if policy is None or not policy.verify:
            return False
        return is_verified(policy, Inquiry(self._client, policy, self._own).lens(record))


def _fitting(
    program: Program, declared: type[Any], source: type[Any], target: type[Any], name: str
) -> DataLens[Any, Any]:
    """A program between two schemas; the fields that a later version of its own source has besides are left out before.

    Raises:
        LensError: it does not lead from the one to the other.
    """
    try:
        return DataLens(program, source, target, name)
    except LensError:
        known = {field.name for field in fields_of(declared)}
        later = [field.name for field in fields_of(source) if field.name not in known]
        if not later:
            raise
        return DataLens(Program.of(*({"op": "drop", "field": one} for one in later)) | program, source, target, name)


def _why(error: Exception, record: LensRecord) -> str:
    """The reason for which a lens is passed over. What is no error of ours stops nobody, but does not go without a word."""
    if isinstance(error, AtdataError):
        return f"{error.what} ({error.step})" if error.step else error.what
    why = f"a {type(error).__name__} was raised by it"
    if not isinstance(error, BEYOND):
        warn(PassedOverWarning((str(record.located),), why, "This is a fault of atdata: please report it."))
    return why


def _same(lens: Lens[Any, Any]) -> Lens[Any, Any]:
    return lens


def _reached(edges: Sequence[LensEdge], source: Cid) -> list[Cid]:
    """The schemas to which lenses lead from one, the nearest first."""
    leading = defaultdict(list)
    for edge in edges:
        leading[edge.source].append(edge.target)
    found = {source: None}
    waiting = [source]
    for cid in waiting:
        fresh = [target for target in leading[cid] if target not in found]
        found |= dict.fromkeys(fresh)
        waiting += dict.fromkeys(fresh)
    return list(found)
