"""Lenses of one's own index are found beside those of the network, tried like them, and judged by the same policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata import load_dataset
from atdata.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    LensLoader,
    LensPublisher,
    PDSBlobStore,
    SchemaPublisher,
    VerificationPublisher,
)
from atdata.atmosphere.lens_candidates import LensCandidates
from atdata.atmosphere.lens_network import LensNetwork
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import AmbiguousLensError, CompatibilityError, IdentityError, NotFoundError, PolicyError, UsageError
from atdata.lens import Program
from atdata.local import LocalIndex
from atdata.policy import Forbid, Policy, Verify
from atdata.records import Schema
from atdata.testing import DevAccount, Devnet
from support.networks import Network, fresh_handle, list_records, post

TITLE = {"op": "rename", "field": "label", "to": "title"}
DROP = Program.of({"op": "drop", "field": "note"}, TITLE)
RENAME = Program.of({"op": "rename", "field": "title", "to": "name"})
LAWLESS = Program.of(  # no sample has a view
    {"op": "map", "field": "note", "values": [["a", "b"]], "type": {"type": "string"}},
    {"op": "map", "field": "note", "values": [["c", "d"]], "type": {"type": "string"}},
    *DROP.value["steps"],
)


@atdata.packable
class Noted:
    label: str
    note: str


@atdata.packable
class Plain:
    title: str


@atdata.packable
class Named:
    name: str


def local(**facts: Any) -> Policy:
    """A policy that takes the word of one's own index."""
    return Policy(verify=(Verify(("local",), **facts),))


@dataclass
class Team:
    """A dataset of the network, in a type that two lenses lead from; and a team's index of a stranger to it."""

    network: Network
    account: DevAccount
    lab: AtmosphereClient
    ref: str
    schema: AtUri
    client: AtmosphereClient
    index: LocalIndex

    def keep(self, program: Program, source: type, target: type, name: str = "own", **facts: Any) -> AtUri:
        """List a lens in the team's index."""
        ends = {"source_schema": self.index.publish_schema(source), "target_schema": self.index.publish_schema(target)}
        return self.index.publish_lens(name=name, program=program, **{**ends, **facts})

    def publish(self, program: Program, source: type, target: type, rkey: str = "public", **facts: Any) -> AtUri:
        """Publish a lens under the lab's account."""
        schemas = SchemaPublisher(self.lab)
        ends = {"source_schema": schemas.publish(source), "target_schema": schemas.publish(target)}
        return LensPublisher(self.lab).publish(name=rkey, program=program, rkey=rkey, **{**ends, **facts})

    def load(self, sample_type: type = Named, ref: str | None = None, **options: Any) -> Any:
        options = {"index": self.index, "client": self.client, **options}
        return load_dataset(ref or self.ref, sample_type, split="train", **options)

    def insert(self, folder: Path) -> str:
        """List a dataset of the team's own."""
        self.index.insert_dataset(atdata.write_samples([Noted("a", "x")], folder / "own.tar"), name="own")
        return "@local/own"


@pytest.fixture
def team(network: Network, tmp_path: Path) -> Iterator[Team]:
    lab = network.create_account(fresh_handle())
    client = network.client(lab)
    data = atdata.write_samples([Noted("a", "x"), Noted("b", "y")], tmp_path / "train.tar")
    store = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    entry = store.insert_dataset(data, name="noted")
    index = LocalIndex(tmp_path / "team.sqlite")
    yield Team(network, lab, client, f"@{lab.handle}/noted", entry.schema_ref, network.client(), index)
    index.records.database.close()


def test_a_lens_of_ones_own_index_is_found(team: Team) -> None:
    """For a dataset of the network, alone and before or after lenses of the network."""
    with pytest.raises(CompatibilityError):
        team.load(Plain)
    team.keep(DROP, Noted, Plain)
    assert list(team.load(Plain).ordered()) == [Plain("a"), Plain("b")]
    with pytest.raises(CompatibilityError):
        team.load(Plain, index=None)
    team.publish(RENAME, Plain, Named)
    assert list(team.load(lenses=[str(team.lab.did)]).ordered()) == [Named("a"), Named("b")]


def test_the_index_of_the_settings_is_looked_into(team: Team, tmp_path: Path) -> None:
    """And made by nobody's looking."""
    with pytest.raises(CompatibilityError):
        team.load(Plain, index=None)
    assert not team.client.settings.index_file.exists()
    team.keep(DROP, Noted, Plain)
    client = AtmosphereClient(**{**vars_of(team), "index_url": str(tmp_path / "team.sqlite")})
    assert len(load_dataset(team.ref, Plain, split="train", client=client)) == 2


