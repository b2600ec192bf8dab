"""`atdata serve`, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.appview.opening import open_appview
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from support.appviews import ENTRY, Asker, Author, entry
from support.networks import Devnet, fresh_handle
from support.terminal import Terminal


def begin(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "atdata", "serve", *arguments]
    known = {**os.environ, **(environment or {})}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=known)


@atdata.packable
class Row:
    x: int


def publish(client: Any, folder: Path) -> str:
    """Publish a dataset; its address."""
    dataset = atdata.write_samples([Row(number) for number in range(3)], folder / "rows.tar")
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    return str(index.insert_dataset(dataset, name="rows").uri)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_answers_and_ends_when_told(tmp_path: Path, number: int) -> None:
    database = f"sqlite://{tmp_path}/appview.db"
    replica = open_appview(database)
    Author(replica).write({f"{ENTRY}/a": entry("a")})
    replica.close()
    process = begin("--listen", "127.0.0.1:0", "--database", database, "--json")
    assert process.stdout is not None
    said: dict[str, Any] = json.loads(process.stdout.readline())
    asker = Asker(said["url"])
    assert [view["name"] for view in asker.get("listEntries").json["entries"]] == ["a"]
    assert asker.get("describeService").json["did"].startswith("did:web:127.0.0.1%3A")
    asker.close()
    with asker.follow():
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["method"] for line in lines if line["message"] == "answered"] == ["listEntries", "describeService"]


def test_what_cannot_be_served_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, database = Terminal(capsys, monkeypatch), f"sqlite://{tmp_path}/a.db"
    with closing(sqlite3.connect(tmp_path / "places.sqlite")) as other:
        other.execute("CREATE TABLE places (name)")
    for *arguments, what in (
        ("--listen", "nowhere", "HOST:PORT"),
        ("--listen", ":0", "HOST:PORT"),
        ("--listen", "127.0.0.1:99999", "HOST:PORT"),
        ("--listen", "http://127.0.0.1:0", "Leave the scheme"),
        ("--listen", "127.0.0.1:0/at", "Leave the scheme"),
        ("--listen", "::1:0", "[::1]:0"),
        ("--listen", "[::1", "[::1]:8470 for IPv6"),
        ("--listen", "[127.0.0.1]:0", "[::1]:8470 for IPv6"),
        ("--listen", "a b:0", "HOST:PORT"),
        ("--listen", "127.0.0.1:\u0663", "HOST:PORT"),
        ("--listen", "192.0.2.1:0", "Name an address of this machine"),
        ("--database", "mysql://x", "cannot be kept"),
        ("--database", f"{tmp_path}/places.sqlite", "holds something else"),
        ("--preview-bytes", "many", "--preview-bytes"),
        ("--preview-bytes", "-1", "--preview-bytes"),
        ("--did", "nope", "DID"),
        ("--rate", "inf", "--rate"),
        ("--proxy", "foo", "not the address of a proxy"),
        ("--contact", "javascript:alert(1)", "https://"),
        ("--contact", "https://", "https://..."),
        ("--contact", "mailto:", "mailto:..."),
        ("--contact", "https://example.org/a b", "without spaces"),
        ("--contact", " https://example.org", "without spaces"),
        ("--contact", "https://user:pw@example.org", "without spaces"),
        ("--contact", "https://@example.org", "without spaces"),
        ("--contact", "mailto:a b@example.org", "without spaces"),
        ("--database", "", "is empty"),
    ):
        assert terminal.run("serve", "--database", database, "--json", *arguments) == 2, terminal.out
        assert what in terminal.out
        assert "error" in json.loads(terminal.out)


def test_what_is_published_is_followed_found_and_proved(devnet: Devnet, tmp_path: Path) -> None:
    client = devnet.client(devnet.create_account(fresh_handle()))
    (upstream,) = {server.url.replace("http", "ws", 1) for server in devnet.pds_servers[:1]}
    arguments = ("--upstream", upstream, "--database", f"sqlite://{tmp_path}/appview.db", "--listen", "127.0.0.1:0")
    process = begin(*arguments, "--json", environment=devnet.environment)
    assert process.stdout is not None
    try:
        asker = Asker(json.loads(process.stdout.readline())["url"])
        label = publish(client, tmp_path)
        until = time.monotonic() + 60
        while (said := asker.get("resolveLabel", handle=client.account.session.did, name="rows")).status == 404:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert (said.status, said.json.get("uri")) == (200, label)
        handle = str(client.account.session.handle)
        said = asker.get("resolveLabel", handle=handle, name="rows")
        assert (said.status, said.json.get("uri")) == (200, label), "whoever is shown is known by the handle too"
        view = asker.get("getEntry", uri=label, proof="true").json["entry"]
        assert (view["handle"], view["record"]["name"]) == (handle, "rows")
        as_json = {"Content_Type": "application/json"}
        body = json.dumps({"uri": label}).encode()
        indexed = asker.send("POST", "/xrpc/science.alt.dataset.indexNow", body, **as_json)
        assert (indexed.status, indexed.json["cid"]) == (200, view["cid"])
        path = "/at/" + label.removeprefix("at://")
        assert "Show the first samples" in asker.send("GET", path).body.decode()
        while "being fetched" in (page := asker.send("GET", f"{path}?samples").body.decode()):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert "Each was verified" in page
        asker.close()
    finally:
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
