"""The documentation is run: each page's Python and console blocks, in order, on a Devnet of the page's own.

A page finds an account `alice.test` with the app password `app-password`, and an empty folder. Blocks marked `sh` or `text` are
shown only.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.sybil import SybilCollection

if TYPE_CHECKING:
    from atdata.testing import Devnet

ROOT = Path(__file__).parent
VARIABLES = (
    "ATDATA_PLC_URL",
    "ATDATA_RESOLVER_URL",
    "ATDATA_ALLOW_LOOPBACK",
    "ATDATA_CACHE",
    "ATDATA_DATA",
    "ATDATA_INDEX_URL",
    "ATDATA_POLICY",
    "ATDATA_POSTGRES_URL",
    "ATDATA_REDIS_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_SECRET_ACCESS_KEY",
    "PATH",
    "SSL_CERT_FILE",
)

MARKERS = (
    "served: needs a real server, which the tests start (has it from the fixture `served`); left out by --fast",
    "slow: takes many seconds, or repeats tests in a second form; left out by --fast",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("atdata")
    group.addoption("--fast", action="store_true", help="for daily work: no real servers, and nothing that takes long")
    group.addoption("--many", action="store_true", help="the long sweeps in full, as ATDATA_TEST_MANY=1")


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getoption("--many"):
        os.environ["ATDATA_TEST_MANY"] = "1"  # before any test module is imported
    if config.getoption("--fast"):
        os.environ["ATDATA_TEST_FAST"] = "1"
        asked = config.option.markexpr
        config.option.markexpr = "not served and not slow" + (f" and ({asked})" if asked else "")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    gc.disable()  # half of the time of it
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # many tests collect garbage at their end: what is here now need not be looked through each time


@pytest.hookimpl(tryfirst=True)  # before markers select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    served_pages = {ROOT / page for page in (*TEAM, *SERVICES)}
    for item in items:
        if "served" in getattr(item, "fixturenames", ()) or item.path in served_pages:
            item.add_marker("served")


def begin(namespace: dict[str, Any]) -> Devnet:
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
    return net


def begin_with_buckets(namespace: dict[str, Any]) -> None:
    """For the pages about a team: an S3 server with a bucket of the lab's own, and one that anybody may read."""
    begin(namespace)
    import boto3

    from atdata.testing.services import CephServer, MotoServer

    running: ExitStack = namespace["_running"]
    server = (CephServer if CephServer.installed() else MotoServer)(Path(".s3").absolute())
    server.start()
    running.callback(server.stop)
    os.environ.update(server.environment)
    client = boto3.session.Session().client("s3")
    for bucket in ("lab-data", "lab-public"):
        client.create_bucket(Bucket=bucket)
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lab-public/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    client.put_bucket_policy(Bucket="lab-public", Policy=policy)


def begin_with_what_is_published(namespace: dict[str, Any]) -> Devnet:
    """For the pages about loading: what the page about publishing has published."""
    net = begin(namespace)
    page = (ROOT / "docs" / "network" / "publish.md").read_text("utf-8")
    published: dict[str, Any] = {"__name__": "publish"}
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(compile(code, "publish.md", "exec", dont_inherit=True), published)
    return net


def begin_with_a_labeler(namespace: dict[str, Any]) -> None:
    """For the page about policies: `labeler`, beside what is published."""
    namespace["labeler"] = begin_with_what_is_published(namespace).create_labeler()


def begin_with_a_repository(namespace: dict[str, Any]) -> None:
    """For the page about lenses that are code: a git server over https with the file that is the page's first block."""
    from support.git_server import backend, make_repository
    from support.hostile import can_lock
    from support.rawhttp import RawServer, certificate

    if not can_lock():
        pytest.xfail("this kernel filters no system calls: code is refused, as it must be")
    begin(namespace)
    page = (ROOT / "docs" / "network" / "code-lenses.md").read_text("utf-8")
    file = page.partition("```python\n")[2].partition("```")[0]
    checkout = Path(".git-server").absolute() / "lenses"
    commit = make_repository(checkout, {"lenses/strand.py": file})
    tls, trusted = certificate(checkout.parent, "127.0.0.1")
    server = namespace["_running"].enter_context(RawServer(backend(checkout.parent), tls=tls))
    os.environ["SSL_CERT_FILE"] = str(trusted)
    repository = f"https://127.0.0.1:{server.port}/lenses/.git"
    namespace.update(repository=repository, commit=commit, checkout=str(checkout))


def begin_with_services(namespace: dict[str, Any]) -> None:
    """For the page about deployment: databases that run, and are named in the environment."""
    from atdata.settings import Settings
    from atdata.testing.services import Home, PostgresServer, RedisServer

    for kind in (PostgresServer, RedisServer):
        if not kind.installed():
            pytest.skip(f"{kind.PROGRAM} is not installed: {kind.INSTALL}")
    begin(namespace)
    home = Home(Settings.of().data / "services")
    namespace["_running"].callback(home.down, wipe=True)
    home.up(["postgres", "redis"])
    os.environ.update(home.environment())


def restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def end(namespace: dict[str, Any]) -> None:
    namespace.pop("_running", ExitStack()).close()  # a page that was skipped has none


def run_console(example: Example) -> None:
    """Lines that begin with `$ ` are commands; each must succeed."""
    for line in example.parsed.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(line[2:], shell=True, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


PARSERS = [PythonCodeBlockParser(), CodeBlockParser(language="console", evaluator=run_console)]
LOADING = ["docs/network/load.md", "docs/network/trust.md"]
LABELLED = ["docs/network/policies.md"]
CODE = ["docs/network/code-lenses.md"]
TEAM = ["docs/local.md", "docs/promotion.md"]
SERVICES = ["docs/deployment.md"]

EVERYTHING = ["README.md", "docs/*.md", "docs/*/*.md"]


def pages(patterns: list[str], setup: Callable[[dict[str, Any]], object], excludes: list[str] | None = None) -> Sybil:
    return Sybil(parsers=PARSERS, path=str(ROOT), patterns=patterns, excludes=excludes or [], setup=setup, teardown=end)


pytest_collect_file = SybilCollection(
    [
        pages(LOADING, begin_with_what_is_published),
        pages(LABELLED, begin_with_a_labeler),
        pages(CODE, begin_with_a_repository),
        pages(TEAM, begin_with_buckets),
        pages(SERVICES, begin_with_services),
        pages(EVERYTHING, begin, excludes=[*LOADING, *LABELLED, *CODE, *TEAM, *SERVICES]),
    ]
).pytest()
