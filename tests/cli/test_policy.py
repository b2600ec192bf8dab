"""`atdata policy check` prints the verdict of a policy, and its exit code is the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
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
