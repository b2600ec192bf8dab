"""Networks that tests run on: the Devnet, and real PDSes with a real PLC directory, behind proxies that can lie.

Both are used the same way, so one test states one promise about both.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import httpcore

import atdata
from atdata.atmosphere import AtmosphereClient
from atdata.testing import DevAccount, Devnet, Proxy
from atdata.testing.http import Answer, HttpServer, Request
from support.oracles import LEXICONS

PDS_FOLDER = Path(__file__).parents[1] / "pds"
NODE_ROOT = Path(os.environ.get("ATDATA_TEST_NODE_ROOT") or PDS_FOLDER)
_numbers = itertools.count()


def unavailable() -> str | None:
    """Why no real PDS can be started here, if so."""
    if not shutil.which("node"):
        return "Node is not installed: the real PDS cannot run"
    if not (NODE_ROOT / "node_modules" / "@atproto" / "pds").is_dir():
        return "the real PDS is not installed: `python3 dev.py test` does it, or `npm ci` in tests/pds"
    return None


class Network(Protocol):
    """What Devnet and RealNet have in common."""

    plc_server: HttpServer
    pds_servers: list[Any]

    @property
    def plc_url(self) -> str: ...
    @property
    def pds_url(self) -> str: ...
    @property
    def environment(self) -> dict[str, str]: ...
    def create_account(self, handle: str, password: str = ..., server: int = 0) -> DevAccount: ...
    def client(self, account: DevAccount | None = None, *, folder: str | None = None) -> AtmosphereClient: ...
    def tell(self, tamper: Callable[[Request, Answer], Answer] | None) -> None: ...


def fresh_handle() -> str:
    """A handle that no test has used before: tests share servers, accounts they do not."""
    return f"user{next(_numbers)}.test"


class RealNet:
    """Real PDSes on one real PLC directory, each behind a `Proxy`. The same interface as `Devnet`."""

    def __init__(self, servers: int = 2) -> None:
        self._count = servers
        self._running = ExitStack()
        self.pds_servers: list[Proxy] = []
        self.processes: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self._folder = Path(tempfile.mkdtemp(prefix="atdata-pds-"))
            starting.callback(shutil.rmtree, self._folder, ignore_errors=True)
            for _ in range(self._count):
                port, hidden = _free_port(), _free_port()
                settings = {"PDS_PORT": str(port), "PDS_LISTEN_PORT": str(hidden)}
                if self.processes:
                    settings["PDS_DID_PLC_URL"] = self.processes[0]["plcUrl"]
                self.processes.append(self._launch(settings, starting))
                self.pds_servers.append(starting.enter_context(Proxy(f"http://127.0.0.1:{hidden}", port)))
            self.plc_server = starting.enter_context(Proxy(self.processes[0]["plcUrl"]))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def _launch(self, settings: dict[str, str], starting: ExitStack) -> dict[str, Any]:
        process = subprocess.Popen(
            ["node", str(PDS_FOLDER / "launch.cjs")],
            cwd=NODE_ROOT,
            env={**os.environ, **settings, "ATP_NODE_ROOT": str(NODE_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        starting.enter_context(process)  # waits, and closes its pipes
        starting.callback(process.terminate)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the PDS did not start: exit {process.wait(5)}")
        return json.loads(line)

    @property
    def plc_url(self) -> str:
        return self.plc_server.url

    @property
    def pds_url(self) -> str:
        return self.pds_servers[0].url

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ATDATA_PLC_URL": self.plc_url,
            "ATDATA_RESOLVER_URL": ",".join(server.url for server in self.pds_servers),
            "ATDATA_ALLOW_LOOPBACK": "1",
        }

    def create_account(self, handle: str, password: str = "app-password", server: int = 0) -> DevAccount:
        url = self.pds_servers[server].url
        body = {"handle": handle, "email": f"{handle}@example.com", "password": password}
        made = post(url, "com.atproto.server.createAccount", body)
        return DevAccount(made["did"], made["handle"], password, url)

    def client(self, account: DevAccount | None = None, *, folder: str | None = None) -> AtmosphereClient:
        home = self._folder / folder if folder else Path(tempfile.mkdtemp(dir=self._folder))
        client = AtmosphereClient(
            plc_url=self.plc_url,
            resolver_url=self.environment["ATDATA_RESOLVER_URL"],
            allow_loopback=True,
            cache=home / "cache",
            data=home / "data",
        )
        if account is not None:
            client.login(account.handle, account.password)
        return client

    def tell(self, tamper: Callable[[Request, Answer], Answer] | None) -> None:
        for server in (self.plc_server, *self.pds_servers):
            server.tamper = tamper


def post(url: str, method: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    """Call an XRPC procedure, with nothing of atdata in between."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    with httpcore.ConnectionPool() as pool:
        answer = pool.request("POST", f"{url}/xrpc/{method}", headers=headers, content=json.dumps(body).encode())
    assert answer.status == 200, answer.content
    return json.loads(answer.content)


def get(url: str, method: str, **params: Any) -> Any:
    """Call an XRPC query, with nothing of atdata in between; JSON as it is parsed, else bytes."""
    query = "&".join(f"{name}={value}" for name, value in params.items())
    with httpcore.ConnectionPool() as pool:
        answer = pool.request("GET", f"{url}/xrpc/{method}?{query}")
    assert answer.status == 200, answer.content
    json_like = dict(answer.headers).get(b"content-type", b"").startswith(b"application/json")
    return json.loads(answer.content) if json_like else answer.content


def list_records(url: str, did: str, collection: str) -> list[dict[str, Any]]:
    """What the server itself says it has: the independent checker of what was published."""
    return get(url, "com.atproto.repo.listRecords", repo=did, collection=collection, limit=100)["records"]


def official_verdicts(records: list[dict[str, Any]]) -> list[Any]:
    """What the validator inside the official PDS says of records."""
    lexicons = LEXICONS / "science" if LEXICONS.is_dir() else Path(atdata.__file__).parent / "records" / "lexicons"
    lines = "\n".join(json.dumps(record["value"]) for record in records)
    done = subprocess.run(
        ["node", str(PDS_FOLDER / "validate.cjs"), str(lexicons)],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ATP_NODE_ROOT": str(NODE_ROOT)},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


__all__ = [
    "Devnet",
    "Network",
    "RealNet",
    "fresh_handle",
    "get",
    "list_records",
    "official_verdicts",
    "post",
    "unavailable",
]
