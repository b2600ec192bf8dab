"""The lenses that lead from a dataset's schema to somebody's type: found among all that are known, and each tried before it
is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.code_lenses import AllowedCode
from atdata.atmosphere.lens_candidates import LensCandidates, PublishedLens
from atdata.atmosphere.trust import GivenPolicy
from atdata.index.lenses import OwnLenses
from atdata.lens import Lens, fitted
from atdata.lens.comparing import difference
from atdata.lens.search import LensEdge, LensWay, best_ways, find_way
from atdata.policy import policy_in_force
from atdata.records import LensRecord, Schema


@dataclass(frozen=True)
class FoundLens:
    """A way of lenses from a schema to a type, ready to be used.

    Attributes:
        lens: all of it as one lens.
        way: the lenses, with what each loses, whether it is verified, and where it is from.
        records: of those that are from the network or from one's own index, in their order.
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
    """Lenses as they are now: here, in one's own index, and in some repositories.

    Args:
        client: to read with.
        repositories: DIDs or handles, or addresses of single lenses, to look into besides those of the publishers.
        policy: whose verifiers make a lens a verified one; by default that of the settings.
        own: one's own index, if there is one.
        allow_code: the code that may be fetched and run; no other is.
    """

    def __init__(
        self,
        client: AtmosphereClient,
        repositories: Sequence[str] = (),
        policy: GivenPolicy = None,
        own: OwnLenses | None = None,
        allow_code: AllowedCode | Iterable[AllowedCode] | None = None,
    ) -> None:
        in_force = policy_in_force(client.settings, policy)
        self._candidates = LensCandidates(client, repositories, in_force, own, AllowedCode.all_of(allow_code))

    @property
    def passed(self) -> Mapping[str, str]:
        """Lenses and repositories that were passed over until now, and why."""
        return self._candidates.passed

    def find(self, schema: Schema, sample_type: type[Any]) -> FoundLens:
        """The best lens from a schema to a type. All that is published has kept the laws before this returns.

        Args:
            schema: of the dataset, as it was read from the network or from one's own index.
            sample_type: to which it shall lead.

        Raises:
            LensNotFoundError: none leads there.
            AmbiguousLensError: several do, equally good, and show different samples.
        """
        known = self._candidates
        source, target = known.node(schema), known.target(sample_type)
        edges = known.edges(schema)
        while broken := {edge for way in best_ways(edges, source, target) for edge in way.edges if self._fails(edge)}:
            edges = [edge for edge in edges if edge not in broken]
        way = find_way(edges, source, target, self._differ, partial(known.name, beside=source))
        lens = self._joined(way, schema.sample_type)
        published = [edge.lens for edge in way.edges if isinstance(edge.lens, PublishedLens)]
        schemas = {one.located: one for lens in published for one in (lens.source, lens.target)}
        return FoundLens(
            fitted(lens, schema.sample_type, sample_type),
            way,
            tuple(one.record for one in published),
            tuple(schemas.values()),
            known.passed,
        )

    def _fails(self, edge: LensEdge) -> bool:
        """True if a lens may not be used; what is known in this process is one's own."""
        if not isinstance(edge.lens, PublishedLens) or edge.lens.fault is None:
            return False
        self._candidates.passed[edge.key] = edge.lens.fault
        return True

    def _joined(self, way: LensWay, sample_type: type[Any]) -> Lens[Any, Any]:
        whole: Lens[Any, Any] = Lens.identity(sample_type)
        for edge in way.edges:
            whole = whole.then(edge.lens.lens if isinstance(edge.lens, PublishedLens) else edge.lens)
        return whole

    def _differ(self, one: LensWay, other: LensWay) -> str | None:
        source = self._candidates.types[one.edges[0].source]
        return difference(self._joined(one, source), self._joined(other, source))
