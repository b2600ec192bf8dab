"""The command line: what it does, what it says, and how it ends."""

from __future__ import annotations

import gc
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereIndex, DatasetPublisher, PDSBlobStore, SchemaPublisher
from atdata.atproto.fetch import MAX_CAR, fetch_record
from atdata.atproto.syntax import AtUri, Nsid, RecordKey
from atdata.cli.output import exit_code, plain
from atdata.cli.pictures import picture
from atdata.errors import (
    AtdataError,
    AuthError,
    DigestError,
    NetworkError,
    NotFoundError,
    ShardNotFoundError,
    UsageError,
)
from atdata.samples.preview import as_picture
from atdata.shards import Digest
from atdata.testing import DevAccount, Devnet, Teller, blob_lies
from support.networks import fresh_handle, list_records
from support.terminal import Terminal


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


@pytest.fixture
def alice(devnet: Devnet) -> DevAccount:
    return devnet.create_account(fresh_handle())


@pytest.fixture
def terminal(
    devnet: Devnet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Terminal:
    for name, value in devnet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys, monkeypatch)


@pytest.fixture
def logged_in(terminal: Terminal, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert terminal.run("login", alice.handle) == 0
    monkeypatch.delenv("ATDATA_PASSWORD")
    return terminal


def records(account: DevAccount, kind: str) -> list[dict[str, Any]]:
    return list_records(account.pds_url, account.did, f"science.alt.dataset.{kind}")


def test_login_keeps_a_file_that_only_its_owner_reads(logged_in: Terminal, alice: DevAccount) -> None:
    kept = Path(os.environ["ATDATA_DATA"]) / "session"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert alice.did in kept.read_text()
    assert alice.password not in logged_in.out + logged_in.err + kept.read_text()
    assert logged_in.json("logout") == {"forgotten": True}
    assert not kept.exists()
    assert logged_in.json("logout") == {"forgotten": False}


def test_login_with_wrong_credentials(terminal: Terminal, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PASSWORD", "wrong-pass-word")
    assert terminal.run("login", alice.handle) == 5
    assert "wrong-pass-word" not in terminal.out + terminal.err
    assert terminal.run("publish", "x.npz", "--name", "x") == 5, "not logged in"
    assert "atdata login" in terminal.err


def npz(path: str = "digits.npz", count: int = 20) -> str:
    rng = np.random.default_rng(0)
    np.savez(path, image=rng.integers(0, 255, (count, 8, 8), dtype=np.uint8), label=np.arange(count))
    return path


@pytest.mark.parametrize(
    "said", [["--name", ""], ["--name", "x", "--description", "x" * 99_999], ["--name", "x", "--version", " "]]
)
def test_a_plan_for_what_no_entry_may_say_is_refused(terminal: Terminal, said: list[str]) -> None:
    assert terminal.run("publish", npz(), *said, "--dry-run") != 0
    assert "must not be empty" in terminal.err or "description" in terminal.err


def test_publish_shows_the_plan_and_publishes(logged_in: Terminal, alice: DevAccount) -> None:
    npz()
    plan = logged_in.json("publish", "digits.npz", "--name", "my-digits", "--dry-run")
    assert plan["fields"] == {"image": "NDArray[uint8] [8, 8]", "label": "int"}
    assert (plan["type"], plan["samples"], plan["blobs"], plan["account"]) == ("MyDigits", 20, 1, alice.handle)
    assert records(alice, "entry") == []
    assert logged_in.run("publish", "digits.npz", "--name", "my-digits") == 2, "nobody is here to say yes"
    assert "--yes" in logged_in.err
    assert records(alice, "entry") == []
    facts = ["--version", "1.0.0", "--license", "MIT", "--tag", "a", "--tag", "b", "--description", "d"]
    done = logged_in.json("publish", "digits.npz", "--name", "my-digits", *facts, "--yes")
    (entry,) = records(alice, "entry")
    assert (done["uri"], done["cid"], done["ref"]) == (entry["uri"], entry["cid"], f"@{alice.handle}/my-digits@1.0.0")
    assert {name: entry["value"][name] for name in ("tags", "license", "description")} == {
        "tags": ["a", "b"],
        "license": "MIT",
        "description": "d",
    }
    again = logged_in.json("publish", "digits.npz", "--name", "my-digits", *facts, "--yes")
    assert again["uri"] == done["uri"]
    assert len(records(alice, "entry")) == len(records(alice, "schema")) == len(records(alice, "label")) == 1


def test_publish_takes_what_people_have(logged_in: Terminal, alice: DevAccount, tmp_path: Path) -> None:
    from PIL import Image

    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (6, 5), (number * 40, 80, 120)).save(tmp_path / "pets" / label / f"{number}.png")
    (tmp_path / "t.csv").write_text("n,x,who\n1,0.5,a\n2,1.5,b\n")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"n": [1, 2, 3], "v": [[1.0, 2.0]] * 3}), tmp_path / "t.parquet")
    atdata.write_samples([Row(np.zeros(2, np.float32), n) for n in range(5)], "s.tar")
    for path, count in {"pets": 4, "t.csv": 2, "t.parquet": 3, "s.tar": 5}.items():
        done = logged_in.json("publish", path, "--name", path.replace(".", "-"), "--yes")
        assert done["samples"] == count, path
        client_side = atdata.load_dataset(done["ref"], split="train")
        assert len(list(client_side)) == count
    assert len(records(alice, "entry")) == 4
    assert logged_in.run("publish", "nothing-here.csv", "--name", "x", "--yes") == 4
    (tmp_path / "odd.bin").write_bytes(b"?")
    assert logged_in.run("publish", "odd.bin", "--name", "x", "--yes") == 2


