"""Benchmarks, as ratios measured in one run. `python3 dev.py bench [NAME ...]` runs all, or those named.

The reading benchmark takes about half an hour and 4 GB of disk, most of it for the slowest peer; with --quick two
minutes.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path

import copies
import discovery
import following
import frameworks
import importing
import kernel
import lenses
import members
import mixtures
import opening
import ray_job
import reading
import tables
import transfers
import versions
import workers

import index
import search


def import_benchmark(_options: argparse.Namespace) -> bool:
    importing.main()
    return True


BENCHMARKS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "copies": copies.main,
    "following": following.main,
    "discovery": discovery.main,
    "frameworks": frameworks.main,
    "importing": import_benchmark,
    "index": index.main,
    "kernel": lambda _: kernel.main(),
    "lenses": lenses.main,
    "members": members.main,
    "mixtures": mixtures.main,
    "opening": lambda _: opening.main(),
    "ray": ray_job.main,
    "reading": reading.main,
    "search": search.main,
    "tables": tables.main,
    "transfers": transfers.main,
    "versions": lambda _: versions.main(),
    "workers": workers.main,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data, three rounds")
    parser.add_argument("--only", default="A,B,C,D,E", help="workloads, such as A,B", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, help="5, with --quick 3")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="draws workload E; another each run")
    parser.add_argument(
        "--picture", type=Path, help="where to save a picture of the figures, such as docs/benchmarks.png"
    )
    parser.add_argument("--folder", type=Path, help="where the data may lie meanwhile; the system's temporary folder")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    if unknown := {*options.names} - BENCHMARKS.keys() or {*options.only} - {*"ABCDE"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    print(f"seed {options.seed}")
    reached = [BENCHMARKS[name](options) for name in options.names or BENCHMARKS]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
