"""What a CSV table costs to import: looked at and written as shards, beside the loader of Hugging Face `datasets`, which
writes Arrow. Whole processes, in turn; the memory of each at a tenth of the rows and at all of them.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOAL = 0.5  # of the rate of datasets
GROWTH = 1.25  # of memory, from a tenth of the rows to all

OURS = """
import json, resource, sys, time
import atdata
began = time.perf_counter()
written = atdata.from_csv(sys.argv[1]).write(f"{sys.argv[2]}/rows-%06d.tar")
seconds = time.perf_counter() - began
print(json.dumps([len(written), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""
THEIRS = """
import json, resource, sys, time
import datasets
datasets.disable_progress_bars()
began = time.perf_counter()
loaded = datasets.load_dataset("csv", data_files=sys.argv[1], cache_dir=sys.argv[2], split="train")
seconds = time.perf_counter() - began
print(json.dumps([len(loaded), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def table(path: Path, rows: int) -> Path:
    """Numbers, truth values, dates, names and codes with leading zeros."""
    draw = random.Random(1)
    with path.open("w") as file:
        file.write("id,name,score,flag,city,when,zip\n")
        for number in range(rows):
            city, flag = ("Oslo", "Rome", "Paris")[number % 3], "true" if number % 2 else "false"
            score, code = draw.random(), draw.randrange(10**5)
            file.write(f"{number},name{code},{score:.6f},{flag},{city},2024-01-{number % 28 + 1:02d},{code:05d}\n")
    return path


def measured(program: str, path: Path, rows: int) -> tuple[float, int]:
    """Seconds, and the most memory in kB."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-c", program, str(path), folder], capture_output=True, text=True, check=True
        )
    count, seconds, memory = json.loads(done.stdout.splitlines()[-1])
    assert count == rows
    return seconds, memory


def main(options: argparse.Namespace) -> bool:
    rows = 100_000 if options.quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        part, whole = table(Path(place) / "part.csv", rows // 10), table(Path(place) / "whole.csv", rows)
        small = measured(OURS, part, rows // 10)
        rounds = [(measured(THEIRS, whole, rows), measured(OURS, whole, rows)) for _ in range(options.rounds)]
    theirs, ours = (statistics.median(seconds for seconds, _ in each) for each in zip(*rounds, strict=True))
    ratio = statistics.median(one[0] / other[0] for one, other in rounds)
    growth = statistics.median(other[1] for _, other in rounds) / small[1]
    print(
        f"CSV, {rows:,} rows of 7 columns\n"
        f"datasets  {rows / theirs:10,.0f} rows/s\natdata    {rows / ours:10,.0f} rows/s\n"
        f"ratio     {ratio:10.2f}  (goal: at least {GOAL})\n"
        f"memory    {growth:10.2f}  times that of a tenth of the rows (goal: at most {GROWTH})"
    )
    return ratio >= GOAL and growth <= GROWTH


if __name__ == "__main__":
    sys.exit(0 if main(argparse.Namespace(quick="--quick" in sys.argv, rounds=1, folder=None)) else 1)