def test_publish_takes_shards_of_members_as_they_are(logged_in: Terminal, alice: DevAccount, tmp_path: Path) -> None:
    import webdataset as wds

    paths = [tmp_path / "in" / split / "s-0.tar" for split in ("train", "test")]
    for path in paths:
        path.parent.mkdir(parents=True)
        with wds.TarWriter(str(path)) as sink:
            for n in range(3):
                sink.write({"__key__": f"{n:04d}", "jpg": b"\xff\xd8\xff%d" % n, "cls": n, "json": {"n": n}})
    done = logged_in.json("publish", "in", "--name", "pics", "--type", "Pic", "--yes")
    (entry,) = records(alice, "entry")
    layout = {"image": "jpg", "label": "cls", "meta": "json"}
    assert (entry["value"]["layout"], done["blobs"], done["splits"]) == (layout, 2, {"train": 3, "test": 3})
    for split, path in zip(("train", "test"), paths, strict=True):
        loaded = atdata.load_dataset(done["ref"], split=split)
        assert [str(ref.digest) for ref in loaded.shards] == [f"sha256:{Digest.of_file(path).hex}"]
        assert loaded.sample_type.__name__ == "Pic"
        assert [(row.label, row.image.data, row.meta) for row in loaded] == [
            (n, b"\xff\xd8\xff%d" % n, {"n": n}) for n in range(3)
        ]
    assert logged_in.json("publish", "in", "--name", "pics", "--type", "Pic", "--yes")["uri"] == done["uri"]


@pytest.fixture
def published(logged_in: Terminal, alice: DevAccount) -> str:
    npz()
    return logged_in.json("publish", "digits.npz", "--name", "digits", "--version", "1.0.0", "--yes")["ref"]