def vars_of(team: Team) -> dict[str, Any]:
    settings = team.client.settings
    return {
        "plc_url": settings.plc_url,
        "resolver_url": ",".join(settings.resolver_urls),
        "allow_loopback": True,
        "cache": settings.cache,
        "data": settings.data,
    }


def test_a_dataset_of_ones_own_index_is_seen_through_lenses(team: Team, tmp_path: Path) -> None:
    """Through its own ones, and those of the network that are given."""
    ref = team.insert(tmp_path)
    with pytest.raises(CompatibilityError, match="Plain"):
        team.load(Plain, ref)
    team.keep(DROP, Noted, Plain)
    assert list(team.load(Plain, ref).ordered()) == [Plain("a")]
    assert list(team.load(Plain, "own").ordered()) == [Plain("a")]
    with pytest.raises(CompatibilityError) as raised:
        team.load(Named, ref)
    assert "no lens leads from Noted 1.0.0 to Named (known from Noted 1.0.0: Plain 1.0.0)" in str(raised.value)
    uri = team.publish(RENAME, Plain, Named)
    assert list(team.load(Named, ref, lenses=[str(uri)]).ordered()) == [Named("a")]


def test_its_laws_are_tried_as_those_of_any_other(team: Team) -> None:
    uri = team.keep(LAWLESS, Noted, Plain)
    with pytest.raises(CompatibilityError) as raised:
        team.load(Plain)
    assert f"Passed over: {uri}#" in str(raised.value)
    assert "nothing is known of its laws" in str(raised.value)


def test_what_breaks_its_laws_is_in_nobodys_way(team: Team) -> None:
    """A lens that is as good as another but for that is not compared with it."""
    team.publish(LAWLESS, Noted, Plain, "broken")
    team.publish(DROP, Noted, Plain, "whole")
    assert len(team.load(Plain)) == 2


def test_of_ways_that_are_as_good_that_of_ones_own_index_is_taken(team: Team) -> None:
    """Nobody who publishes another keeps one from what one has chosen."""
    team.publish(OTHER, Noted, Plain)
    assert team.load(Plain)[0] == Plain("x")
    team.keep(DROP, Noted, Plain)
    assert team.load(Plain)[0] == Plain("a")


OTHER = Program.of({"op": "drop", "field": "label"}, {"op": "rename", "field": "note", "to": "title"})


def test_of_several_lenses_of_ones_own_index_one_is_chosen_by_its_address(team: Team, tmp_path: Path) -> None:
    """And one of the network before all of them; the error names the addresses."""
    ref = team.insert(tmp_path)
    one, other = team.keep(DROP, Noted, Plain), team.keep(OTHER, Noted, Plain, "other")
    for place in (ref, team.ref):
        with pytest.raises(AmbiguousLensError) as raised:
            team.load(Plain, place)
        assert all(f"{team.index.get_lens(uri).located}#bafyrei" in str(raised.value) for uri in (one, other))
        assert team.load(Plain, place, lenses=[str(one)])[0] == Plain("a")
        assert team.load(Plain, place, lenses=[str(other)])[0] == Plain("x")
    public = team.publish(OTHER, Noted, Plain)
    team.index.records.delete([team.index.get_lens(other)])
    assert team.load(Plain)[0] == Plain("a")
    assert team.load(Plain, lenses=[str(public)])[0] == Plain("x")


def test_what_names_no_lens_is_an_error_also_where_none_is_needed(team: Team, tmp_path: Path) -> None:
    ref, uri = team.insert(tmp_path), team.keep(DROP, Noted, Plain)
    for nothing in ("own", "not a thing", "", "local", str(team.schema), f"at://{team.lab.did}"):
        for place, kind in ((ref, Plain), (team.ref, Plain), (ref, Noted), (team.ref, Noted), ("own.tar", Noted)):
            with pytest.raises(UsageError, match="lenses"):
                team.load(kind, place, lenses=[nothing])
    absent = AtUri(f"at://{uri.authority}/{uri.collection}/3jzfcijpj2z2a")
    for nobody in ("nobody.test", str(absent), str(absent.with_authority(team.lab.did))):
        with pytest.raises((NotFoundError, IdentityError)):
            team.load(Plain, lenses=[nobody])
    with pytest.raises(UsageError, match="none is searched"):
        team.load(Plain, index=None, lenses=[str(uri)])


def test_a_stranger_cannot_name_what_is_in_ones_own_index(team: Team) -> None:
    """What a record of the network calls at://atdata.local is nothing."""
    team.keep(RENAME, Plain, Named)
    uri = team.publish(DROP, Noted, Plain)
    account = team.account
    (found,) = list_records(account.pds_url, account.did, str(uri.collection))
    record = {**found["value"], "targetSchema": str(team.index.get_schema("Plain").located)}
    session = {"identifier": account.handle, "password": account.password}
    token = post(account.pds_url, "com.atproto.server.createSession", session)["accessJwt"]
    place = {"repo": account.did, "collection": uri.collection, "rkey": uri.rkey, "validate": False}
    post(account.pds_url, "com.atproto.repo.putRecord", {**place, "record": record}, token)
    with pytest.raises(CompatibilityError) as raised:
        team.load()
    assert "a schema that a lens names is not there" in str(raised.value)


