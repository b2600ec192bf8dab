"""Sequences of shares: each prefix is within one of them, and any position is found alone."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.dataset import shares as module
from atdata.dataset.shares import Shares
from atdata.errors import UsageError


def shares_of(*weights: Any) -> Shares:
    total = sum(map(Fraction, weights))
    return Shares([Fraction(weight) / total for weight in weights])


def by_definition(shares: list[Fraction], count: int) -> list[tuple[int, int]]:
    """The turns, each given to the one of those that are due that is late first."""
    had = [0] * len(shares)
    out = []
    for position in range(count):
        late = [
            (-(-(had[thing] + 1) // share), thing)
            for thing, share in enumerate(shares)
            if share and had[thing] // share <= position
        ]
        thing = min(late)[1]
        out.append((thing, had[thing]))
        had[thing] += 1
    return out


WEIGHTS = st.one_of(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.lists(st.sampled_from([0, 1, 2, 3, 1000, 9998, Fraction(1, 10_000), Fraction("0.7")]), min_size=1, max_size=6),
    st.lists(st.fractions(0, 1000, max_denominator=10**9), min_size=1, max_size=5),
    st.lists(
        st.sampled_from([Fraction(1, 3), Fraction(10**17 + 3, 10**18), Fraction(1, 10**20)]), min_size=1, max_size=4
    ),
).filter(any)


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 700))
def test_every_prefix_is_within_one_of_each_share(weights, count):
    found = shares_of(*weights)
    things, turns = found.at(np.arange(count))
    assert list(zip(things.tolist(), turns.tolist(), strict=True)) == by_definition(list(found.shares), count)
    had = [0] * len(weights)
    for position, thing in enumerate(things.tolist(), 1):
        had[thing] += 1
        assert all(abs(count - position * share) < 1 for count, share in zip(had, found.shares, strict=True))


@settings(deadline=None)
@given(WEIGHTS, st.lists(st.integers(0, 40_000), min_size=1, max_size=5))
def test_any_position_is_found_alone(weights, positions):
    """As those are that walk there: in another object, whatever was asked for before."""
    whole = shares_of(*weights)
    walked = whole.at(np.arange(max(positions) + 1))
    for position in positions:
        alone = shares_of(*weights)
        thing, turn = (int(column[0]) for column in alone.at(np.array([position])))
        assert (thing, turn) == (walked[0][position], walked[1][position])
        counts = alone.counts(position)
        assert counts == np.bincount(walked[0][:position], minlength=len(weights)).tolist()
    together = shares_of(*weights).at(np.array(positions))
    assert [column.tolist() for column in together] == [column[positions].tolist() for column in walked]


@pytest.mark.parametrize("piece", [3, 64])
def test_states_are_found_piece_by_piece(monkeypatch, piece):
    monkeypatch.setattr(module, "_PIECE", piece)
    for weights in ([7, 2, 1], [1] * 9, [Fraction(1, 997), 5, 3], [499, 500, 2]):
        whole = shares_of(*weights)
        expected = by_definition(list(whole.shares), 1500)
        for position in range(0, 1500, 7):
            alone = shares_of(*weights).at(np.array([position]))
            assert (int(alone[0][0]), int(alone[1][0])) == expected[position]


def test_positions_are_found_far_away():
    far = 10**15
    found = shares_of(1234567, 7654321, 31415926)
    things, _ = found.at(np.arange(far, far + 3000))
    before, after = found.counts(far), found.counts(far + 3000)
    assert [b - a for a, b in zip(before, after, strict=True)] == np.bincount(things, minlength=3).tolist()
    for position, counts in ((far, before), (far + 3000, after)):
        assert all(abs(count - position * share) < 1 for count, share in zip(counts, found.shares, strict=True))
        assert sum(counts) == position


@settings(deadline=None, max_examples=25)
@given(WEIGHTS, st.data())
def test_turns_are_found(weights, data):
    found = shares_of(*weights)
    things, turns = found.at(np.arange(3000))
    places = {key: place for place, key in enumerate(zip(things.tolist(), turns.tolist(), strict=True))}
    most = {thing: max(turn for other, turn in places if other == thing) for thing, _ in places}
    wanted = {thing: data.draw(st.integers(0, turn)) for thing, turn in most.items()}
    at = [places[item] for item in wanted.items()]
    assert found.find(wanted) == min(at)
    assert found.find(wanted, last=True) == max(at)


def test_blocks_that_were_let_go_are_made_again():
    found = shares_of(Fraction(1, 999_983), 3, 2)
    count = module.BLOCK * (module._KEPT + 9)
    first = found.at(np.arange(count))
    assert len(found._blocks) == module._KEPT
    again = found.at(np.arange(count))
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert len(pickle.dumps(found)) < 1000


def test_whoever_is_furthest_behind_would_be_too_late():
    """Giving each position to that one is off by more than one, here with five."""
    weights = [40, 5, 40, 1, 1]

    def worst(things: list[int]) -> Fraction:
        had, found = [0] * 5, Fraction(0)
        for position, thing in enumerate(things, 1):
            had[thing] += 1
            found = max(found, *(abs(had[n] - Fraction(position * weights[n], 87)) for n in range(5)))
        return found

    had, greedy = [0] * 5, list[int]()
    for position in range(1, 88):
        greedy.append(max(range(5), key=lambda n: (position * weights[n] - 87 * had[n], -n)))
        had[greedy[-1]] += 1
    assert worst(greedy) > 1 > worst(shares_of(*weights).at(np.arange(87))[0].tolist())


def test_an_end_that_is_too_far_away_is_not_looked_for():
    with pytest.raises(UsageError, match="so small"):
        shares_of(1, Fraction(1, 10**12)).find({0: 5, 1: 0}, last=True)


# --- shares that change


def with_debts(shares: list[Fraction], owed: list[Fraction], count: int) -> list[tuple[int, int]]:
    """The turns, each given to the one of those that are due that is late first, or most late at the start."""
    some = [thing for thing, share in enumerate(shares) if share]
    less = sum(owed[thing] for thing in some) / len(some)
    had = [0] * len(shares)
    out = []
    for position in range(count):
        late = []
        for thing in some:
            missing = had[thing] + 1 - owed[thing] + less
            if (missing - 1) // shares[thing] <= position:
                late.append((-(-missing // shares[thing]) if missing > 0 else missing * module._GRAINS // 1, thing))
        thing = min(late)[1]
        out.append((thing, had[thing]))
        had[thing] += 1
    return out


@st.composite
def debts(draw: Any, weights: Any = WEIGHTS) -> tuple[Shares, list[Fraction]]:
    plain = shares_of(*draw(weights))
    most = draw(st.sampled_from([1, 2, 5]))
    owed = [Fraction(draw(st.integers(-most * 60, most * 60)), 60) for _ in plain.shares[1:]]
    owed = [-sum(owed, Fraction(0)), *owed]
    return Shares(plain.shares, owed), owed


@settings(deadline=None)
@given(debts(), st.lists(st.integers(0, 400), min_size=1, max_size=4))
def test_what_is_owed_is_given(made, positions):
    found, owed = made
    expected = with_debts(list(found.shares), owed, max(positions) + 1)
    things, turns = found.at(np.arange(len(expected)))
    assert list(zip(things.tolist(), turns.tolist(), strict=True)) == expected
    for position in positions:
        alone = pickle.loads(pickle.dumps(found))
        counts = np.bincount(things[:position], minlength=len(owed)).tolist()
        assert alone.counts(position) == counts
        assert [int(column[0]) for column in alone.at(np.array([position]))] == list(expected[position])
        left = alone.owed_at(position)
        assert sum(left) == 0
        assert left == [o + position * s - c for o, s, c in zip(owed, found.shares, counts, strict=True)]
    places = {key: place for place, key in enumerate(expected)}
    for key, place in list(places.items())[:: max(1, len(places) // 5)]:
        assert found.find(dict([key])) == found.find(dict([key]), last=True) == place


@settings(deadline=None, max_examples=60)
@given(debts(), st.integers(1, 60))
def test_the_same_shares_with_what_is_owed_then_go_on_as_they_were(made, position):
    found, _ = made
    further = Shares(found.shares, found.owed_at(position))
    if found._overdue(position):  # those that are late at a start come by how late they are
        return
    before = found.counts(position)
    things, turns = found.at(np.arange(position, position + 300))
    again, more = further.at(np.arange(300))
    assert things.tolist() == again.tolist()
    assert turns.tolist() == [turn + before[thing] for thing, turn in zip(again.tolist(), more.tolist(), strict=True)]


def test_what_is_owed_is_found_far_away():
    shares = shares_of(1234567, 7654321, 31415926, 0).shares
    found = Shares(shares, [Fraction(-9, 7), Fraction(3, 2), Fraction(1, 2), Fraction(-5, 7)])
    far = 10**13
    things, _ = found.at(np.arange(far, far + 3000))
    before, after = found.counts(far), found.counts(far + 3000)
    assert [b - a for a, b in zip(before, after, strict=True)] == np.bincount(things, minlength=4).tolist()
    assert all(abs(owed) < 2 for owed in found.owed_at(far))


CHANGES = st.lists(
    st.tuples(st.lists(st.sampled_from([1, 2, 9, 97, Fraction(1, 10)]), min_size=10, max_size=10), st.integers(1, 9)),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(CHANGES, st.integers(2, 10), st.booleans())
def test_shares_that_change_hold_over_all_changes(changes, things, some_have_none):
    """A thing has never more than one turn above the sum of its shares. With n things it has less than n - 1 below, and fewer
    than n either way, where some have no share for a time.
    """
    owed = [Fraction(0)] * things
    for number, (weights, length) in enumerate(changes):
        weights = [w * bool((number + n) % 3) if some_have_none else w for n, w in enumerate(weights[:things])]
        if not any(weights):
            continue
        found = Shares(shares_of(*weights).shares, owed)
        for position in range(1, length + 1):
            owed = found.owed_at(position)
            if some_have_none:
                assert all(abs(turns) < things for turns in owed)
            else:
                assert all(-1 < turns < max(things - 1, 1) for turns in owed)
