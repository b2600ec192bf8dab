"""Promise: `atdata lens` shows lenses and who verified them, and publishes a person's own word about one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import LensPublisher, SchemaPublisher
from atdata.lens import Program
from atdata.local import LocalIndex
from atdata.testing import DevAccount
from support import MANY
from support.networks import Network, list_records
from support.terminal import Terminal

KEEP = Program.of({"op": "drop", "field": "score"})
OTHER = Program.of({"op": "scale", "field": "score", "factor": 2}, *KEEP.value["steps"])


@atdata.packable
class Measured:
    label: str
    score: float


@atdata.packable
class Labelled:
    label: str


@atdata.packable
class Titled:
    title: str


@pytest.fixture
def lens(network: Network, alice: DevAccount, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
    schemas = SchemaPublisher(network.client(alice))
    ends = {"source_schema": schemas.publish(Measured), "target_schema": schemas.publish(Labelled)}
    code = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
    publisher = LensPublisher(network.client(alice))
    publisher.publish(name="\x1b[31mred", getter_code=code, **{**ends, "source_schema": ends["target_schema"]})
    facts = {"source_schema_version": "1.x", "description": "Keep the label."}
    return str(publisher.publish(name="keep", program=KEEP, **facts, **ends))


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(capsys, monkeypatch)


def test_lenses_are_shown_and_found(terminal: Terminal, lens: str, alice: DevAccount) -> None:
    assert terminal.run("lens", "show", lens) == 0
    for said in ("keep", alice.handle, "Keep the label.", "(1.x)", "atdata-lens 1, 1 step", str(KEEP.cid)):
        assert said in terminal.out
    shown = terminal.json("lens", "show", lens)
    assert (shown["uri"], shown["program"]["cid"]) == (lens, str(KEEP.cid))
    assert terminal.run("lens", "find", "--repo", f"@{alice.handle}") == 0
    assert lens in terminal.out
    assert "\x1b[31mred" not in terminal.out, "a stranger's text colours nothing"
    found = terminal.json("lens", "find", "--repo", alice.did, "--from", shown["sourceSchema"])
    assert [each["uri"] for each in found] == [lens]
    ends = ("--from", shown["sourceSchema"], "--to", shown["sourceSchema"])
    assert terminal.json("lens", "find", "--repo", alice.did, *ends) == []
    assert terminal.run("lens", "find", "--repo", alice.did, "--to", shown["targetSchema"]) == 2
    assert terminal.run("lens", "show", f"{lens}x") == 4


def test_a_persons_verification_is_published_and_shown(
    network: Network, terminal: Terminal, lens: str, alice: DevAccount, bob: DevAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_PASSWORD", bob.password)
    assert terminal.run("login", bob.handle) == 0
    review = ("lens", "verify", lens, "--method", "codeReview")
    plan = terminal.json(*review)
    assert (plan["lens"], plan["verdict"]) == (lens, "holds")
    assert listed(bob) == [], "nothing is published unasked"
    assert terminal.run(*review, "--publish", "--json") == 2, "--json asks no questions"
    assert terminal.run(*review, "--publish", "--yes", "--description", "Read it.") == 0
    hashed = ("lens", "verify", lens, "--method", "signedHash", "--code-hash", f"sha256:{'0a' * 32}")
    proof = f"https://example.com/proofs@{'0' * 40}:proofs/keep.lean"
    assert terminal.json(*hashed, "--proof", proof, "--publish", "--yes")["method"] == "signedHash"
    assert [record["value"].get("proofRef", {}).get("path") for record in listed(bob)] == ["proofs/keep.lean", None]
    assert terminal.run("lens", "verifications", lens, "--by", f"@{bob.handle}", "--by", alice.did) == 0
    assert "2 of 3 lines count" in terminal.out
    assert "says nothing about this lens" in terminal.out
    LensPublisher(network.client(alice)).update(lens, program=OTHER)
    found = terminal.json("lens", "verifications", lens, "--by", bob.did)["verifications"]
    assert [(item["counts"], item["reason"]) for item in found] == [(False, "stale")] * 2
    assert terminal.run("lens", "verify", lens, "--method", "signedHash", "--publish", "--yes") == 2
    assert terminal.run("lens", "verify", lens, "--method", "vibes", "--publish", "--yes") == 2
    assert terminal.run("lens", "verify", lens, "--method", "formalProof", "--proof", "nothing") == 2


def listed(account: DevAccount) -> list[dict[str, Any]]:
    return list_records(account.pds_url, account.did, "science.alt.dataset.lensVerification")


DROP = '{"language": "atdata-lens", "version": 1, "steps": [{"op": "drop", "field": "score"}]}'
APART = '"op": "cast", "to": "int", "min": 5, "max": 6}, {"op": "cast", "to": "float", "min": 10, "max": 11'
NEVER = DROP.replace('"op": "drop", "field": "score"', APART.replace('"op"', '"field": "score", "op"'))


def test_a_program_is_tried_and_published(
    network: Network, terminal: Terminal, lens: str, alice: DevAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = terminal.json("lens", "show", lens)
    ends = ("--from", shown["sourceSchema"], "--to", shown["targetSchema"])
    good, never = tmp_path / "keep.json", tmp_path / "never.json"
    good.write_text(DROP)
    never.write_text(NEVER[:-2] + ', {"op": "drop", "field": "score"}]}')
    assert terminal.run("lens", "check", str(good), *ends) == 0
    for said in ("1. drop score", "loses: score is left out", "GetPut", "holds"):
        assert said in terminal.out
    assert terminal.run("lens", "check", str(never), *ends) == 1
    assert "nothing is known" in terminal.out
    assert terminal.run("lens", "check", str(good)) == 2
    assert terminal.run("lens", "check", str(tmp_path / "absent.json"), *ends) == 2
    assert terminal.json("lens", "check", lens, "--samples", "20")["verdict"] == "holds"

    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert terminal.run("login", alice.handle) == 0
    before = len(list_records(alice.pds_url, alice.did, "science.alt.dataset.lens"))
    assert terminal.run("lens", "publish", str(never), "--name", "never", *ends, "--yes") == 0
    assert "nothing is known" in terminal.out + terminal.err, "its author may know better"
    assert len(list_records(alice.pds_url, alice.did, "science.alt.dataset.lens")) == before + 1
    made = terminal.json("lens", "publish", str(good), "--name", "kept", *ends, "--yes")
    assert (made["verdict"], terminal.json("lens", "show", made["uri"])["name"]) == ("holds", "kept")


def test_a_test_is_published_and_repeated(
    terminal: Terminal, lens: str, bob: DevAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By anybody, on the same samples."""
    monkeypatch.setenv("ATDATA_PASSWORD", bob.password)
    assert terminal.run("login", bob.handle) == 0
    assert terminal.run("lens", "verify", lens) == 0
    assert "Nothing is published" in terminal.out
    assert listed(bob) == []
    assert terminal.run("lens", "verify", lens, "--verdict", "holds") == 2, "it finds that itself"
    found = terminal.json("lens", "verify", lens, "--samples", "30", "--publish", "--yes")
    assert (found["verdict"], found["trial"]["samples"], found["trial"]["language"]) == ("holds", 30, "atdata-lens 1")
    (record,) = [record["value"] for record in listed(bob)]
    assert (record["verificationMethod"], record["verdict"], record["trial"]) == (
        "automatedTest",
        "holds",
        found["trial"],
    )
    again = terminal.json("lens", "repeat", found["uri"])
    assert (again["said"], again["verdict"], again["trial"]) == ("holds", "holds", found["trial"])
    assert again["laws"] == found["laws"]
    assert terminal.run("lens", "repeat", found["uri"]) == 0
    assert "as it was said: holds" in terminal.out
    said = ("lens", "verify", lens, "--method", "codeReview", "--publish", "--yes")
    assert terminal.run("lens", "repeat", terminal.json(*said)["uri"]) == 2