def test_show(published: str, logged_in: Terminal, alice: DevAccount) -> None:
    shown = logged_in.json("show", published)
    assert (shown["publisher"], shown["did"], shown["samples"]) == (f"@{alice.handle}", alice.did, 20)
    assert shown["fields"] == {"image": "NDArray[uint8] [8, 8]", "label": "int"}
    assert [row["label"] for row in shown["first"]] == [str(n) for n in range(8)]
    assert logged_in.run("show", published, "--samples", "3") == 0
    assert f"@{alice.handle}" in logged_in.out
    assert any(shade in logged_in.out for shade in "░▒▓█"), "images are shown as pictures"
    atdata.write_samples([Row(np.zeros(2, np.float32), n) for n in range(5)], "s.tar")
    assert logged_in.run("show", "s.tar") == 0
    assert logged_in.json("show", "s.tar")["fields"] == {"x": "ndarray", "n": "int"}
    assert logged_in.run("show", published, "--html", "page.html") == 0
    page = Path("page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert f"@{alice.handle}" in page
    assert page.count("data:image/png;base64,") == 8
    assert logged_in.run("show", f"@{alice.handle}/nothing") == 4
    assert logged_in.run("show", "nothing.tar") == 4
    assert logged_in.run("show", "@nobody-at-all.test/x") == 1


def test_verify(published: str, logged_in: Terminal, alice: DevAccount, devnet: Devnet, tmp_path: Path) -> None:
    found = logged_in.json("verify", published)
    assert found["verified"] is True
    (blob,) = records(alice, "entry")[0]["value"]["storage"]["blobs"]
    assert found["splits"] == {"train": {"shards": 1, "bytes": blob["blob"]["size"], "samples": 20, "manifests": 1}}
    steps = [link["step"] for link in found["links"]]
    assert steps == ["handle", "did", "key", "signature", "proof", "record", "lexicon", "schema"]
    assert logged_in.run("verify", published, "--keep", "evidence.json") == 0
    assert "✓ verified" in logged_in.out
    assert logged_in.json("verify", "evidence.json")["verified"] is True
    kept = json.loads(Path("evidence.json").read_text())
    kept["car"] = kept["car"][:-8] + "AAAAAAA="
    Path("forged.json").write_text(json.dumps(kept))
    assert logged_in.run("verify", "forged.json") == 1


def test_a_proof_that_was_downloaded_is_verified(
    published: str, logged_in: Terminal, alice: DevAccount, devnet: Devnet
) -> None:
    reader = devnet.client(alice).reader
    identity = reader.identity(alice.did)
    for kind in ("entry", "schema"):
        uri = AtUri(records(alice, kind)[0]["uri"])
        car = reader.transport.run(fetch_record(identity, Nsid(uri.collection), RecordKey(uri.rkey)))
        Path(f"{kind}.car").write_bytes(car)
        found = logged_in.json("verify", f"{kind}.car", "--keep", f"{kind}.json")
        assert (found["ref"], found["verified"]) == (str(uri), True)
        steps = [link["step"] for link in found["links"]]
        assert steps == ["handle", "did", "key", "signature", "proof", "record", "lexicon"]
    assert logged_in.json("verify", "entry.json")["ref"] == str(AtUri(records(alice, "entry")[0]["uri"]))
    assert logged_in.run("verify", "entry.car") == 0
    assert f"at revision {found['rev']}" in logged_in.out
    car = Path("entry.car").read_bytes()
    assert logged_in.run("verify", "entry.car", "--keep", "entry.car") == 2
    assert Path("entry.car").read_bytes() == car
    for at in range(0, len(car), max(1, len(car) // 40)):
        Path("forged.car").write_bytes(car[:at] + bytes([car[at] ^ 1]) + car[at + 1 :])
        assert logged_in.run("verify", "forged.car") != 0
        assert "✓ this record" not in logged_in.out
    for kept, code in ((b"", 1), (car[:-1], 1), (b"\0" * (MAX_CAR + 1), 2)):
        Path("forged.car").write_bytes(kept)
        assert logged_in.run("verify", "forged.car") == code, logged_in.err
    url = f"{identity.pds}/xrpc/com.atproto.sync.getRepo?did={alice.did}"
    Path("all.car").write_bytes(urlopen(url).read())
    assert logged_in.run("verify", "all.car") == 2
    assert "not the proof of one record" in logged_in.err
    devnet.host(alice.did).rotate_key(alice.did)
    assert logged_in.run("verify", "entry.car") == 1, "it is checked by the key of now"


@pytest.mark.parametrize("lie", blob_lies(b""), ids=str)
def test_verify_finds_lies(
    published: str, logged_in: Terminal, devnet: Devnet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lie: Any
) -> None:
    monkeypatch.setenv("ATDATA_CACHE", str(tmp_path / "fresh-cache"))
    teller = Teller(lie)
    devnet.tell(teller)
    try:
        assert logged_in.run("verify", published) == 1
    finally:
        devnet.tell(None)
    assert teller.told
    assert "✓ verified" not in logged_in.out
    assert "shard digest" in logged_in.err


def test_verify_doubts_what_nobody_vouches_for(logged_in: Terminal, alice: DevAccount, devnet: Devnet) -> None:
    atdata.write_samples([Row(np.zeros(2, np.float32), 1)], "s.tar")
    assert logged_in.run("verify", "s.tar") == 1
    assert "no published digest" in logged_in.err
    whole = Path("s.tar").read_bytes()
    Path("cut.tar").write_bytes(whole[:-600])
    assert logged_in.run("verify", "cut.tar") == 1
    client = devnet.client(alice)
    schema = SchemaPublisher(client).publish(Row)
    uri = DatasetPublisher(client).publish_with_urls(["https://example.com/a.tar"], schema, name="external")
    assert logged_in.run("verify", str(uri)) == 1
    assert "no digest" in logged_in.err
    assert json.loads(logged_in.out or "{}") == {}
    assert logged_in.run("verify", str(uri), "--json") == 1
    refused = json.loads(logged_in.out)
    assert (refused["error"], refused["step"], refused["exit"]) == ("UnverifiedError", "shard digest", 1)


def test_strangers_text_is_shown_as_what_it_is(logged_in: Terminal, alice: DevAccount, devnet: Devnet) -> None:
    client = devnet.client(alice)
    nasty = "\x1b[2J\x1b]8;;https://evil.example.com\x07safe\x1b]8;;\x07 \u202egnp.exe [bold red]markup[/] \r\nover"
    dataset = atdata.write_samples([Row(np.zeros(2, np.float32), 1)], "s.tar")
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    index.insert_dataset(dataset, name="nasty", description=nasty, tags=[nasty[:40]])
    assert logged_in.run("show", f"@{alice.handle}/nasty") == 0
    for unseen in ("\x1b", "\x07", "\u202e", "\r"):
        assert unseen not in logged_in.out
    assert "\\u001b" in logged_in.out
    assert "\\u202e" in logged_in.out
    assert "[bold red]markup[/]" in logged_in.out


def test_exit_codes_name_the_cause() -> None:
    codes = {
        DigestError: 1,
        AtdataError: 1,
        UsageError: 2,
        NetworkError: 3,
        NotFoundError: 4,
        ShardNotFoundError: 4,
        AuthError: 5,
    }
    assert {kind: exit_code(kind("x")) for kind in codes} == codes


def test_an_unreachable_network_is_exit_3(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PLC_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("atdata.transport.budget.TRIES", 1)
    assert terminal.run("show", "@did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/x") == 3


def test_pictures() -> None:
    assert as_picture(np.zeros((8, 8))) is not None
    assert as_picture(np.zeros((8, 8, 3), np.uint8)) is not None
    assert as_picture(np.zeros(8)) is None
    assert as_picture(np.zeros((2, 100))) is None
    assert as_picture("text") is None
    shades = picture(np.array([[0, 255]] * 4 + [[255, 0]] * 4, np.uint8).repeat(2, axis=1)).plain
    assert shades.splitlines()[0] == "    ████"
    assert picture(np.full((64, 64), np.nan)).plain
    assert plain("a\x00b\u2066c") == "a\\u0000b\\u2066c"


def test_without_arguments_it_explains_itself(terminal: Terminal) -> None:
    assert terminal.run() in (0, 2)
    for verb in ("demo", "login", "publish", "show", "verify", "up", "down"):
        assert verb in terminal.out + terminal.err
    assert terminal.run("nonsense") == 2


EMPTY = [
    ("import", "s.tar", "-o", ""),
    ("import", "s.tar", "--out="),
    ("show", "s.tar", "--html="),
    ("show", "@nobody.test/that-is-not-there", "--html="),  # before anybody is asked
    ("index", "add", "s.tar", "--name", "a", "--store="),
    ("serve", "--upstream="),
    ("serve", "--doorbell="),
]


@pytest.mark.parametrize("arguments", EMPTY, ids=" ".join)
def test_an_empty_place_is_none(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """An unset variable of a script leads to no place at all: not to the root, and not to a folder of atdata's own."""
    monkeypatch.chdir(tmp_path)
    atdata.write_samples([atdata.DictSample(n=1)], "s.tar")
    assert terminal.run(*arguments) == 2
    option = arguments[-1].partition("=")[0] if "=" in arguments[-1] else "--out"
    assert option in terminal.err
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tar"] == ["s.tar"]


@pytest.mark.parametrize(
    "verb",
    [
        ("doctor", "--index"),
        ("index", "ls", "--index"),
        ("index", "show", "a", "--index"),
        ("index", "rm", "a", "--index"),
        ("index", "history", "a", "--index"),
        ("schema", "ls", "--index"),
        ("lens", "find", "--repo", "local", "--index"),
    ],
    ids=" ".join,
)
def test_no_index_is_made_by_looking_for_something_in_it(
    terminal: Terminal, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    file = f"{tmp_path}/mistyped.sqlite"
    for address in (file, f"sqlite:///{file}", f"SQLite:///{file}"):
        assert terminal.run(*verb, address) == 2
        assert "there is no index there" in terminal.err
    assert list(tmp_path.glob("mistyped*")) == []


def test_a_shell_that_does_not_say_where_is_told_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ATDATA_COMPLETE", "bash_complete")
    assert terminal.run() == 2
    assert (terminal.out, terminal.err) == ("", "")
    monkeypatch.setenv("_ATDATA_COMPLETE", "nothing")
    assert terminal.run("--version") == 0
    assert terminal.out == f"atdata {atdata.__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("atdata sea", ["search"]),
        ("atdata index ap", ["append"]),
        ("atdata search --li", ["--limit"]),
        ("atdata import pict", ["file,pict"]),
        ("atdata import x --out o", ["file,o"]),
        ("atdata schema diff --require forward", ["forward", "forward_transitive"]),
    ],
)
def test_a_shell_is_told_what_can_stand_there(words: str, expected: list[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_ATDATA_COMPLETE": "bash_complete"}
    command = [sys.executable, "-m", "atdata"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True)
    assert [line.removeprefix("plain,") for line in done.stdout.splitlines()] == expected
    assert done.stderr == ""


def test_a_process_that_runs_it_inside_keeps_collecting_garbage(terminal: Terminal) -> None:
    assert gc.isenabled()
    before = gc.get_freeze_count()
    assert terminal.run("schema", "--help") == 0
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, before)
