"""The lenses that lead from a dataset's schema to somebody's type: those known in this process, and programs in the
repositories of the network, each tried before it is used.

Nothing of a stranger runs here but programs of the language of `atdata.lens`; records that name code are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.trust import GivenPolicy, Inquiry, policy_in_force
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import AtdataError, NotFoundError
from atdata.lens import DataLens, Lens, Program, fitted, registered_lenses
from atdata.lens.comparing import difference
from atdata.lens.language.trying import laws_of
from atdata.lens.search import LensEdge, LensWay, find_way
from atdata.lens.types import schema_cid
from atdata.policy import is_verified
from atdata.records import LensRecord, Schema, VersionRange
from atdata.samples import DictSample

MOST_REPOSITORIES = 20
"""Repositories that are looked into for one way."""


@dataclass(frozen=True)
class FoundLens:
    """A way of lenses from a schema to a type, ready to be used.

    Attributes:
        lens: all of it as one lens.
        way: the lenses, with what each loses and whether it is verified.
        records: of those that are from the network, in their order.
        schemas: the records of the schemas on the way.
        passed: lenses that were not used, and why.
    """

    lens: Lens[Any, Any]
    way: LensWay
    records: tuple[LensRecord, ...]
    schemas: tuple[Schema, ...] = ()
    passed: Mapping[str, str] = field(default_factory=dict)

    def explain(self) -> str:
        """The way as text: each lens, what it loses, who verified it, and what was passed over."""
        lines = [str(self.way), *(f"passed over {key}: {why}" for key, why in sorted(self.passed.items()))]
        return "\n".join(lines)


class LensNetwork:
    """Lenses as they are now: here, and in some repositories.

    Args:
        client: to read with.
        repositories: DIDs or handles, or addresses of single lenses, to look into besides those of the publishers.
        policy: whose verifiers make a lens a verified one; by default that of the settings.
    """

    def __init__(self, client: AtmosphereClient, repositories: Sequence[str] = (), policy: GivenPolicy = None) -> None:
        self._client, self._given, self._policy = client, tuple(repositories), policy_in_force(client, policy)
        self._named: set[AtUri] = set()
        self._types: dict[Cid, type[Any]] = {}
        self._names: dict[Cid, str] = {}
        self._schemas: dict[AtUri, Schema | None] = {}
        self._listed: dict[str, list[Schema]] = {}
        self.passed: dict[str, str] = {}

    def find(self, schema: Schema, sample_type: type[Any]) -> FoundLens:
        """The best lens from a schema to a type. Programs from the network have kept the laws before this returns.

        Args:
            schema: of the dataset, as it was read from the network.
            sample_type: to which it shall lead.

        Raises:
            LensNotFoundError: none leads there.
            AmbiguousLensError: several do, equally good, and show different samples.
        """
        source, target = self._node(schema), schema_cid(sample_type)
        self._types.setdefault(target, sample_type)
        self._names.setdefault(target, sample_type.__name__)
        edges = [*self._known_here(), *self._in_repositories(schema)]
        while True:
            way = find_way(edges, source, target, self._differ, self._name)
            broken = next((edge for edge in way.edges if not self._keeps_laws(edge)), None)
            if broken is None:
                break
            edges.remove(broken)
        lens = self._joined(way, schema.sample_type)
        remote = [edge.lens for edge in way.edges if isinstance(edge.lens, _Remote)]
        records = tuple(one.record for one in remote)
        schemas = {one.located: one for lens in remote for one in (lens.source, lens.target)}
        return FoundLens(
            fitted(lens, schema.sample_type, sample_type), way, records, tuple(schemas.values()), self.passed
        )

    # --- edges

    def _known_here(self) -> Iterator[LensEdge]:
        """Yields the lenses that are registered in this process: one's own code, which one trusts."""
        for lens in registered_lenses():
            if DictSample in (lens.source_type, lens.view_type):
                continue
            ends = [schema_cid(kind) for kind in (lens.source_type, lens.view_type)]
            for cid, kind in zip(ends, (lens.source_type, lens.view_type), strict=True):
                self._types.setdefault(cid, kind)
                self._names.setdefault(cid, kind.__name__)
            losses = getattr(lens, "losses", () if lens.putter_function else ("there is no way back",))
            key = f"{lens.__module__}.{lens.name}"
            yield LensEdge(ends[0], ends[1], key, lens.name, tuple(losses), verified=True, named=True, lens=lens)

    def _in_repositories(self, schema: Schema) -> Iterator[LensEdge]:
        """Yields the programs in repositories: those given, those of the schema's publisher, and then of the publishers of
        the schemas that lenses lead to.
        """
        waiting = [repo.removeprefix("@") for repo in self._given if not repo.startswith("at://")]
        waiting += [uri.authority for uri in (schema.uri,) if uri is not None]
        records = [self._client.read(uri, LensRecord) for uri in self._given if uri.startswith("at://")]
        self._named |= {record.located for record in records}
        looked: set[str] = set()
        while waiting or records:
            for record in records:
                for edge in self._edges_of(record):
                    yield edge
                    waiting.append(edge.lens.target.uri.authority)
            records = []
            while waiting and not records:
                repo = waiting.pop(0)
                if repo not in looked and len(looked) < MOST_REPOSITORIES:
                    looked.add(repo)
                    records = self._lenses_of(repo)

    def _lenses_of(self, repo: str) -> list[LensRecord]:
        try:
            return list(self._client.reader.read_all(repo, LensRecord))
        except AtdataError as error:
            self.passed[repo] = error.what
            return []

    def _edges_of(self, record: LensRecord) -> Iterator[LensEdge]:
        """Yields the ways in which a record joins schemas: its own, and other versions that it says it takes."""
        key = f"{record.located}#{record.cid}"
        if record.program is None:
            self.passed[key] = "it is code, which nobody allowed to run"
            return
        try:
            program = Program.parse(record.program.value)
            sources = self._versions(record.source_schema, record.source_schema_version)
            targets = self._versions(record.target_schema, record.target_schema_version)
        except AtdataError as error:  # whatever a stranger's record leads to, other lenses do not need it
            self.passed[key] = error.what
            return
        found, why = list[_Remote](), "it joins no versions of its schemas"
        for source, target in product(sources, targets):
            try:
                lens = DataLens(program, source.sample_type, target.sample_type, record.name)
                found.append(_Remote(record, lens, source, target))
            except AtdataError as error:
                why = error.what
        if not found:
            self.passed[key] = why
            return
        verified, named = self._is_verified(record), record.located in self._named
        for remote in found:
            ends = self._node(remote.source), self._node(remote.target)
            yield LensEdge(*ends, key, record.name, remote.lens.losses, verified, named, remote)

    def _versions(self, uri: AtUri, wanted: str | None) -> list[Schema]:
        """The schema at an address, and other versions of its name in a range."""
        own = self._schema(uri)
        if wanted is None:
            return [own]
        versions = VersionRange.parse(wanted)
        if uri.authority not in self._listed:
            self._listed[uri.authority] = list(self._client.reader.read_all(uri.authority, Schema))
        same = [other for other in self._listed[uri.authority] if other.name == own.name]
        return [own, *(other for other in same if other.uri != own.uri and other.version in versions)]

    def _schema(self, uri: AtUri) -> Schema:
        if uri not in self._schemas:
            with suppress(NotFoundError):
                self._schemas[uri] = self._client.read(uri, Schema)
        found = self._schemas.get(uri)
        if found is None:
            raise NotFoundError("a schema that a lens names is not there", uri=uri)
        return found

    def _node(self, schema: Schema) -> Cid:
        cid = schema_cid(schema.sample_type)
        self._types[cid] = schema.sample_type
        self._names[cid] = f"{schema.name} {schema.version}"
        return cid

    def _name(self, cid: Cid) -> str:
        return self._names.get(cid, str(cid))

    # --- trust

    def _is_verified(self, record: LensRecord) -> bool:
        """True if the policy in force asks for verified lenses, and this is one."""
        policy = self._policy
        asked = policy is not None and policy.verify
        return policy is not None and bool(asked) and is_verified(policy, Inquiry(self._client, policy).lens(record))

    def _keeps_laws(self, edge: LensEdge) -> bool:
        """True if a program from the network keeps the laws between its two schemas."""
        if not isinstance(edge.lens, _Remote):
            return True
        try:
            report = laws_of(edge.lens.lens)
        except AtdataError as error:  # no samples of such a type can be made, so nothing is known of it
            self.passed[edge.key] = error.what
            return False
        if report.verdict != "holds":
            found = report.counterexample
            self.passed[edge.key] = f"it breaks the law {found.law}" if found else "nothing is known of its laws"
        return report.verdict == "holds"

    # --- ways

    def _joined(self, way: LensWay, sample_type: type[Any]) -> Lens[Any, Any]:
        whole: Lens[Any, Any] = Lens.identity(sample_type)
        for edge in way.edges:
            whole = whole.then(edge.lens.lens if isinstance(edge.lens, _Remote) else edge.lens)
        return whole

    def _differ(self, one: LensWay, other: LensWay) -> str | None:
        source = self._types[one.edges[0].source]
        return difference(self._joined(one, source), self._joined(other, source))


@dataclass(frozen=True)
class _Remote:
    """A lens from the network between two schemas."""

    record: LensRecord
    lens: DataLens[Any, Any]
    source: Schema
    target: Schema
