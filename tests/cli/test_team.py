"""`atdata index`, `schema`, `promote` and `doctor`: what a team does with its index."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Unit
from atdata.atmosphere import AtmosphereIndex
from atdata.files.own import scratch_name
from atdata.lens import DataLens, Program
from atdata.local import LocalIndex, S3DataStore
from atdata.shards import Digest, ShardRef
from atdata.shards.cache import ShardCache
from atdata.shards.rows import scan_shard
from atdata.shards.verified_files import state_of
from atdata.testing import DevAccount, Devnet
from support.networks import fresh_handle
from support.s3_servers import S3Server
from support.terminal import Terminal

ONE_DAY = dt.timedelta(days=1)


@atdata.packable
class Row:
    x: NDArray[np.float32]
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


@pytest.fixture
def alice(devnet: Devnet) -> DevAccount:
    return devnet.create_account(fresh_handle())


@pytest.fixture
def index(terminal: Terminal) -> LocalIndex:
    made = LocalIndex()
    made.insert_dataset(rows(20), name="a/rows", version="1.0.0", tags=["x"], metadata={"k": 0.5})
    made.insert_dataset(rows(5, "other"), name="a/rows", version="1.1.0")
    made.insert_dataset(rows(3, "third"), name="b", description="the third")
    return made


def rows(count: int, name: str = "rows") -> Any:
    return atdata.write_samples(
        [Row(np.zeros(3, np.float32), n) for n in range(count)], f"{name}-%06d.tar", maxcount=8, overwrite=True
    )


def log_in(terminal: Terminal, account: DevAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PASSWORD", account.password)
    assert terminal.run("login", account.handle) == 0, terminal.err


def test_listing(terminal: Terminal, index: LocalIndex) -> None:
    assert [(row["name"], row["version"]) for row in terminal.json("index", "ls")] == [
        ("b", None),
        ("a/rows", "1.1.0"),
        ("a/rows", "1.0.0"),
    ]
    assert {row["samples"] for row in terminal.json("index", "ls", "a/")} == {20, 5}
    assert terminal.json("index", "ls", "z") == []
    assert terminal.run("index", "ls", "--limit", "1") == 0
    assert "--limit" in terminal.out
    assert terminal.run("index", "ls", "z") == 0
    assert "nothing" in terminal.out


def test_showing(terminal: Terminal, index: LocalIndex) -> None:
    entry = index.get_entry_by_name("a/rows", "1.0.0")
    for ref in ("a/rows@1.0.0", "@local/a/rows@1.0.0", "atdata://local/dataset/a%2Frows@1.0.0", str(entry.uri)):
        shown = terminal.json("index", "show", ref)
        assert shown["cid"] == str(entry.cid)
        assert shown["fields"] == {"x": "NDArray[float32]", "n": "int"}
    assert terminal.run("index", "show", "a/rows") == 0
    assert "a/rows@1.1.0" in terminal.out
    assert terminal.run("index", "show", "a/row") == 4
    assert "a/rows" in terminal.err, "it says what there is"
    assert terminal.json("show", "@local/b")["name"] == "b"


def test_schemas(terminal: Terminal, index: LocalIndex) -> None:
    assert [schema["name"] for schema in terminal.json("schema", "ls")] == ["Row"]
    assert terminal.json("schema", "show", "Row@1.0.0")["name"] == "Row"
    assert terminal.run("schema", "show", "Row") == 0
    assert "NDArray[float32]" in terminal.out
    assert terminal.run("schema", "rm", "Row", "--yes") == 2, "it is in use"
    index.publish_schema(Row, name="Unused")
    assert terminal.run("schema", "rm", "Unused", "--yes") == 0
    assert terminal.run("schema", "show", "Unused") == 4


def test_removing(terminal: Terminal, index: LocalIndex) -> None:
    assert terminal.run("index", "rm", "a/rows@1.0.0", "--json") == 2, "nobody is asked"
    assert terminal.run("index", "rm", "a/rows@1.0.0", "--yes") == 0
    assert terminal.run("index", "rm", "a/rows@1.0.0", "--yes") == 4
    assert len(terminal.json("index", "ls")) == 2
    assert Path("rows-000000.tar").exists(), "shards stay"


@pytest.mark.slow
def test_another_index(terminal: Terminal, index: LocalIndex) -> None:
    LocalIndex("other.sqlite").insert_dataset(rows(1, "o"), name="elsewhere")
    assert [row["name"] for row in terminal.json("index", "ls", "--index", "other.sqlite")] == ["elsewhere"]
    assert terminal.run("index", "ls", "--index", "redis://127.0.0.1:1/0") == 3
    assert terminal.run("index", "ls", "--index", "ftp://x") == 2


def test_names_from_strangers_are_harmless(terminal: Terminal, index: LocalIndex) -> None:
    index.insert_dataset(rows(2, "odd"), name="odd \x1b[31m\u202e[bold]name", description="\x07")
    assert terminal.run("index", "ls") == 0
    assert "\x1b[31m" not in terminal.out
    assert "\u202e" not in terminal.out
    assert "[bold]name" in terminal.out


def test_promoting(
    terminal: Terminal,
    index: LocalIndex,
    alice: DevAccount,
    devnet: Devnet,
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
) -> None:
    assert terminal.run("promote", "b", "--yes") == 5, "not logged in"
    log_in(terminal, alice, monkeypatch)
    assert terminal.run("promote", "b", "--yes") == 2, "its shards are on this machine"
    assert "path of this machine" in terminal.err
    assert terminal.run("promote", "b", "--to", "nowhere", "--yes") == 2
    promoted = terminal.json("promote", "b", "--to", "blobs", "--yes")
    assert promoted["ref"] == f"@{alice.handle}/b"
    assert terminal.run("verify", promoted["ref"]) == 0
    with s3_server.new_public_bucket() as bucket:
        Path("keys.env").write_text("".join(f"{k}={v}\n" for k, v in s3_server.credentials.items()))
        said = terminal.json(
            "promote", "a/rows", "--to", f"s3://{bucket}/p", "--credentials", "keys.env", "--yes", "--tag", "t"
        )
        assert all(url.startswith(f"s3://{bucket}/p/a/rows/") for url in said["shards"])
        entry = AtmosphereIndex(devnet.client()).get_dataset(said["uri"])
        assert (entry.tags, dict(entry.metadata)) == (("t",), {})
        assert terminal.run("verify", said["uri"]) == 0


def old(path: Path, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 100)
    os.utime(path, (time.time() - days * 86_400,) * 2)
    return path


def test_the_doctor(terminal: Terminal, index: LocalIndex) -> None:
    assert terminal.run("doctor") == 0
    assert "All is well" not in terminal.out
    assert "No shard was read" in terminal.out
    assert terminal.run("doctor", "--deep") == 0
    assert "All is well" in terminal.out
    cache, data = Path(os.environ["ATDATA_CACHE"]), Path(os.environ["ATDATA_DATA"])
    left = old(cache / "scratch" / scratch_name(), 2)
    fresh = old(cache / "scratch" / scratch_name(), 0)
    forgotten, begun = (old(data / "publications" / f"{n * 40}.json", days) for n, days in (("a", 30), ("b", 2)))
    Path("third-000000.tar").unlink()
    found = terminal.run("doctor", "--json")
    assert found == 1
    said = {finding["what"]: finding["mendable"] for finding in json.loads(terminal.out)}
    assert said["a shard is gone"] is False
    assert any("unfinished files" in what for what in said)
    assert left.exists(), "nothing is mended unasked"
    assert terminal.run("doctor", "--fix") == 1, "the shard is still gone"
    assert (left.exists(), forgotten.exists()) == (False, False)
    assert fresh.exists()
    assert begun.exists()


def test_the_doctor_removes_only_what_is_atdatas(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache and data are folders of somebody's, with work of theirs under every name that we give folders."""
    home, other = tmp_path / "home", tmp_path / "other"
    monkeypatch.setenv("ATDATA_CACHE", str(home))
    monkeypatch.setenv("ATDATA_DATA", str(home))
    theirs = [
        old(home / place, 400)
        for place in (
            "scratch/experiments/results.csv",
            "scratch/my-notes.tar",
            f"scratch/copies/{scratch_name()}",
            "shards/train/0.tar",
            "shards/.scratch/draft.tmp",
            "shards/sha256/ab/.draft.tmp",
            "publications/paper.json",
            "publications/2026.json",
        )
    ]
    ours = [old(home / place / scratch_name(), 400) for place in ("scratch", "shards/.scratch")]
    elsewhere = [old(other / scratch_name(), 400), old(other / "deep" / "x.csv", 400)]
    (home / "scratch" / "linked").symlink_to(other)
    assert terminal.run("doctor", "--fix") == 0, terminal.out + terminal.err
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs + elsewhere)
    (home / "scratch").rename(home / "was-scratch")
    (home / "scratch").symlink_to(other)
    (home / "shards").rename(home / "was-shards")
    (home / "shards").symlink_to(other)
    assert terminal.run("doctor", "--fix") == 1
    assert terminal.out.count("is a link") == 2
    assert all(path.exists() for path in elsewhere)


