"""What was measured beside what was promised, as tables."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from workloads import Workload

PLAIN = (
    *("read(2)", "sha-256", "webdataset", "litdata", "datasets", "atdata"),
    *("atdata, first", "atdata, first, verified"),
    *("atdata, numpy alone", "atdata, first, numpy alone", "atdata, global shuffle, numpy alone"),
    *("read(2), own shards", "atdata, own shards"),
    *("litdata, shuffle", "datasets, shuffle", "atdata, global shuffle", "atdata, window shuffle"),
    *("datasets, random batches", "atdata, random batches", "webdataset, one by one", "atdata, one by one"),
    *("webdataset, write", "atdata, write", "atdata, write with manifest"),
)


@dataclass(frozen=True)
class Goal:
    """`ours` is at least so many times as fast as `other`, by workload."""

    title: str
    ours: str
    other: str
    at_least: dict[str, float]


GOALS = (
    Goal("ordered", "atdata", "webdataset", {"A": 100, "B": 5, "C": 25, "D": 150, "E": 5}),
    Goal("ordered", "atdata", "read(2)", {"A": 0.5, "B": 0.5, "C": 0.35, "D": 0.5}),
    Goal("first epoch ever", "atdata, first", "read(2)", {"A": 0.3, "B": 0.4, "C": 0.25, "D": 0.25}),
    Goal("global shuffle", "atdata, global shuffle", "datasets, shuffle", {"A": 3, "B": 1.2, "C": 1.7, "D": 4}),
    Goal("verified first epoch", "atdata, first, verified", "atdata, first", dict.fromkeys("ABCD", 0.8)),
    Goal("write with manifest", "atdata, write with manifest", "webdataset, write", {"A": 5, "B": 1.5, "C": 3, "D": 5}),
    Goal("random batches", "atdata, random batches", "datasets, random batches", {"A": 1}),
    Goal("one by one", "atdata, one by one", "webdataset, one by one", {"A": 10}),
    # No promise, but of interest.
    Goal("ordered", "atdata", "atdata, numpy alone", {}),
    Goal("first epoch ever", "atdata, first", "atdata, first, numpy alone", {}),
    Goal("global shuffle", "atdata, global shuffle", "atdata, global shuffle, numpy alone", {}),
    Goal("ordered, own shards", "atdata, own shards", "read(2), own shards", {}),
    Goal("ordered", "atdata", "litdata", {}),
    Goal("ordered", "atdata", "datasets", {}),
    Goal("window shuffle", "atdata, window shuffle", "datasets, shuffle", {}),
)


@dataclass
class Results:
    """Rates in samples per second, by workload and task, one for each round."""

    seed: int
    workloads: dict[str, Workload] = field(default_factory=dict)
    rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    fallback_shares: dict[str, float] = field(default_factory=dict)

    def add(self, workload: Workload, rates: dict[str, list[float]], fallback_share: float) -> None:
        self.fallback_shares[workload.name] = fallback_share
        self.workloads[workload.name] = workload
        self.rates[workload.name] = rates

    def rate(self, letter: str, task: str) -> float | None:
        rates = self.rates[letter].get(task)
        return statistics.median(rates) if rates else None

    def ratio(self, letter: str, ours: str, other: str) -> float | None:
        """The median of the rounds' ratios: what slows one round down slows both."""
        pairs = zip(self.rates[letter].get(ours, ()), self.rates[letter].get(other, ()), strict=False)
        ratios = [mine / theirs for mine, theirs in pairs]
        return statistics.median(ratios) if ratios else None


def show(results: Results) -> bool:
    """Print the tables; give whether every goal was reached."""
    console = Console()
    console.width = max(console.width, 110)
    rates = Table(title="Samples per second, medians")
    rates.add_column("")
    for letter, workload in results.workloads.items():
        rates.add_column(f"{letter}: {workload.title.partition(' with')[0]}", justify="right")
    for task in PLAIN:
        figures = [results.rate(letter, task) for letter in results.workloads]
        if any(figures):
            rates.add_row(task, *("" if figure is None else in_short(figure) for figure in figures))
    console.print(rates)

    table, missed = Table(title="Ratios, medians of the rounds'"), 0
    for heading in ("", "", "against"):
        table.add_column(heading)
    for heading in ("samples/s", "ratio", "goal", ""):
        table.add_column(heading, justify="right")
    for letter in results.workloads:
        for goal in GOALS:
            missed += _add_row(table, results, letter, goal)
        table.add_section()
    console.print(table)
    print("All goals are reached." if not missed else f"Goals missed: {missed}.")
    for letter, share in results.fallback_shares.items():
        print(f"{letter}: share of chunks that were read sample by sample: {share:.1%}")
    if "E" in results.workloads:
        print(f"E was drawn with --seed {results.seed}.")
    return not missed


def _add_row(table: Table, results: Results, letter: str, goal: Goal) -> bool:
    """One line, where there is anything to say; whether it is a goal missed."""
    least = _least(results, letter, goal)
    ratio, rate = results.ratio(letter, goal.ours, goal.other), results.rate(letter, goal.ours)
    if ratio is None or rate is None:
        return False
    missed = least is not None and ratio < least
    verdict = "" if least is None else "[red]missed" if missed else "[green]reached"
    table.add_row(
        letter, goal.title, goal.other, in_short(rate), f"{ratio:.3g}", "" if least is None else f"{least:.3g}", verdict
    )
    return missed


def _least(results: Results, letter: str, goal: Goal) -> float | None:
    least = goal.at_least.get(letter)
    if least is not None and goal.title == "verified first epoch":  # no faster than one core hashes
        hashing, unverified = results.rate(letter, "sha-256"), results.rate(letter, goal.other)
        return least * min(1, hashing / unverified) if hashing and unverified else least
    return least


def in_short(rate: float) -> str:
    """`2.61 M`, `44 k`."""
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if rate >= factor:
            return f"{rate / factor:.3g} {unit}"
    return f"{rate:.3g}"
