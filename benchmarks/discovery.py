"""`atdata search` over a hundred repositories, as a user runs it: on a machine that knows nothing yet, and again.

The repositories, of 100 datasets each with a label, are on a Devnet in a process of its own, on loopback, behind two servers. What is measured is the
whole command, the start of Python included: seconds by the clock, and of its process. Then the same questions, and nothing new: of
repositories that were looked into before none is asked within five minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

from copies import entry
from rich.console import Console
from rich.table import Table

REPOSITORIES, DATASETS = 100, 100
FRESH, AGAIN = 20.0, 0.3
ENTRY, LABEL = "science.alt.dataset.entry", "science.alt.dataset.label"


def serve(pipe: Connection, repositories: int, datasets: int) -> None:
    """Serve accounts with datasets, until told to end."""
    from atdata.testing import Devnet

    with Devnet(servers=2) as net:
        handles = []
        for number in range(repositories):
            account = net.create_account(f"account{number}.test", server=number % 2)
            schema, records = f"at://{account.did}/science.alt.dataset.schema/3k2aaaaaaaa2a", dict[str, Any]()
            for each in range(datasets):
                records[f"{ENTRY}/{each:05}"] = entry(f"retina-{number}-{each}", schema, each)
                uri, made = f"at://{account.did}/{ENTRY}/{each:05}", "2026-01-01T00:00:00.000Z"
                said = {"name": f"retina-{number}-{each}", "datasetUri": uri, "version": "1.0.0", "createdAt": made}
                records[f"{LABEL}/{each:05}"] = {"$type": LABEL, **said}
            net.account(account.did).repo.write(records)
            handles.append(str(account.handle))
        pipe.send((net.environment, handles))
        pipe.recv()


def run(environment: dict[str, str], *arguments: str) -> tuple[tuple[float, float], str]:
    """Seconds that a command took, by the clock and of its process; and what it printed."""
    command = [sys.executable, "-m", "atdata", *arguments]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


def main(options: argparse.Namespace) -> bool:
    """Measure, print, and say if it is as promised."""
    repositories, datasets = REPOSITORIES, DATASETS // 10 if options.quick else DATASETS
    pipe, other = multiprocessing.Pipe()
    spawned = multiprocessing.get_context("spawn")
    server = spawned.Process(target=serve, args=(other, repositories, datasets), daemon=True)
    server.start()
    environment, handles = pipe.recv()
    named = [part for handle in handles for part in ("--repo", handle)]
    with tempfile.TemporaryDirectory(prefix="atdata-discovery-") as folder:
        environment = {**environment, "ATDATA_CACHE": folder, "ATDATA_DATA": folder}
        question = ("search", "retina*", "license:CC-BY", "--json")
        fresh, printed = run(environment, *question, *named)
        said = json.loads(printed)
        assert said["total"] == min(10_000, repositories * datasets), said["total"]
        assert not [one for one in said["repositories"] if one["error"]]
        commands = {
            "on a fresh machine": (),
            "again": (*question, *named),
            "again, without naming them": question,
            "atdata --version, for comparison": ("--version",),
        }
        found = {
            name: [run(environment, *arguments)[0] for _ in range(options.rounds)] if arguments else [fresh]
            for name, arguments in commands.items()
        }
    pipe.send("end")
    goals = dict(zip(commands, (FRESH, AGAIN, AGAIN, math.inf), strict=True))
    table = Table(title=f"atdata search over {repositories} repositories of {datasets} datasets, each with a label")
    for title in ("", "seconds", "of its process", "goal"):
        table.add_column(title, justify="left" if not title else "right")
    reached = True
    for name, times in found.items():
        wall, busy = map(statistics.median, zip(*times, strict=True))
        reached &= wall < goals[name]
        goal = "" if goals[name] == math.inf else f"below {goals[name]} s"
        table.add_row(name, f"{wall:.2f}", f"{busy:.2f}", goal)
    Console().print(table)
    return reached


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args())
