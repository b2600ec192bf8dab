"""The documentation is run: each page's Python and console blocks, in order, on a Devnet of the page's own.

A page finds an account `alice.test` with the app password `app-password`, and an empty folder. Blocks marked `sh` or `text` are
shown only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent
VARIABLES = ("ATDATA_PLC_URL", "ATDATA_RESOLVER_URL", "ATDATA_ALLOW_LOOPBACK", "ATDATA_CACHE", "ATDATA_DATA", "PATH")


def begin(namespace: dict[str, Any]) -> None:
    """A network, an account, a folder, and a login on the command line."""
    from atdata.cli import account
    from atdata.testing import Devnet

    running = namespace["_running"] = ExitStack()
    before = {name: os.environ.get(name) for name in VARIABLES}
    running.callback(restore, before)
    net = running.enter_context(Devnet())
    folder = running.enter_context(tempfile.TemporaryDirectory())
    running.enter_context(chdir(folder))
    alice = net.create_account("alice.test")
    home = {"ATDATA_CACHE": f"{folder}/.cache", "ATDATA_DATA": f"{folder}/.data"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.update({**net.environment, **home, "PATH": path})
    account.save(net.client(alice))


def begin_with_what_is_published(namespace: dict[str, Any]) -> None:
    """For the pages about loading: what the page about publishing has published."""
    begin(namespace)
    page = (ROOT / "docs" / "network" / "publish.md").read_text("utf-8")
    published: dict[str, Any] = {"__name__": "publish"}
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(compile(code, "publish.md", "exec", dont_inherit=True), published)


def restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def end(namespace: dict[str, Any]) -> None:
    namespace["_running"].close()


def run_console(example: Example) -> None:
    """Lines that begin with `$ ` are commands; each must succeed."""
    for line in example.parsed.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(line[2:], shell=True, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


PARSERS = [PythonCodeBlockParser(), CodeBlockParser(language="console", evaluator=run_console)]
LOADING = ["docs/network/load.md", "docs/network/trust.md"]

pytest_collect_file = (
    Sybil(parsers=PARSERS, path=str(ROOT), patterns=LOADING, setup=begin_with_what_is_published, teardown=end)
    + Sybil(
        parsers=PARSERS,
        path=str(ROOT),
        patterns=["README.md", "docs/*.md", "docs/*/*.md"],
        excludes=LOADING,
        setup=begin,
        teardown=end,
    )
).pytest()
