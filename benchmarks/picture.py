"""A picture of samples per second: bars for each peer, the machine's limit as a line."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import matplotlib as mpl
from goals import Results, in_short

mpl.use("Agg")

from matplotlib import pyplot as plt

BARS = {
    "webdataset": ("webdataset", "#9aa5b1"),
    "litdata": ("LitData", "#7f9cc0"),
    "datasets": ("HF datasets (Arrow)", "#c9a56b"),
    "atdata": ("atdata", "#1b7f5c"),
}
LIMIT = "read(2)"


def draw(results: Results, path: Path) -> None:
    letters = list(results.workloads)
    figure, axes = plt.subplots(figsize=(max(8, 2.2 * len(letters)), 4.2), layout="constrained")
    width = 0.8 / len(BARS)
    for number, (task, (label, colour)) in enumerate(BARS.items()):
        bars = [(place, rate) for place, letter in enumerate(letters) if (rate := results.rate(letter, task))]
        places = [place - 0.4 + width * (number + 0.5) for place, _ in bars]
        drawn = axes.bar(places, [rate for _, rate in bars], width * 0.92, color=colour, label=label if bars else None)
        axes.bar_label(drawn, [in_short(rate) for _, rate in bars], fontsize=7, padding=1)
    for place, letter in enumerate(letters):
        label = "read(2) of the shards alone" if place == 0 else None
        axes.hlines(results.rate(letter, LIMIT), place - 0.44, place + 0.44, color="#b3261e", lw=1.5, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("samples per second")
    titles = [results.workloads[letter].title.partition(" with")[0] for letter in letters]
    axes.set_xticks(range(len(letters)), [f"{letter}: {title}" for letter, title in zip(letters, titles, strict=True)])
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"Reading in order, batches of 256, one process, warm cache ({dt.date.today():%d %B %Y})", fontsize=10
    )
    axes.legend(fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