def test_a_way_is_explained(terminal: Terminal, lens: str, alice: DevAccount) -> None:
    shown = terminal.json("lens", "show", lens)
    ends = (shown["sourceSchema"], "--to", shown["targetSchema"])
    assert terminal.run("lens", "explain", *ends) == 0
    for said in ("keep", "score is left out", "passed over"):
        assert said in terminal.out
    (way,) = terminal.json("lens", "explain", *ends)["lenses"]
    assert (way["name"], way["verified"], way["losses"]) == ("keep", False, ["score is left out"])
    back = (shown["targetSchema"], "--to", shown["sourceSchema"])
    assert terminal.run("lens", "explain", *back) == 4
    assert "no lens leads from Labelled 1.0.0 to Measured" in terminal.err


NONSENSE = ["zz", "", "at://", "../nowhere/zz", "a" * 300]
ENDS = ("--from", "{source}", "--to", "{target}")
SWEPT: dict[str, tuple[str, ...]] = {  # {} is where nonsense is put
    "show": ("lens", "show", "{}"),
    "find --repo": ("lens", "find", "--repo", "{}"),
    "find --repo, the second": ("lens", "find", "--repo", "{owner}", "--repo", "{}"),
    "find --from": ("lens", "find", "--repo", "{owner}", "--from", "{}"),
    "find --to": ("lens", "find", "--repo", "{owner}", "--from", "{source}", "--to", "{}"),
    "check": ("lens", "check", "{}"),
    "check, between": ("lens", "check", "{}", *ENDS),
    "check --from": ("lens", "check", "{file}", "--from", "{}", "--to", "{target}"),
    "check --to": ("lens", "check", "{file}", "--from", "{source}", "--to", "{}"),
    "check --index": ("lens", "check", "{file}", *ENDS, "--index", "{}"),
    "check --samples": ("lens", "check", "{lens}", "--samples", "{}"),
    "check of an address --from": ("lens", "check", "{lens}", "--from", "{}"),
    "check of an address --to": ("lens", "check", "{lens}", "--to", "{}"),
    "check of an address --index": ("lens", "check", "{lens}", "--index", "{}"),
    "explain": ("lens", "explain", "{}", "--to", "{target}"),
    "explain --to": ("lens", "explain", "{source}", "--to", "{}"),
    "explain --repo": ("lens", "explain", "{source}", "--to", "{target}", "--repo", "{}"),
    "explain --policy": ("lens", "explain", "{source}", "--to", "{target}", "--policy", "{}"),
    "explain --index": ("lens", "explain", "{source}", "--to", "{target}", "--index", "{}"),
    "publish": ("lens", "publish", "{}", "--name", "n", *ENDS, "--yes"),
    "publish --from": ("lens", "publish", "{file}", "--name", "n", "--from", "{}", "--to", "{target}", "--yes"),
    "publish --to": ("lens", "publish", "{file}", "--name", "n", "--from", "{source}", "--to", "{}", "--yes"),
    "publish --source-versions": (
        "lens",
        "publish",
        "{file}",
        "--name",
        "n",
        *ENDS,
        "--source-versions",
        "!{}",
        "--yes",
    ),
    "verify": ("lens", "verify", "{}"),
    "verify --method": ("lens", "verify", "{lens}", "--method", "{}"),
    "verify --verdict": ("lens", "verify", "{lens}", "--verdict", "{}"),
    "verify --code-hash": ("lens", "verify", "{lens}", "--code-hash", "{}"),
    "verify --proof": ("lens", "verify", "{lens}", "--proof", "{}"),
    "verify --samples": ("lens", "verify", "{lens}", "--samples", "{}"),
    "verify by review --verdict": ("lens", "verify", "{lens}", "--method", "codeReview", "--verdict", "{}"),
    "verify by review --code-hash": ("lens", "verify", "{lens}", "--method", "codeReview", "--code-hash", "{}"),
    "verify by review, a digest": ("lens", "verify", "{lens}", "--method", "codeReview", "--code-hash", "sha256:{}"),
    "verify by review --proof": ("lens", "verify", "{lens}", "--method", "codeReview", "--proof", "{}"),
    "verify by review, a commit": ("lens", "verify", "{lens}", "--method", "codeReview", "--proof", "https://x@{}:y"),
    "verify by review --samples": ("lens", "verify", "{lens}", "--method", "codeReview", "--samples", "7{}"),
    "verify by review --seed": ("lens", "verify", "{lens}", "--method", "codeReview", "--seed", "{}"),
    "verify by a hash": ("lens", "verify", "{lens}", "--method", "signedHash", "--description", "{}"),
    "repeat": ("lens", "repeat", "{}"),
    "verifications": ("lens", "verifications", "{}", "--by", "{owner}"),
    "verifications --by": ("lens", "verifications", "{lens}", "--by", "{}"),
    "verifications --by, a name": ("lens", "verifications", "{lens}", "--by", "nobody{}.invalid"),
    "verifications --by, a DID": ("lens", "verifications", "{lens}", "--by", "{owner}", "--by", "did:plc:" + "a" * 24),
    "policy check": ("policy", "check", "{}", "--policy", "{file}"),
    "policy check --policy": ("policy", "check", "@nobody.invalid/x", "--policy", "{}"),
    "schema diff": ("schema", "diff", "{}", "{target}"),
    "schema diff, the second": ("schema", "diff", "{source}", "{}"),
    "schema diff --require": ("schema", "diff", "{source}", "{target}", "--require", "{}"),
    "schema diff --lens": ("schema", "diff", "{source}", "{target}", "--lens", "nowhere/at/{}x"),
    "schema diff --index": ("schema", "diff", "{source}", "{target}", "--index", "{}"),
}