def test_logging_out_removes_a_login_and_nothing_else(terminal: Terminal) -> None:
    path = old(Path(os.environ["ATDATA_DATA"]) / "session", 1)
    assert terminal.run("logout") == 2
    assert path.read_bytes() == b"x" * 100


def test_the_doctor_reads_shards_when_asked(terminal: Terminal, index: LocalIndex) -> None:
    path = Path("rows-000000.tar")
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    assert terminal.run("doctor") == 0
    assert terminal.run("doctor", "--deep") == 1
    assert "not the bytes" in terminal.out


@pytest.mark.parametrize("believed", [False, True])
def test_a_verdict_is_hashed_now(terminal: Terminal, index: LocalIndex, believed: bool) -> None:
    """Eight bytes are altered and the time is put back; and then even what this machine believes says it is whole."""
    path, cache = Path("rows-000000.tar"), ShardCache(Path(os.environ["ATDATA_CACHE"]))
    assert terminal.run("verify", "@local/a/rows@1.0.0") == 0
    assert terminal.run("doctor", "--deep") == 0
    tamper(path)
    if believed:
        believe(cache, path, index.get_entry_by_name("a/rows", "1.0.0").shards[0])
    assert terminal.run("verify", "@local/a/rows@1.0.0") == 1
    assert "✓ verified" not in terminal.out
    assert "not the bytes" in terminal.err
    if believed:
        believe(cache, path, index.get_entry_by_name("a/rows", "1.0.0").shards[0])
    assert terminal.run("doctor", "--deep") == 1
    assert "not the bytes" in terminal.out