def test_ranges_of_versions_are_honoured(team: Team) -> None:
    @atdata.packable
    class Later:
        label: str
        note: str
        more: str | None

    team.keep(DROP, Noted, Plain, source_schema_version="1.x", target_schema_version="1.x")
    schema = team.index.get_schema(team.index.publish_schema(Later, name="Noted"))
    assert schema.version == "1.1.0"
    edges = LensCandidates(team.client, own=team.index).edges(schema)
    assert not any(edge.place == "your own index" and edge.source == edge.target for edge in edges)
    both = Program.of({"op": "drop", "field": "note"}, {"op": "drop", "field": "more"}, TITLE)
    team.keep(both, Noted, Plain, "wide", source_schema=schema.located, source_schema_version="1.x")
    found = LensNetwork(team.client, own=team.index).find(schema, Plain)
    assert [edge.name for edge in found.way.edges] in (["own"], ["wide"]), "they do the same"


def test_fields_of_a_later_version_survive_a_put_through_a_lens_of_the_earlier_one(team: Team, tmp_path: Path) -> None:
    """It leaves them out; the sample of the dataset's own type keeps them."""

    @atdata.packable
    class Later:
        label: str
        note: str
        title: int
        """Named as a field of the view."""

    team.keep(DROP, Noted, Plain, source_schema_version=">=1.0.0 <3.0.0")
    uri = team.index.publish_schema(Later, name="Noted")
    data = atdata.write_samples([Later("a", "x", 7)], tmp_path / "later.tar")
    team.index.insert_dataset(data, name="later", schema_ref=uri)
    assert list(team.load(Plain, "@local/later").ordered()) == [Plain("a")]
    found = LensNetwork(team.client, own=team.index).find(team.index.get_schema(uri), Plain)
    assert "title is left out" in found.explain()
    (sample,) = team.load(None, "@local/later")
    changed = found.lens.put(Plain("b"), sample)
    assert (changed.label, changed.note, changed.title) == ("b", "x", 7)
    kept = found.lens.complement(sample)
    assert found.lens.restore(Plain("a"), kept).packed == sample.packed


def test_of_types_of_one_name_the_version_is_told_or_a_field(team: Team, tmp_path: Path) -> None:
    ref = team.insert(tmp_path)
    wanted: Any = atdata.packable(type("Noted", (), {"__annotations__": {"size": int}, "__module__": __name__}))
    with pytest.raises(CompatibilityError, match=r"no lens leads from Noted 1\.0\.0 to Noted with size: int"):
        team.load(wanted, ref)
    uri = team.index.publish_schema(wanted, version="2.0.0")
    for kind in (wanted, team.index.decode_schema(uri)):
        for place in (ref, team.ref):
            with pytest.raises(CompatibilityError, match=r"no lens leads from Noted 1\.0\.0 to Noted 2\.0\.0"):
                team.load(kind, place)


def test_an_index_that_cannot_be_read_is_passed_over(team: Team, tmp_path: Path) -> None:
    """By who needs none of its lenses; the policy that needs its word refuses."""
    uri = team.publish(DROP, Noted, Plain)
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database at all, " * 100)
    index = LocalIndex(broken)
    assert len(team.load(Plain, index=index)) == 2
    with pytest.raises(PolicyError) as raised:
        team.load(Plain, index=index, policy=local())
    assert "the verifications of local: the index cannot be read or written" in str(raised.value.verdict)
    assert str(uri) in str(raised.value.verdict)


def test_where_each_lens_is_from_is_told(team: Team) -> None:
    team.keep(DROP, Noted, Plain)
    team.publish(RENAME, Plain, Named)
    schema = team.client.read(team.schema, Schema)
    found = LensNetwork(team.client, [str(team.lab.did)], own=team.index).find(schema, Named)
    first, second = found.explain().splitlines()
    assert first.startswith("1. own: not verified; note is left out (at://atdata.local/")
    assert first.endswith(", your own index)")
    assert second.endswith(f", {team.lab.did})")


# --- policies


