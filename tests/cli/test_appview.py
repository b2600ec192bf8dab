"""`atdata appview`: the operator's verbs, while a service follows and answers, and what they say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.replica import Replica
from atdata.testing import Devnet
from support.histories import ENTRY, entry, shown
from support.ingesting import Writer, ingesting, until, until_begun, until_shown
from support.terminal import Terminal
from support.upstreams import TestedUpstream

A, B = f"{ENTRY}/a", f"{ENTRY}/b"
MARKED = "SELECT did FROM replica_accounts WHERE behind IS NOT NULL"


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, devnet: Devnet, tmp_path: Path
) -> Terminal:
    for name, value in {**devnet.environment, "ATDATA_DATA": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return Terminal(capsys, monkeypatch)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = open_appview(tmp_path / "appview.sqlite")
    yield made
    made.close()


@pytest.fixture
def upstream() -> Iterator[TestedUpstream]:
    with TestedUpstream() as made:
        yield made


def test_what_is_decided_is_done_while_a_service_runs(
    terminal: Terminal, replica: Replica, devnet: Devnet, upstream: TestedUpstream
) -> None:
    writer, other = Writer(devnet, upstream), Writer(devnet, upstream)
    writer.write({A: entry("a"), B: entry("b")})
    with ingesting(replica, devnet, upstream.url):
        until_begun(replica)
        assert terminal.json("appview", "add", str(writer.account.handle)) == {"added": [writer.did]}
        until_shown(replica, writer.shown(A, B))
        assert terminal.run("appview", "takedown", f"at://{writer.account.handle}/{A}", "--reason", "spam") == 0
        assert "known here" not in terminal.err
        assert terminal.run("appview", "takedown", other.did, "--reason", "no\x1b[31m", "--block") == 0
        decided = terminal.json("appview", "takedown")
        found = {each["subject"]: (each["decision"], each["why"]) for each in decided}
        assert found == {f"at://{writer.did}/{A}": ("takedown", "spam"), other.did: ("block", "no\x1b[31m")}
        assert terminal.run("appview", "takedown") == 0
        assert "spam" in terminal.out
        assert "\x1b" not in terminal.out
        assert terminal.run("appview", "takedown", f"at://{writer.did}/{A}", "--lift") == 0
        assert terminal.run("appview", "takedown", other.did, "--lift") == 0
        assert terminal.json("appview", "takedown") == []
        until(
            lambda: replica.read(lambda reading: reading.sql.all(MARKED)) == []
        )  # who was named stays, without records
        replica.write(lambda writing: writing.sql.run("DELETE FROM replica_nodes") and None)
        assert terminal.run("appview", "reindex", writer.did, "--wait") == 0
        assert "no process follows" not in terminal.err
        assert replica.read(lambda reading: reading.sql.first("SELECT count(*) FROM replica_nodes"))[0] > 0
        devnet.host(writer.did).delete_account(writer.did)
        assert terminal.json("appview", "reindex", "--all") == {"marked": [writer.did, other.did]}
        until(lambda: shown(replica) == {})
        assert terminal.run("appview", "replay", upstream.url, "1") == 2, "nothing of it was ever read"
        assert terminal.run("appview", "replay", upstream.url, "0") == 0
        until(lambda: upstream.connections == [None, 0])
        said = terminal.json("appview", "status", "--rejected", "5")
        assert (said["ingesting"], said["refused"], said["upstreams"][0]["url"]) == (True, [], upstream.url)


def test_verifiers_are_trusted_and_no_more(terminal: Terminal, replica: Replica) -> None:
    operator.status(replica)
    did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    said = terminal.json("appview", "trust", did, "--reason", "reads code", "--method", "codeReview")
    assert said == {"did": did, "version": 1, "trusted": True}
    (listed,) = terminal.json("appview", "trust")["verifiers"]
    assert (listed["did"], listed["methods"], listed["why"]) == (did, ["codeReview"], "reads code")
    assert terminal.run("appview", "trust") == 0
    assert "reads code" in terminal.out
    assert terminal.run("appview", "trust", did, "--remove", "--reason", "gone") == 0
    assert terminal.json("appview", "trust") == {"version": 2, "verifiers": []}
    for arguments in (["--remove"], [did], [did, "--reason", "x", "--method", "guessing"], [did, "--remove"]):
        assert terminal.run("appview", "trust", *arguments) == 2, terminal.err


def test_labelers_are_followed_and_no_more(terminal: Terminal, replica: Replica) -> None:
    operator.status(replica)
    did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    assert terminal.run("appview", "labeler") == 0
    assert "No labeler is followed" in terminal.out
    assert terminal.json("appview", "labeler", did, "--reason", "looks at data") == {"did": did, "followed": True}
    (listed,) = terminal.json("appview", "labeler")
    assert (listed["did"], listed["why"], listed["read_at"]) == (did, "looks at data", 0)
    assert terminal.run("appview", "labeler") == 0
    assert "never" in terminal.out
    for arguments in (["--remove"], [did], [did, "--remove", "--reason", "x"]):
        assert terminal.run("appview", "labeler", *arguments) == 2, terminal.err
    assert terminal.json("appview", "labeler", did, "--remove") == {"did": did, "followed": False}
    assert terminal.run("appview", "labeler", did, "--remove") == 4


def test_the_state_is_said_in_words(terminal: Terminal, replica: Replica) -> None:
    assert operator.status(replica).upstreams == []
    assert terminal.run("appview", "status") == 0
    assert "a process follows them  no" in terminal.out
    assert terminal.run("appview", "rebuild") == 0
    assert "0 records" in terminal.out


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["add", "not a handle"], 2, "handle"),
        (["add", "nobody.test"], 1, "handle"),
        (["reindex"], 2, "--all"),
        (["reindex", "did:plc:ewvi7nxzyoun6zhxrhs64oiz"], 4, "not followed"),
        (["takedown", "did:plc:ewvi7nxzyoun6zhxrhs64oiz"], 2, "--reason"),
        (["takedown", "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "--lift"], 4, "not taken down"),
        (["takedown", "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz", "--reason", "x"], 2, "not the address of a record"),
        (["takedown", f"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/{A}", "--block", "--reason", "x"], 2, "blocked"),
        (["replay", "wss://relay.example", "5"], 4, "never followed"),
        (["replay", "https://relay.example", "5"], 2, "wss://HOST"),
        (["status", "--database", "sqlite:///nowhere/a.db"], 4, "no database"),
        (["status", "--database", "mysql://x"], 2, "cannot be kept"),
        (["status", "--database", ""], 2, "is empty"),
        (["status", "--database", "sqlite:///"], 2, "a folder"),
        (["status", "--database", "sqlite:///nowhere/a.db?mode=ro"], 2, "has settings"),
    ],
)
def test_what_cannot_be_done_is_said(
    terminal: Terminal, replica: Replica, arguments: list[str], code: int, what: str
) -> None:
    operator.status(replica)  # makes the tables
    assert terminal.run("appview", *arguments) == code, terminal.err
    assert what in terminal.err
    assert not Path("/nowhere").exists()


def test_a_takedown_says_what_it_does(terminal: Terminal, replica: Replica) -> None:
    operator.status(replica)
    did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    why = "spam, as three people have written to us, each for reasons of their own that are all good ones"
    assert terminal.run("appview", "takedown", f"at://{did}/{A}", "--reason", why) == 0
    assert "nothing of it is known here" in terminal.err
    assert terminal.json("appview", "takedown", did, "--reason", "spam")["known"] is False
    assert terminal.run("appview", "takedown", did, "--reason", "spam", "--block") == 0
    assert "nothing of it is kept" in terminal.out
    assert terminal.run("appview", "takedown") == 0
    (row,) = [line for line in terminal.out.splitlines() if "at://" in line]
    assert row.startswith(f"at://{did}/{A} ")
    assert row.rstrip().endswith(why), "where no terminal is, nothing is cut"
    assert terminal.run("appview", "takedown", did, "--reason", " ") == 2
    assert "needs a reason" in terminal.err
    for verb in ("takedown", "trust", "labeler"):
        assert terminal.run("appview", verb, did, "--reason", "x" * 1001) == 2
        assert "the reason of a decision is too long" in terminal.err
        assert "1 to 1000 characters" in terminal.err
        assert "1001" in terminal.err
        assert "--reason" in terminal.err.strip().splitlines()[-1]
    for verb in ("add", "reindex"):
        assert terminal.run("appview", verb, did) == 2
        assert "is blocked here" in terminal.err
    assert terminal.json("appview", "reindex", "--all", "--wait") == {"marked": [], "failing": []}
    assert terminal.run("appview", "takedown", did, "--reason", "less") == 2, "no block becomes less by the way"
    assert "is blocked here" in terminal.err
    assert "--lift" in terminal.err.strip().splitlines()[-1]
    assert terminal.run("appview", "takedown", did, "--reason", "worse", "--block") == 0
    decided = terminal.json("appview", "takedown")
    assert ("block", "worse") in [(each["decision"], each["why"]) for each in decided]
    assert terminal.run("appview", "takedown", did, "--lift") == 0
    assert terminal.run("appview", "takedown", did, "--reason", "less") == 0
    assert terminal.run("appview", "takedown", did, "--lift") == 0
    assert terminal.run("appview", "add", did) == 0
    assert terminal.run("appview", "takedown", f"at://{did}/{A}", "--reason", "spam", "--block") == 2


def test_who_waits_is_told_that_nobody_fetches(
    terminal: Terminal, replica: Replica, devnet: Devnet, upstream: TestedUpstream
) -> None:
    writer, done = Writer(devnet, upstream), threading.Event()
    operator.status(replica)

    def follow_later() -> None:
        done.wait(1)
        with ingesting(replica, devnet, upstream.url):
            done.wait(60)

    assert terminal.run("appview", "add", writer.did) == 0
    thread = threading.Thread(target=follow_later)
    thread.start()
    code = terminal.run("appview", "reindex", writer.did, "--wait")
    done.set()
    thread.join()
    assert (code, "no process follows just now" in terminal.err) == (0, True)
