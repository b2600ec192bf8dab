"""The order of an epoch: permutations, computed anywhere, of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.dataset.order import RUN, Order, permute
from atdata.errors import UsageError

modes = st.sampled_from(["ordered", "global", "window"])


def whole(order: Order) -> np.ndarray:
    return order.samples(np.arange(order.size, dtype=np.int64))


@given(st.integers(0, 5000), modes, st.integers(), st.integers(0, 100), st.sampled_from([32, 64, 1024, 16_384]))
def test_every_sample_has_one_position(size, mode, seed, epoch, window):
    order = Order(size, mode, seed, epoch, window)
    assert sorted(whole(order)) == list(range(size))


@given(st.integers(1, 3000), modes, st.integers(), st.data())
def test_a_position_stands_for_the_same_sample_whatever_is_asked_with_it(size, mode, seed, data):
    order = Order(size, mode, seed)
    some = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=20)), np.int64)
    assert np.array_equal(order.samples(some), whole(order)[some])


def test_an_order_is_the_same_on_every_machine_and_in_every_version():
    """These numbers were written down once. Another order would break every saved state."""
    assert whole(Order(10, "global", 7, 3)).tolist() == GLOBAL
    assert whole(Order(100, "window", 7, 3, 32)).tolist()[:12] == WINDOWED
    assert permute(np.array([0, 1, 10**12 - 1]), 10**12, 42).tolist() == FAR


GLOBAL = [4, 6, 0, 3, 9, 1, 8, 2, 5, 7]
WINDOWED = [28, 2, 1, 4, 10, 0, 25, 17, 18, 11, 8, 13]
FAR = [780468722185, 408448892700, 450060043748]


@pytest.mark.parametrize("mode", ["global", "window"])
def test_epochs_and_seeds_have_orders_of_their_own(mode):
    orders = [tuple(whole(Order(1000, mode, seed, epoch))) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


def test_a_billion_samples_take_no_more_memory_than_those_asked_for():
    order = Order(10**9, "global", 1)
    images = order.samples(np.arange(5 * 10**8, 5 * 10**8 + 4096))
    assert len(set(images.tolist())) == 4096
    assert images.min() < 10**7
    assert images.max() > 10**9 - 10**7
    windowed = Order(10**9, "window", 1).samples(np.arange(5 * 10**8, 5 * 10**8 + 16_384))
    assert len(set(windowed.tolist())) == 16_384


@pytest.mark.parametrize("size", [1000, 4096, 50_000, 300_000])
def test_a_global_shuffle_moves_samples_as_far_as_a_uniform_one(size):
    """The mean distance of two independent uniform positions is a third of the size."""
    moved = [np.abs(whole(Order(size, "global", seed)) - np.arange(size)).mean() for seed in range(5)]
    assert np.mean(moved) / ((size * size - 1) / (3 * size)) == pytest.approx(1, abs=0.05)


def test_a_global_shuffle_has_no_pattern_that_a_chi_square_test_sees():
    """Where samples of each sixteenth of the data go, over many seeds: 225 degrees of freedom."""
    size, parts = 4096, 16
    table = np.zeros((parts, parts))
    for seed in range(50):
        np.add.at(table, (np.arange(size) * parts // size, whole(Order(size, "global", seed)) * parts // size), 1)
    expected = 50 * size / parts**2
    assert 140 < ((table - expected) ** 2 / expected).sum() < 330  # with the probability 1 - 1e-5


def test_small_permutations_are_all_reached():
    seen = {tuple(whole(Order(4, "global", seed))) for seed in range(2000)}
    assert len(seen) == 24


def test_a_window_reads_runs_and_stays_within_its_bound():
    order = Order(10_000, "window", 3, 0, 1024)
    numbers = whole(order)
    for start in range(0, 9_216, 1024):
        window = numbers[start : start + 1024]
        runs = np.unique(window // RUN)
        assert len(runs) == 1024 // RUN
    assert not np.array_equal(np.sort(numbers[:1024]), np.arange(1024))


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "random"}, {"epoch": -1}, {"window": 33}, {"window": 0}, {"size": -1}],
)
def test_what_is_no_order_is_refused(wrong):
    with pytest.raises(UsageError):
        Order(**{"size": 10, "mode": "window", **wrong})
