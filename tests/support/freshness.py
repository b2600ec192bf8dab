"""Writes on real PDSes, until a service finds them, and all that it then proves: `python -m support.freshness --help`, in `tests`.

Accounts on two PDSes of one directory write, change and delete datasets as fast as their servers take it. Of every tenth write it
is measured how long it takes from its answer until `atdata serve` finds it, asked all the time. In the end everything
that is served is compared with what was written, and every proof is given to the official verifier.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from atdata.testing import DevAccount
from support.appviews import ENTRY, Asker, entry
from support.commands import served
from support.networks import NODE_ROOT, PDS_FOLDER, RealNet, fresh_handle

SAMPLED = 10
GOAL = 0.250
PATIENCE = 60.0


@dataclass
class Findings:
    """What was measured.

    Attributes:
        writes: how many there were.
        seconds: from the answer to a sampled write until it was found.
        served: records that the service showed in the end.
        refused: those of which the official verifier does not accept the proof.
        missing: addresses of what was written and is not shown as it is, or is shown and was not written.
        rate: writes a second.
    """

    writes: int = 0
    seconds: list[float] = field(default_factory=list)
    served: int = 0
    refused: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    rate: float = 0.0

    def at(self, percent: float) -> float:
        """The time within which so many of the sampled writes were found."""
        return float(np.percentile(self.seconds, percent))


class PdsWriter(threading.Thread):
    """An account that writes.

    Args:
        account: on a real PDS.
        upstream: the server itself.
        service: which must find it.
        count: of writes.
    """

    def __init__(self, account: DevAccount, upstream: str, service: str, count: int) -> None:
        super().__init__()
        self.account, self._count = account, count
        where = urlsplit(upstream)
        self._http = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        self._asker = Asker(service)
        self._token = ""
        self.written: dict[str, str] = {}
        self.seconds = list[float]()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Write it all."""
        try:
            self._write_all()
        except BaseException as error:
            self.failure = error
        finally:
            self._http.close()
            self._asker.close()

    def _write_all(self) -> None:
        login = {"identifier": self.account.handle, "password": self.account.password}
        self._token = self._post("server.createSession", login)["accessJwt"]
        chance, place = random.Random(str(self.account.did)), {"repo": self.account.did, "collection": ENTRY}
        for number in range(self._count):
            known = list(self.written)
            if known and number % 10 == 7:
                uri = chance.choice(known)
                self._post("repo.deleteRecord", {**place, "rkey": uri.rpartition("/")[2]})
                del self.written[uri]
                continue
            changed = known and number % 10 == 4
            rkey = chance.choice(known).rpartition("/")[2] if changed else f"{number:06}"
            word = f"w{self.account.did[-8:]}x{number}"
            said = {**place, "rkey": rkey, "record": entry(word), "validate": False}
            answer = self._post("repo.putRecord", said)
            self.written[f"at://{self.account.did}/{ENTRY}/{rkey}"] = answer["cid"]
            if number % SAMPLED == 0:
                self.seconds.append(self._found(word))

    def _found(self, word: str) -> float:
        began = time.perf_counter()
        while not self._asker.get("searchDatasets", q=word).json["entries"]:
            assert time.perf_counter() - began < PATIENCE, f"{word} was never found"
            time.sleep(0.002)
        return time.perf_counter() - began

    def _post(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        self._http.request("POST", f"/xrpc/com.atproto.{method}", json.dumps(body), headers)
        answer = self._http.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        return json.loads(said or b"{}")


def measured(net: RealNet, folder: Path, writes: int) -> Findings:
    """Write on both servers of a network, and find out how the service follows."""
    accounts = [net.create_account(fresh_handle(), server=number % 2) for number in range(2)]
    behind = [proxy.upstream for proxy in net.pds_servers]
    upstreams = [part for url in behind for part in ("--upstream", url.replace("http", "ws", 1))]
    database = ("--database", f"sqlite://{folder}/appview.db", "--rate", "0")
    with served(*upstreams, *database, environment=net.environment) as url:
        writers = [PdsWriter(account, behind[n], url, writes // 2) for n, account in enumerate(accounts)]
        began = time.perf_counter()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
            if writer.failure is not None:
                raise writer.failure
        found = Findings(writes, [each for writer in writers for each in writer.seconds])
        found.rate = writes / (time.perf_counter() - began)
        expected = {uri: cid for writer in writers for uri, cid in writer.written.items()}
        views = shown(url, [account.did for account in accounts], expected)
    found.served = len(views)
    found.missing = {uri for uri, cid in expected.items() if views.get(uri, {}).get("cid") != cid} | (
        views.keys() - expected
    )
    found.refused = refused(net, [*views.values()])
    return found


def shown(url: str, dids: list[str], expected: dict[str, str]) -> dict[str, dict[str, Any]]:
    """All that a service shows of accounts, with proofs, once it is what is expected, or time is up."""
    asker, until = Asker(url), time.monotonic() + PATIENCE
    while True:
        views = {}
        for did in dids:
            cursor: dict[str, str] = {}
            while True:
                said = asker.get("listEntries", repo=did, limit=100, proof="true", **cursor).json
                views |= {view["uri"]: view for view in said["entries"]}
                if "cursor" not in said:
                    break
                cursor = {"cursor": said["cursor"]}
        if {uri: view["cid"] for uri, view in views.items()} == expected or time.monotonic() > until:
            asker.close()
            return views
        time.sleep(0.05)


def refused(net: RealNet, views: list[dict[str, Any]]) -> list[str]:
    """The addresses of those of which the official verifier does not accept the proof."""
    reader, lines = net.client().reader, list[str]()
    for view in views:
        key, where = reader.identity(view["did"]).key.did_key, view["uri"].split("/", 3)[3]
        lines.append(json.dumps({"did": view["did"], "key": key, "where": where, "car": view["proof"]}))
    done = subprocess.run(
        ["node", str(PDS_FOLDER / "verify_cars.cjs")],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ATP_NODE_ROOT": str(NODE_ROOT)},
    )
    verdicts = [json.loads(line)["ok"] for line in done.stdout.splitlines()]
    return [view["uri"] for view, accepted in zip(views, verdicts, strict=True) if not accepted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=4000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atdata-freshness-") as folder, RealNet(servers=2) as net:
        found = measured(net, Path(folder), options.writes)
    print(f"{found.writes} writes on two PDSes, {found.rate:.0f} a second; {len(found.seconds)} sampled")
    print(
        "from the answer to a write until it was found: "
        + ", ".join(f"p{p} {1e3 * found.at(p):.0f} ms" for p in (50, 95, 99, 100))
    )
    accepted = found.served - len(found.refused)
    print(
        f"{found.served} records served; the official verifier accepts the proofs of {accepted}; {len(found.missing)} are not as written"
    )
    print(f"load of this machine: {os.getloadavg()[0]:.1f}")
    return 0 if found.at(99) < GOAL and not found.refused and not found.missing else 1


if __name__ == "__main__":
    sys.exit(main())
