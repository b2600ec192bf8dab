"""`atdata index add`, `append`, `history`, `diff`, `copy`, and `atdata retract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.local import LocalIndex
from atdata.testing import Devnet
from support.networks import fresh_handle
from support.terminal import Terminal

pytest.importorskip("pyarrow")


@atdata.packable
class Row:
    n: int


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, devnet: Devnet
) -> Terminal:
    for name, value in devnet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys, monkeypatch)


def rows(*numbers: int) -> str:
    name = f"rows-{'-'.join(map(str, numbers))}.tar"
    atdata.write_samples([Row(n) for n in numbers], name, manifest=True, overwrite=True)
    return name


def test_the_life_of_a_dataset(terminal: Terminal) -> None:
    made = terminal.json("index", "add", rows(1, 2), "--name", "rows", "--version", "1.0.0", "--license", "MIT")
    assert (made["version"], made["samples"]) == ("1.0.0", 2)
    more = terminal.json("index", "append", "rows", rows(3), "--notes", "one more", "--split", "test")
    assert (more["version"], more["samples"], len(more["shards"])) == ("1.1.0", 3, 2)
    assert [row.n for row in atdata.load_dataset("@local/rows", split="test")] == [3]
    found = terminal.json("index", "diff", "rows@1.0.0", "rows@1.1.0")
    assert (found["added"], found["removed"], found["same"], found["facts"]) == (["000000000"], [], 2, ["metadata"])
    assert terminal.run("index", "diff", "@local/rows@1.0.0", "rows@1.1.0") == 0
    assert "1 shard of both" in terminal.out
    newest, first = terminal.json("index", "history", "rows")
    assert (newest["version"], newest["notes"], newest["predecessor"]) == ("1.1.0", "one more", "1.0.0")
    assert newest["changes"] == {
        "shards_added": 1,
        "shards_removed": 0,
        "samples": 1,
        "fields": {"added": {}, "removed": {}, "changed": {}},
    }
    assert first["changes"] is None
    plan = terminal.json("retract", "rows@1.1.0", "--reason", "three is wrong", "--dry-run")
    assert (plan["done"], plan["retracted"], len(plan["deleted"])) == (False, [{"name": "rows", "version": "1.1.0"}], 1)
    assert terminal.run("retract", "rows@1.1.0", "--reason", "three is wrong", "--json") == 2
    done = terminal.json("retract", "rows@1.1.0", "--reason", "three is wrong", "--yes")
    assert done == {**plan, "done": True}
    assert terminal.run("index", "show", "rows@1.1.0") == 4
    assert "three is wrong" in terminal.err
    assert terminal.run("index", "history", "rows") == 0
    assert "retracted: three is wrong" in terminal.out
    assert [row["version"] for row in terminal.json("index", "ls")] == ["1.0.0"]


@pytest.mark.filterwarnings("always::atdata.errors.NotTakenWarning")  # as they are where no test makes them errors
def test_what_is_listed_is_said(terminal: Terminal) -> None:
    terminal.json("index", "add", rows(1), "--name", "rows", "--version", "1.0.0")
    terminal.json("index", "append", "rows", rows(2))
    assert terminal.json("index", "append", "rows", rows(2), "--version", "2.0.0")["version"] == "2.0.0"
    assert terminal.json("index", "append", "rows", rows(2))["version"] == "2.0.0"
    assert terminal.json("index", "add", rows(1), "--name", "rows", "--version", "1.0.0")["version"] == "1.0.0"
    assert terminal.run("index", "append", "rows", rows(2), "--notes", "late") == 0
    assert "not taken: notes" in terminal.err
    assert terminal.run("retract", "rows@1.0.0", "--reason", "wrong", "--yes") == 0
    assert terminal.run("retract", "rows@1.0.0", "--reason", "late", "--yes") == 0
    assert "not taken: reason" in terminal.err


def test_an_address_names_what_other_references_cannot(terminal: Terminal) -> None:
    terminal.json("index", "add", rows(1), "--name", "a@b", "--version", "1.0.0")
    ref = "atdata://local/dataset/a%40b"
    assert terminal.json("index", "append", ref, rows(2))["version"] == "1.1.0"
    assert [item["version"] for item in terminal.json("index", "history", ref)] == ["1.1.0", "1.0.0"]
    assert terminal.json("index", "diff", f"{ref}@1.0.0", ref)["same"] == 1
    assert terminal.json("index", "show", f"{ref}@1.0.0")["name"] == "a@b"
    assert terminal.run("retract", f"{ref}@1.1.0", "--reason", "wrong", "--yes") == 0
    assert terminal.run("index", "rm", f"{ref}@1.0.0", "--yes") == 0
    assert terminal.json("index", "ls") == []


@pytest.mark.parametrize("verb", ["show", "rm"])
@pytest.mark.parametrize("ref", ["@alice.test/rows", "atdata://alice.test/dataset/rows"])
def test_what_is_of_the_network_is_not_looked_for_in_the_index(terminal: Terminal, verb: str, ref: str) -> None:
    assert terminal.run("index", verb, ref) == 2
    assert "the dataset is one of the network" in terminal.err


def test_a_history_is_that_of_a_name(terminal: Terminal) -> None:
    terminal.json("index", "add", rows(1), "--name", "rows", "--version", "1.0.0")
    for ref in ("rows@1.0.0", "@local/rows@9.9.9", "@alice.test/rows@1.0.0"):
        assert terminal.run("index", "history", ref) == 2
        assert "a history is that of all versions" in terminal.err
    assert terminal.run("index", "history", "at://alice.test/science.alt.dataset.entry/x") == 2
    assert "a history is that of a name" in terminal.err


def test_what_is_no_shard_needs_a_store(terminal: Terminal) -> None:
    Path("rows.csv").write_text("n,text\n1,a\n2,b\n")
    assert terminal.run("index", "add", "rows.csv", "--name", "table") == 2
    assert "--store" in terminal.err
    made = terminal.json("index", "add", "rows.csv", "--name", "table", "--store", "kept")
    assert "/kept/table/" in made["shards"][0]
    assert [row.text for row in atdata.load_dataset("@local/table", split="train")] == ["a", "b"]
    Path("more.csv").write_text("n,text\n3,c\n")
    assert terminal.run("index", "append", "table", "more.csv", "--store", "kept") == 0
    assert [row.text for row in atdata.load_dataset("@local/table", split="train")] == ["a", "b", "c"]


def test_copying(terminal: Terminal) -> None:
    assert terminal.run("index", "add", rows(1), "--name", "rows", "--index", "one.sqlite") == 0
    assert terminal.json("index", "copy", "one.sqlite", "two.sqlite") == {
        "copied": 3,
        "changed": 0,
        "same": 0,
        "withdrawn": 0,
        "unread": [],
    }
    assert terminal.run("index", "copy", "one.sqlite", "two.sqlite") == 0
    assert "0 records copied, 0 changed, 3 there already." in terminal.out
    assert [row.n for row in LocalIndex("two.sqlite").load("rows")["train"]] == [1]


def test_an_index_that_lists_nothing_is_not_copied(terminal: Terminal) -> None:
    assert terminal.run("index", "copy", "mistyped.sqlite", "two.sqlite") == 4
    assert "the index to copy lists nothing" in terminal.err
    assert "mistyped.sqlite" in terminal.err
    assert not Path("two.sqlite").exists()
    assert not Path("mistyped.sqlite").exists()


def test_the_life_of_a_published_dataset(terminal: Terminal, devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = (devnet.create_account(fresh_handle()) for _ in range(2))
    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert terminal.run("login", alice.handle) == 0, terminal.err
    client = devnet.client(alice)
    index: Any = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    index.insert_dataset(atdata.Dataset[Row](rows(1, 2)), name="rows", version="1.0.0")
    ref = f"@{alice.handle}/rows"
    made = terminal.json("index", "append", ref, rows(3), "--notes", "more")
    assert (made["version"], made["samples"]) == ("1.1.0", 3)
    found = terminal.json("index", "diff", f"{ref}@1.0.0", f"{ref}@1.1.0")
    assert (found["removed"], found["changed"], found["shards"]) == ([], [], 1)
    assert [item["author"] for item in terminal.json("index", "history", ref)] == [alice.did] * 2
    assert terminal.run("retract", ref, "--reason", "no consent", "--dry-run") == 0
    assert "2 entries, with 6 blobs" in terminal.out
    assert "other software finds nothing" in terminal.out
    assert terminal.run("retract", ref, "--reason", "no consent", "--yes") == 0
    assert terminal.run("show", ref) == 4
    assert "no consent" in terminal.err
    assert terminal.run("logout") == 0
    newest, _ = terminal.json("index", "history", ref)
    assert newest["retracted"] == "no consent"
    monkeypatch.setenv("ATDATA_PASSWORD", bob.password)
    assert terminal.run("login", bob.handle) == 0
    assert terminal.run("retract", ref, "--reason", "mine", "--yes") == 2
    assert "another account" in terminal.err
