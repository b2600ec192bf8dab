"""`atdata policy check` prints the verdict of a policy, and its exit code is the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, LensPublisher, PDSBlobStore, SchemaPublisher, VerificationPublisher
from atdata.lens import Program
from atdata.local import LocalIndex
from atdata.testing import Devnet, Labeler
from support.networks import fresh_handle
from support.terminal import Terminal


@atdata.packable
class Reading:
    value: float


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, devnet: Devnet, tmp_path: Path
) -> Terminal:
    monkeypatch.chdir(tmp_path)
    for name, value in devnet.environment.items():
        monkeypatch.setenv(name, value)
    return Terminal(capsys, monkeypatch)


@pytest.fixture
def ref(devnet: Devnet, terminal: Terminal) -> str:
    owner = devnet.create_account(fresh_handle())
    client = devnet.client(owner)
    rows = atdata.write_samples([Reading(1.0)], "data.tar")
    AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(rows, name="data", version="1.0.0")
    return f"@{owner.handle}/data"


@pytest.fixture
def labeler(devnet: Devnet) -> Labeler:
    labeler = devnet.create_labeler()
    Path("policy.toml").write_text(f'name = "ours"\n[[forbid]]\nlabels = ["retracted"]\nlabelers = ["{labeler.did}"]\n')
    return labeler


def test_the_verdict_is_a_table_and_an_exit_code(
    terminal: Terminal, devnet: Devnet, ref: str, labeler: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = sum("getBlob" in line for server in devnet.pds_servers for line in server.requests)
    assert terminal.run("policy", "check", ref, "--policy", "policy.toml") == 0, terminal.err
    assert "✓ allowed" in terminal.out
    said = terminal.json("policy", "check", ref, "--policy", "policy.toml")
    assert said["allowed"] is True
    assert {finding["rule"] for finding in said["findings"]} == {"proven", "no retracted"}
    labeler.label(said["record"], "retracted")
    monkeypatch.setenv("ATDATA_POLICY", "policy.toml")
    assert terminal.run("policy", "check", f"{ref}@1.0.0") == 1
    assert "✗ refused" in terminal.out
    for part in (said["record"], said["cid"], "ours", labeler.did, labeler.key.public.did_key):
        assert part in " ".join(terminal.out.split()).replace(" ", "") or part in terminal.out
    assert terminal.run("policy", "check", said["record"], "--json") == 1
    assert sum("getBlob" in line for server in devnet.pds_servers for line in server.requests) == shards


def test_other_commands_obey_the_policy_of_the_environment(
    terminal: Terminal, ref: str, labeler: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_POLICY", "policy.toml")
    assert terminal.run("show", ref) == 0, terminal.err
    Path("policy.toml").write_text('publishers = ["did:web:elsewhere.test"]\n')
    for command in ("show", "verify"):
        assert terminal.run(command, ref) == 1
        assert "a trust policy refuses a dataset" in terminal.err


def test_what_cannot_be_judged_is_told(terminal: Terminal, ref: str) -> None:
    assert terminal.run("policy", "check", ref) == 2
    assert "ATDATA_POLICY" in terminal.err
    for other in ("data.tar", "@local/data"):
        assert terminal.run("policy", "check", other, "--policy", "policy.toml") == 2
    assert terminal.run("policy", "check", ref, "--policy", "missing.toml") == 2
    Path("policy.toml").write_text("publisher = 1\n")
    assert terminal.run("policy", "check", ref, "--policy", "policy.toml") == 2
    Path("policy.toml").write_text("")
    assert terminal.run("policy", "check", f"{ref}x", "--policy", "policy.toml") == 4


@atdata.packable
class Kept:
    number: float


@atdata.packable
class Shown:
    amount: float


TO_KEPT, TO_SHOWN = (
    Program.of({"op": "rename", "field": field, "to": to}) for field, to in (("value", "number"), ("number", "amount"))
)


def test_with_a_type_the_lenses_on_the_way_are_judged(terminal: Terminal, devnet: Devnet, ref: str) -> None:
    """Those of the network and of one's own index, as loading judges them, and before a shard is asked for."""
    lab, bob = devnet.create_account(fresh_handle()), devnet.create_account(fresh_handle())
    schemas = SchemaPublisher(devnet.client(lab))
    ends = {"source_schema": schemas.publish(Kept), "target_schema": schemas.publish(Shown)}
    uri = LensPublisher(devnet.client(lab)).publish(name="public", program=TO_SHOWN, **ends)
    Path("types_of_mine.py").write_text(
        "import atdata\n@atdata.packable\nclass Shown:\n    amount: float\n@atdata.packable\nclass Far:\n    far: str\n"
    )
    Path("policy.toml").write_text(f'name = "ours"\n[[verify]]\nverifiers = ["local", "{bob.did}"]\n')
    shards = sum("getBlob" in line for server in devnet.pds_servers for line in server.requests)
    check = ("policy", "check", ref, "--policy", "policy.toml")
    judged = (*check, "--type", "types_of_mine:Shown", "--repo", f"@{lab.handle}", "--index", "team.sqlite")
    assert terminal.run(*check) == 0, "nothing is on the way"
    assert terminal.run(*judged) == 2, "there is no such index"
    assert not Path("team.sqlite").exists()
    index = LocalIndex("team.sqlite")
    assert index.list_lenses() == []
    assert terminal.run(*judged) == 1
    assert "no lens leads from Reading 1.0.0 to Shown" in terminal.err

    own = {"source_schema": index.publish_schema(Reading), "target_schema": index.publish_schema(Kept)}
    here = index.publish_lens(name="own", program=TO_KEPT, **own)
    assert terminal.run(*judged) == 1
    for part in ("your own index", lab.handle, "0 of the 1 verifiers", str(here), str(uri), "✗ refused"):
        assert part in terminal.out
    index.publish_verification("own", "codeReview")
    assert terminal.run(*judged) == 1
    VerificationPublisher(devnet.client(bob)).publish(uri, "codeReview")
    said = terminal.json(*judged)
    assert [(lens["name"], lens["from"], lens["verified"]) for lens in said["lenses"]] == [
        ("own", "your own index", True),
        ("public", lab.did, True),
    ]
    rules = [finding["fact"] for finding in said["findings"] if finding["rule"] == "verified lenses"]
    assert {"local by codeReview: it holds", f"{bob.did} by codeReview: it holds"} <= set(rules)
    assert terminal.run(*(part.replace("Shown", "Absent") for part in judged)) == 2
    assert terminal.run(*(part.replace("Shown", "Far") for part in judged)) == 1
    index.publish_verification("own", "formalProof", verdict="fails")
    assert terminal.run(*judged) == 1
    assert "it fails" in terminal.out
    assert sum("getBlob" in line for server in devnet.pds_servers for line in server.requests) == shards
    index.records.database.close()


def test_a_type_that_reads_the_samples_needs_no_lens(terminal: Terminal, ref: str, labeler: Labeler) -> None:
    LocalIndex("team.sqlite").publish_schema(Reading)
    said = terminal.json(
        "policy", "check", ref, "--policy", "policy.toml", "--type", "Reading", "--index", "team.sqlite"
    )
    assert said["allowed"]
    assert "lenses" not in said
    for code in ("https://h/r", "https://h/r@main=sha256:0"):
        options = ("--type", "Reading", "--index", "team.sqlite", "--allow-code", code)
        assert terminal.run("policy", "check", ref, "--policy", "policy.toml", *options) == 2


def test_options_about_lenses_need_a_type(terminal: Terminal, ref: str) -> None:
    for option in ("--allow-code", "--repo", "--index"):
        assert terminal.run("policy", "check", ref, option, "x") == 2
        assert option in terminal.err
        assert "--type" in terminal.err