def tamper(path: Path) -> None:
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(600)
        file.write(b"tampered")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def believe(cache: ShardCache, path: Path, shard: ShardRef) -> None:
    """Let the ledger say that a file has the digest that it should have."""
    with path.open("rb") as file:
        places = scan_shard(file, path.stat().st_size, shard.url)
    cache.verified.record(state_of(path.stat()), shard.digest, places, time.time_ns() + 10**9)
    assert cache.verified.known(state_of(path.stat())).digest == str(shard.digest)


def test_the_doctor_reads_the_cache_when_asked(
    terminal: Terminal, index: LocalIndex, alice: DevAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(terminal, alice, monkeypatch)
    ref = terminal.json("promote", "b", "--to", "blobs", "--yes")["ref"]
    found = terminal.json("verify", ref)["splits"]["train"]
    assert (found["shards"], found["manifests"]) == (1, 1)
    assert terminal.run("verify", ref) == 0
    assert "manifests" in terminal.out
    cached = [file.path for file in ShardCache(Path(os.environ["ATDATA_CACHE"])).files()]
    assert len(cached) == 3, "the shard, and its manifest in two files"
    for path in cached:
        tamper(path)
    assert terminal.run("doctor") == 0
    assert terminal.run("doctor", "--deep") == 1
    assert terminal.out.count("not what was fetched") == 3
    assert terminal.run("verify", ref) == 0, (
        "what is here is no good: all was had from the server, and is what it must be"
    )
    assert terminal.run("doctor", "--deep") == 0
    tamper(cached[0])
    assert terminal.run("doctor", "--deep", "--fix") == 0
    assert not cached[0].exists()


def test_what_is_promoted_is_hashed_now(
    terminal: Terminal, index: LocalIndex, alice: DevAccount, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = Path("third-000000.tar"), ShardCache(Path(os.environ["ATDATA_CACHE"]))
    shard = index.get_entry_by_name("b").shards[0]
    log_in(terminal, alice, monkeypatch)
    tamper(path)
    believe(cache, path, shard)
    assert terminal.run("promote", "b", "--to", "blobs", "--yes") == 1
    assert AtmosphereIndex(devnet.client()).list_datasets(alice.did) == []
    believe(cache, path, shard)
    again = LocalIndex("other.sqlite")
    entry = again.insert_dataset(atdata.Dataset[Row]([str(path)]), name="as-it-is")
    assert entry.shards[0].digest == Digest.of_file(path)


def test_the_doctor_sees_an_altered_record(terminal: Terminal, index: LocalIndex) -> None:
    import sqlite3

    path = Path(os.environ["ATDATA_DATA"]) / "index.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE atdata_records SET value = replace(value, 'third', 'Third') WHERE value LIKE '%third%'")
        db.execute("UPDATE atdata_records SET value = x'a0' WHERE number = 1")
    db.close()
    assert terminal.run("doctor") == 1
    assert "altered" in terminal.out


def test_the_doctor_ends_unfinished_uploads(
    terminal: Terminal, index: LocalIndex, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_server.client.create_multipart_upload(Bucket=bucket, Key=f"team/{'0' * 64}.tar")
    Path("keys.env").write_text("".join(f"{k}={v}\n" for k, v in s3_server.credentials.items()))
    theirs = s3_server.client.create_multipart_upload(Bucket=bucket, Key="team/video.mp4")
    arguments = ["doctor", "--store", f"s3://{bucket}/team", "--credentials", "keys.env"]
    assert terminal.run(*arguments) == 0, "it may still be going on"
    unfinished = S3DataStore.unfinished
    monkeypatch.setattr(S3DataStore, "unfinished", lambda self: unfinished(self, older_than=-ONE_DAY))
    assert terminal.run(*arguments) == 1
    assert s3_server.unfinished(bucket)
    assert terminal.run(*arguments, "--fix") == 0
    assert s3_server.unfinished(bucket) == [theirs["Key"]], "somebody else's goes on"


def test_what_is_said_is_changed(terminal: Terminal, index: LocalIndex) -> None:
    before = index.get_dataset("a/rows@1.0.0")
    ref = "a/rows@1.0.0"
    done = terminal.json("index", "update", ref, "--license", "MIT", "--metadata", "n=2", "--metadata", "t=some text")
    assert (done["license"], done["metadata"]) == ("MIT", {"k": 0.5, "n": 2, "t": "some text"})
    assert terminal.run("index", "update", ref, "--tag", "y", "--tag", "z", "--metadata", "k=null") == 0, terminal.err
    assert terminal.out.strip() == "a/rows: changed tags, metadata"
    after = index.get_dataset(ref)
    assert (after.tags, after.license, after.metadata) == (("y", "z"), "MIT", {"n": 2, "t": "some text"})
    assert (after.uri, after.index_keys) == (before.uri, before.index_keys)
    assert terminal.run("index", "update", ref, "--clear", "tags", "--clear", "metadata", "--description", "") == 0
    cleared = index.get_dataset(ref)
    assert (cleared.tags, cleared.metadata, cleared.description) == ((), {}, "")


@pytest.mark.parametrize(
    "arguments", [[], ["--metadata", "k"], ["--metadata", "=1"], ["--tag", "a", "--clear", "tags"], ["--clear", "name"]]
)
def test_a_change_that_cannot_be_meant(terminal: Terminal, index: LocalIndex, arguments: list[str]) -> None:
    before = index.get_dataset("b")
    assert terminal.run("index", "update", "b", *arguments) == 2
    assert index.get_dataset("b") == before


@pytest.mark.filterwarnings("always::atdata.errors.NotTakenWarning")  # as they are where no test makes them errors
def test_what_is_said_of_a_published_dataset(
    terminal: Terminal, alice: DevAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert terminal.run("login", alice.handle) == 0
    rows(5)
    publish = ("publish", "rows-000000.tar", "--name", "rows", "--yes")
    assert terminal.run(*publish, "--license", "MIT") == 0, terminal.err
    assert terminal.run("index", "update", f"@{alice.handle}/rows", "--license", "CC0-1.0") == 0, terminal.err
    assert terminal.run(*publish, "--license", "MIT") == 0
    assert terminal.err.startswith("note: 'rows' is listed already and stands as it is; not taken: license")
    assert ".py" not in terminal.err


def test_schemas_are_compared(terminal: Terminal, devnet: Devnet) -> None:
    @atdata.packable
    class Wide:
        x: NDArray[np.float32]
        n: int
        note: str | None

    @atdata.packable
    class Other:
        x: NDArray[np.float64]
        m: int

    index = LocalIndex()
    for each in (Row, Wide, Other):
        index.publish_schema(each, name="Row")
    found = terminal.json("schema", "diff", "Row@1.0.0", "Row@1.1.0")
    assert (found["compatibility"], found["step"]) == ("full", "minor")
    assert found["fields"][2] == {
        "name": "note", "before": None, "after": "str | None", "compatibility": "full", "reason": "added",
    }  # fmt: skip
    assert terminal.run("schema", "diff", "Row@1.0.0", "atdata://local/schema/Row@2.0.0") == 0
    for word in (
        "removed, or renamed to m",
        "NDArray[float32] became NDArray[float64]",
        "none: neither",
        "a major version",
    ):
        assert word in terminal.out
    assert terminal.run("schema", "diff", "Row@1.0.0", "Row@1.1.0", "--require", "full_transitive") == 0
    assert terminal.run("schema", "diff", "Row@1.0.0", "Row", "--require", "backward") == 1
    assert terminal.run("schema", "diff", "Row@1.0.0", "Row", "--require", "sideways") == 2
    assert terminal.run("schema", "diff", "Row@1.0.0", "Row@9.0.0") == 4

    atdata.write_samples([Wide(np.zeros(2, np.float32), 1, None)], "wide.tar")
    found = terminal.json("schema", "diff", "wide.tar", "./wide.tar")
    assert (found["compatibility"], found["step"]) == ("identical", None)
    client = devnet.client(devnet.create_account(fresh_handle()))
    uri = AtmosphereIndex(client).publish_schema(Wide)
    assert terminal.json("schema", "diff", "Row", str(uri))["step"] == "major"


def test_a_lens_is_proposed_where_a_change_stops_readers(terminal: Terminal) -> None:
    @atdata.packable
    class Lab:
        wavelength: Annotated[float, Unit("nm")]
        operator: str

    @atdata.packable
    class LabInUm:
        wave_length: Annotated[float, Unit("um")]
        operator: str

    @atdata.packable
    class LabInParts:
        wave_length: Annotated[float, Unit("um")]
        first: str
        last: str

    index = LocalIndex()
    for each in (Lab, LabInUm, LabInParts):
        index.publish_schema(each, name="Lab")
    assert terminal.run("schema", "diff", "Lab@1.0.0", "Lab@2.0.0", "--lens", "lens.json") == 0
    for said in ("This lens is proposed; its laws held on", '"to": "wave_length"}', "nm became um, which is exact"):
        assert said in terminal.out
    program = Program.parse(Path("lens.json").read_text())
    found = terminal.json("schema", "diff", "Lab@1.0.0", "Lab@2.0.0")["lens"]
    assert found["program"] == program.value
    assert found["questions"] == []
    assert DataLens(program, Lab, LabInUm)(Lab(500.0, "Ada King")).wave_length == 0.5

    assert terminal.run("schema", "diff", "Lab@1.0.0", "Lab@2.0.0", "--lens", "lens.json") == 2, (
        "nothing is overwritten"
    )
    assert terminal.run("schema", "diff", "Lab@2.0.0", "Lab@3.0.0", "--lens", "parts.json") == 2
    assert "No lens is proposed before somebody answers" in terminal.err
    assert not Path("parts.json").exists()
    assert terminal.run("schema", "diff", "Lab@2.0.0", "Lab@3.0.0") == 0
    for said in ('"separator": ?1(" ")', "?1 it is a guess that first, last are parts of operator"):
        assert said in terminal.out
    found = terminal.json("schema", "diff", "Lab@2.0.0", "Lab@3.0.0")["lens"]
    assert (found["program"], len(found["questions"])) == (None, 1)
    assert terminal.json("schema", "diff", "Lab@3.0.0", "Lab@3.0.0")["lens"] is None
