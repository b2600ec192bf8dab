"""Finding a way of lenses from one schema to another.

A way that loses nothing is better than one that does, then one whose lenses are verified, then a short one: of the cheapest
ways in that order there may be several, and then they must give the same views.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import add
from typing import Any, TypeAlias

from atdata.atproto.cid import Cid
from atdata.errors import AmbiguousLensError, LensNotFoundError

Cost: TypeAlias = tuple[int, ...]

MOST_WAYS = 8
"""Equally good ways that are compared: more are not told apart any better."""


@dataclass(frozen=True)
class LensEdge:
    """A lens as a search sees it.

    Attributes:
        source, target: the CIDs of the two schemas.
        key: what tells it from others, the same everywhere: the address and CID of its record, or its name here.
        name: what people call it.
        losses: what its view lacks, for people.
        verified: whether those that one trusts have verified it.
        named: whether it was chosen before: of ways that are else as good, those of such lenses are taken.
        asked: whether it is asked for now: the last that tells equally good ways apart.
        place: where it is from, for people.
        lens: the lens, or how to get it.
    """

    source: Cid
    target: Cid
    key: str
    name: str
    losses: tuple[str, ...] = ()
    verified: bool = False
    named: bool = False
    asked: bool = False
    place: str = ""
    lens: Any = field(default=None, compare=False)

    @property
    def cost(self) -> Cost:
        """The numbers it adds to those of a way: of lenses that lose something, that nobody verified, of all, of those that
        nobody chose, and of those that nobody asks for now.
        """
        return bool(self.losses), not self.verified, 1, not (self.named or self.asked), not self.asked


_NOTHING: Cost = (0,) * 5


@dataclass(frozen=True)
class LensWay:
    """Lenses one after the other.

    Attributes:
        edges: the lenses; none where the schemas are one.
    """

    edges: tuple[LensEdge, ...]

    @property
    def cost(self) -> Cost:
        """The sums of the numbers of its lenses: see `LensEdge.cost`."""
        return tuple(map(sum, zip(_NOTHING, *(edge.cost for edge in self.edges), strict=True)))

    def __str__(self) -> str:
        lines = []
        for number, edge in enumerate(self.edges, 1):
            said = ["verified" if edge.verified else "not verified", *(edge.losses or ["loses nothing"])]
            place = f", {edge.place}" if edge.place else ""
            lines.append(f"{number}. {edge.name}: {'; '.join(said)} ({edge.key}{place})")
        return "\n".join(lines) or "the schemas are one"


def best_ways(edges: Iterable[LensEdge], source: Cid, target: Cid) -> list[LensWay]:
    """The cheapest ways from one schema to another, at most `MOST_WAYS`, in an order that depends on the lenses alone.

    Dijkstra's algorithm with costs that are compared as tuples, which keeps for each schema all lenses that end a
    cheapest way to it ("A note on two problems in connexion with graphs", 1959). Each lens costs at least its place, so
    cycles end.
    """
    leading = defaultdict(list)
    for edge in sorted(edges, key=lambda edge: (edge.key, edge.target)):
        leading[edge.source].append(edge)
    costs: dict[Cid, Cost] = {source: _NOTHING}
    last: dict[Cid, list[LensEdge]] = {source: []}
    waiting, done = [(_NOTHING, source)], set[Cid]()
    while waiting:
        cost, schema = heapq.heappop(waiting)
        if schema in done:
            continue
        if schema == target:
            return sorted(_ways(last, source, target), key=lambda way: [edge.key for edge in way.edges])
        done.add(schema)
        for edge in leading[schema]:
            found = tuple(map(add, cost, edge.cost))
            known = costs.get(edge.target)
            if known is None or found < known:
                costs[edge.target], last[edge.target] = found, [edge]
                heapq.heappush(waiting, (found, edge.target))
            elif found == known and edge.target not in done:
                last[edge.target].append(edge)
    return []


def _ways(last: dict[Cid, list[LensEdge]], source: Cid, target: Cid) -> Iterator[LensWay]:
    """Yields the cheapest ways, the last lens first while they are made."""
    open_ways: list[tuple[LensEdge, ...]] = [()]
    given = 0
    while open_ways and given < MOST_WAYS:
        way = open_ways.pop()
        schema = way[0].source if way else target
        if schema == source:
            given += 1
            yield LensWay(way)
        else:
            open_ways += [(edge, *way) for edge in reversed(last[schema])]


def find_way(
    edges: Iterable[LensEdge],
    source: Cid,
    target: Cid,
    differ: Callable[[LensWay, LensWay], str | None],
    names: Callable[[Cid], str] = str,
) -> LensWay:
    """The best way from one schema to another.

    Args:
        edges: the lenses that are known.
        source, target: the CIDs of the schemas.
        differ: says of two ways in what they differ for the samples that they show, or `None`.
        names: what people call a schema.

    Raises:
        LensNotFoundError: no way leads there.
        AmbiguousLensError: several do that are equally good, and show different samples.
    """
    known = list(edges)
    ways = best_ways(known, source, target)
    if not ways:
        from_here = sorted({names(edge.target) for edge in known if edge.source == source})
        raise LensNotFoundError(
            f"no lens leads from {names(source)} to {names(target)}",
            actual=f"known from {names(source)}: {', '.join(from_here) or 'none'}",
            hint="Write one with @atdata.lens or as a program, or name a repository that has one: lenses=[...].",
        )
    for other in ways[1:]:
        if (difference := differ(ways[0], other)) is not None:
            raise AmbiguousLensError(
                f"several ways lead from {names(source)} to {names(target)}, and show different samples: {difference}",
                expected=str(ways[0]).replace("\n", "; "),
                actual=str(other).replace("\n", "; "),
                hint="Choose one: pass the address of its lens without #..., lenses=[...], or ask a policy for verified ones.",
            )
    return ways[0]
