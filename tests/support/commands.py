"""The command line in a process of its own, which a test may kill."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

_spawner = multiprocessing.get_context("forkserver")
_spawner.set_forkserver_preload(["atdata.cli", "atdata.importers", "numpy"])


def start(arguments: list[str], environment: dict[str, str]) -> BaseProcess:
    """Begin `atdata ...`; forked from a server that has everything imported, so it costs no start-up."""
    process = _spawner.Process(target=_run, args=(arguments, environment))
    process.start()
    return process


def _run(arguments: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.argv = ["atdata", *arguments]
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for the life of the process
    from atdata.cli import main

    main()
