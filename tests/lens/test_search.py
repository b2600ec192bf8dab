"""Ways of lenses between schemas: which is best, and when none or several are."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata import Doc, packable
from atdata.atproto.cid import Cid
from atdata.errors import AmbiguousLensError, LensNotFoundError
from atdata.lens.search import LensEdge, LensWay, best_ways, find_way
from atdata.lens.types import schema_cid
from atdata.schema import schema_of, type_of


def schema(number: int) -> Cid:
    return Cid.of_cbor(str(number).encode())


def edge(source: int, target: int, key: str | None = None, lossy: bool = False, verified: bool = False) -> LensEdge:
    name = f"{source}-{target}" if key is None else key
    return LensEdge(schema(source), schema(target), name, name, ("something",) if lossy else (), verified)


def keys(ways: list[LensWay]) -> list[list[str]]:
    return [[one.key for one in way.edges] for way in ways]


def never(_one: LensWay, _other: LensWay) -> None:
    return None


def test_lossless_goes_before_verified_and_verified_before_short():
    short = [edge(0, 9)]
    long = [edge(0, 1, verified=True), edge(1, 2, verified=True), edge(2, 9, verified=True)]
    lossy = [edge(0, 9, "lossy", lossy=True, verified=True)]
    assert keys(best_ways([*short, *long, *lossy], schema(0), schema(9))) == [["0-1", "1-2", "2-9"]]
    assert keys(best_ways([*short, *lossy], schema(0), schema(9))) == [["0-9"]]
    assert keys(best_ways([*lossy, edge(0, 3, lossy=True), edge(3, 9, verified=True)], schema(0), schema(9))) == [
        ["lossy"]
    ]
    assert keys(best_ways([], schema(0), schema(0))) == [[]]


def test_cycles_and_diamonds_end():
    rings = [edge(a, b) for a, b in itertools.permutations(range(6), 2) if b != 5]
    assert best_ways(rings, schema(0), schema(5)) == []
    layers = [edge(10 * layer + a, 10 * (layer + 1) + b) for layer in range(12) for a in range(4) for b in range(4)]
    found = best_ways([edge(0, 1000, "start"), *layers], schema(0), schema(120))
    assert len(found) == 8  # of 4 ** 11


def test_equally_good_ways_must_show_the_same():
    edges = [edge(0, 1), edge(1, 3), edge(0, 2), edge(2, 3)]
    assert keys([find_way(edges, schema(0), schema(3), never)]) == [["0-1", "1-3"]]
    with pytest.raises(AmbiguousLensError, match="show different samples: x is 1 or 2") as raised:
        find_way(edges, schema(0), schema(3), lambda _one, _other: "x is 1 or 2")
    assert "0-1" in str(raised.value.expected)
    assert "0-2" in str(raised.value.actual)
    better = [*edges[:1], edge(1, 3, verified=True), *edges[2:]]
    assert keys([find_way(better, schema(0), schema(3), lambda _one, _other: "x")]) == [["0-1", "1-3"]]


def test_where_no_lens_leads_those_that_are_known_are_named():
    names = {schema(0): "Spectrum 1.0.2", schema(1): "Spectrum 1.1.0", schema(9): "Spectrum 2.0.0"}
    with pytest.raises(LensNotFoundError, match=r"no lens leads from Spectrum 1.0.2 to Spectrum 2.0.0") as raised:
        find_way([edge(0, 1), edge(9, 0)], schema(0), schema(9), never, names.__getitem__)
    assert raised.value.actual == "known from Spectrum 1.0.2: Spectrum 1.1.0"


EDGES = st.lists(
    st.builds(edge, st.integers(0, 5), st.integers(0, 5), st.text("abc", max_size=2), st.booleans(), st.booleans()),
    max_size=14,
)


@given(EDGES, st.randoms(use_true_random=False))
def test_the_best_ways_are_those_of_all_that_cost_least(edges: list[LensEdge], chance: random.Random):
    """Whatever the order in which lenses are known."""
    every: list[LensWay] = []

    def walk(at: Cid, way: tuple[LensEdge, ...], seen: set[Cid]) -> None:
        if at == schema(5):
            every.append(LensWay(way))
            return
        for one in set(edges):
            if one.source == at and one.target not in seen:
                walk(one.target, (*way, one), seen | {one.target})

    walk(schema(0), (), {schema(0)})
    found = best_ways(set(edges), schema(0), schema(5))
    least = min((way.cost for way in every), default=None)
    assert {way.cost for way in found} == ({least} if every else set())
    cheapest = {way for way in every if way.cost == least}
    assert set(found) <= cheapest
    assert len(found) == min(len(cheapest), 8)
    shuffled = list(set(edges))
    chance.shuffle(shuffled)
    assert [way.edges for way in best_ways(shuffled, schema(0), schema(5))] == [way.edges for way in found]


def test_a_schema_is_one_whatever_its_classes_and_documentation():
    from typing import Annotated

    @packable
    class Spectrum:
        mz: Annotated[float, Doc("mass over charge")]

    one: Any = Spectrum

    @packable
    class Other:
        mz: float

    bare: Any = type("Spectrum", (), {"__annotations__": {"mz": float}})
    assert schema_cid(one) == schema_cid(type_of(schema_of(one))) == schema_cid(packable(bare)) != schema_cid(Other)