@pytest.mark.parametrize(
    "network", ["devnet", *([pytest.param("pds", marks=pytest.mark.served)] if MANY else [])], indirect=True
)
@pytest.mark.parametrize("what", SWEPT)
def test_nonsense_is_no_success(
    terminal: Terminal, lens: str, alice: DevAccount, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no fault: it ends with the exit code of its cause, and says why."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert terminal.run("login", alice.handle) == 0
    shown = terminal.json("lens", "show", lens)
    (tmp_path / "keep.json").write_text(DROP)
    known = {"lens": lens, "owner": alice.did, "source": shown["sourceSchema"], "target": shown["targetSchema"]}
    before = len(list_records(alice.pds_url, alice.did, "science.alt.dataset.lens")), listed(alice)
    for nonsense in NONSENSE:
        code = terminal.run(*(part.format(nonsense, file="keep.json", **known) for part in SWEPT[what]))
        assert code in (1, 2, 4), (nonsense, code, terminal.out, terminal.err)
        if "cannot be proven" not in terminal.out:  # which a table says
            assert terminal.err.startswith("✗ "), (nonsense, terminal.err)
        assert "Traceback" not in terminal.err
    assert before == (len(list_records(alice.pds_url, alice.did, "science.alt.dataset.lens")), listed(alice))


def test_what_may_be_meant_is_no_nonsense(terminal: Terminal, lens: str, alice: DevAccount) -> None:
    shown = terminal.json("lens", "show", lens)
    by_handle = shown["sourceSchema"].replace(alice.did, alice.handle)
    assert [each["uri"] for each in terminal.json("lens", "find", "--repo", alice.did, "--from", by_handle)] == [lens]
    assert terminal.run("lens", "verify", lens, "--seed", "x", "--samples", "5", "--description", "d") == 0
    assert terminal.run("lens", "verifications", lens, "--by", alice.did) == 0, "that nobody verified it is an answer"
    both = ("--by", alice.did, "--by", "nobody.invalid", "--json")
    assert terminal.run("lens", "verifications", lens, *both) == 1
    assert [item["reason"] for item in json.loads(terminal.out)["verifications"]] == ["absent", "unproven"]


def test_lenses_of_ones_own_index_are_found_and_explained(
    terminal: Terminal, lens: str, alice: DevAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a dataset of one's own and for a schema of the network; each with where it is from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATDATA_INDEX_URL", "team.sqlite")
    index = LocalIndex("team.sqlite")
    data = atdata.write_samples([Measured("a", 1.0)], "measured.tar")
    index.insert_dataset(data, name="measured")
    renamed = {"op": "rename", "field": "label", "to": "title"}
    ends = {"source_schema": index.publish_schema(Measured), "target_schema": index.publish_schema(Titled)}
    uri = index.publish_lens(name="titled", program=KEEP | Program.of(renamed), **ends)
    assert terminal.run("lens", "find") == 0
    for said in ("titled", "your own index", str(uri)):
        assert said in terminal.out
    found = terminal.json("lens", "find", "--repo", "local", "--repo", f"@{alice.handle}")
    assert found[0]["name"] == "titled"
    assert lens in [record["uri"] for record in found]
    assert terminal.json("lens", "find", "--from", "Titled") == []
    assert len(terminal.json("lens", "find", "--from", "Measured", "--to", "Titled")) == 1
    for ref in (
        "@local/measured",
        "measured",
        str(ends["source_schema"]),
        terminal.json("lens", "show", lens)["sourceSchema"],
    ):
        (way,) = terminal.json("lens", "explain", ref, "--to", "Titled")["lenses"]
        assert (way["name"], way["from"], way["lens"].partition("#")[0]) == ("titled", "your own index", str(uri))
    assert terminal.run("lens", "explain", "measured", "--to", "Titled") == 0
    assert "your own index" in terminal.out
    assert terminal.run("lens", "explain", "nothing", "--to", "Titled") == 4
    index.records.database.close()