def test_a_policy_takes_the_word_of_ones_own_index_where_it_names_it(team: Team, bob: DevAccount) -> None:
    """About a lens of the index, and about one of the network, in its version."""
    own = team.keep(DROP, Noted, Plain)
    public = team.publish(RENAME, Plain, Named)
    options = {"lenses": [str(team.lab.did)], "policy": local()}
    with pytest.raises(PolicyError):
        team.load(**options)
    team.index.publish_verification("own", "codeReview")
    with pytest.raises(PolicyError):
        team.load(**options)
    reader = team.network.client()
    team.index.publish_verification(LensLoader(reader).get(public), "codeReview")
    assert len(team.load(**options)) == 2
    with pytest.raises(PolicyError):
        team.load(**{**options, "policy": local(methods=("formalProof",))})
    strict = Policy(verify=(Verify((Did(bob.did),)),))
    VerificationPublisher(team.network.client(bob)).publish(public, "codeReview")
    with pytest.raises(PolicyError) as raised:
        team.load(**{**options, "policy": strict})
    assert "nobody else knows what is in one's own index" in str(raised.value.verdict)
    assert str(own) in str(raised.value.verdict)
    assert len(team.load(**{**options, "policy": Policy(verify=(Verify((Did(bob.did), "local")),))})) == 2

    LensPublisher(team.lab).update(public, description="another version")
    with pytest.raises(PolicyError, match="refuses"):
        team.load(**options)


def test_who_says_in_ones_own_index_that_it_fails_is_heard(team: Team) -> None:
    team.keep(DROP, Noted, Plain)
    team.index.publish_verification("own", "codeReview")
    team.index.publish_verification("own", "automatedTest", verdict="fails")
    with pytest.raises(PolicyError) as raised:
        team.load(Plain, policy=local())
    assert "it fails" in str(raised.value.verdict)


def test_without_a_rule_about_lenses_a_policy_refuses_those_of_ones_own_index(team: Team) -> None:
    team.keep(DROP, Noted, Plain)
    with pytest.raises(PolicyError):
        team.load(Plain, policy=Policy())
    assert len(team.load(Plain, policy=Policy(unverified=frozenset({"lenses"})))) == 2


def test_of_ones_own_dataset_a_policy_judges_what_is_of_the_network(
    team: Team, tmp_path: Path, bob: DevAccount
) -> None:
    """The dataset's publisher and its labels are nobody's affair; a lens of a stranger is."""
    ref = team.insert(tmp_path)
    team.keep(DROP, Noted, Plain)
    rules = Policy(publishers=(Did(bob.did),), verify=(Verify(("local", Did(bob.did))),))
    settings = {**vars_of(team), "policy": tmp_path / "policy.toml"}
    text = f'publishers = ["{bob.did}"]\n[[verify]]\nverifiers = ["local", "{bob.did}"]\n'
    (tmp_path / "policy.toml").write_text(text)
    assert Policy.load(tmp_path / "policy.toml").verify == rules.verify
    client = AtmosphereClient(**settings)
    assert len(team.load(Plain, ref, client=client)) == 1, "all of it is one's own"
    uri = team.publish(RENAME, Plain, Named)
    with pytest.raises(PolicyError):
        team.load(Named, ref, client=client, lenses=[str(uri)])
    VerificationPublisher(team.network.client(bob)).publish(uri, "codeReview")
    with pytest.raises(PolicyError) as raised:
        team.load(Named, ref, client=client, lenses=[str(uri)])
    assert "at://atdata.local/" in str(raised.value.verdict)
    team.index.publish_verification("own", "codeReview")
    assert len(team.load(Named, ref, client=client, lenses=[str(uri)])) == 1
    with pytest.raises(UsageError, match="policy= needs"):
        team.load(Named, ref, policy=rules)


def test_a_label_of_a_lens_of_the_network_forbids_it_for_ones_own_dataset(
    devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, labeler = devnet.create_account(fresh_handle()), devnet.create_labeler()
    client = devnet.client(account)
    schemas = SchemaPublisher(client)
    ends = {"source_schema": schemas.publish(Noted), "target_schema": schemas.publish(Plain)}
    uri = LensPublisher(client).publish(name="public", program=DROP, **ends)
    index = LocalIndex(tmp_path / "team.sqlite")
    index.insert_dataset(atdata.write_samples([Noted("a", "x")], tmp_path / "own.tar"), name="own")
    rules = f'unverified = ["lenses"]\n[[forbid]]\nlabels = ["retracted"]\nlabelers = ["{labeler.did}"]\n'
    (tmp_path / "policy.toml").write_text(rules)
    for name, value in devnet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ATDATA_POLICY", str(tmp_path / "policy.toml"))
    options: dict[str, Any] = {"index": index, "lenses": [str(uri)]}
    assert len(load_dataset("@local/own", Plain, split="train", **options)) == 1
    labeler.label(uri, "retracted")
    with pytest.raises(PolicyError):
        load_dataset("@local/own", Plain, split="train", **options)
    assert Policy.load(tmp_path / "policy.toml").forbid == (Forbid(("retracted",), (labeler.did,)),)
    index.records.database.close()
