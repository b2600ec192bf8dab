"""The command line in a process of its own, which a test may kill; and `atdata serve`."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def served(*arguments: str, environment: dict[str, str]) -> Iterator[str]:
    """`atdata serve ...` on a free port, until the end of the block; its address."""
    command = [sys.executable, "-m", "atdata", "serve", "--listen", "127.0.0.1:0", "--json", *arguments]
    known = {**os.environ, **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=known) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0
