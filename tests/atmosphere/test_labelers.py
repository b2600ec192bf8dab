"""Signed labels close and open policies: one suite, for the Devnet's labeler and, by `python3 dev.py labeler`, the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.atmosphere.labelers import LabelReader
from atdata.atmosphere.trust import check_policy
from atdata.atproto.labels import in_force
from atdata.errors import PolicyError
from atdata.policy import Forbid, Policy, Require
from atdata.records import Entry
from support.labelers import LabelledNetwork, labelled_network


@atdata.packable
class Reading:
    value: float


@pytest.fixture(scope="module")
def network() -> Iterator[LabelledNetwork]:
    with labelled_network() as net:
        yield net


@pytest.fixture
def index(network: LabelledNetwork, tmp_path: Path) -> AtmosphereIndex:
    client = network.client(network.create_account())
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    for name in ("one", "other"):
        rows = atdata.write_samples([Reading(float(len(name)))], tmp_path / f"{name}.tar")
        index.insert_dataset(rows, name=name, version="1.0.0")
    return index


def forbid(network: LabelledNetwork, *labels: str) -> Policy:
    return Policy(forbid=(Forbid(labels or ("retracted",), (network.labeler,)),))


def is_open(network: LabelledNetwork, entry: Entry, policy: Policy, folder: str | None = None) -> bool:
    client = network.client(folder=folder)
    try:
        splits = atdata.load_dataset(str(entry.located), client=client, policy=policy)
    except PolicyError:
        return False
    assert len(splits["train"].head(1)) == 1
    return True


def test_a_label_at_the_cid_of_an_entry_closes_a_policy_and_its_negation_opens_it(
    network: LabelledNetwork, index: AtmosphereIndex
) -> None:
    entry, policy = index.get_dataset("one"), forbid(network)
    assert is_open(network, entry, policy, "reader")
    network.label(entry, "retracted")
    assert not is_open(network, entry, policy, "reader")
    assert not is_open(network, entry, policy)  # nor to who has seen nothing
    with pytest.raises(PolicyError) as caught:
        check_policy(network.client(), network.client().read(entry.located, Entry), policy)
    (finding,) = caught.value.verdict.refusals
    assert finding.record == f"{entry.located} {entry.cid}"
    assert "signed by did:key:" in finding.proof
    network.negate(entry, "retracted")
    assert is_open(network, entry, policy, "reader")
    assert is_open(network, entry, policy)
    network.label(entry, "retracted")
    assert not is_open(network, entry, policy, "reader")


def test_only_what_the_policy_names_counts(network: LabelledNetwork, index: AtmosphereIndex) -> None:
    entry, other = index.get_dataset("one"), index.get_dataset("other")
    network.label(entry, "contaminated")
    assert is_open(network, entry, forbid(network, "retracted", "licence-disputed"))
    assert not is_open(network, entry, forbid(network, "retracted", "contaminated"))
    assert is_open(network, other, forbid(network, "contaminated"))


def test_an_edited_description_sheds_no_label(network: LabelledNetwork, index: AtmosphereIndex) -> None:
    entry = index.get_dataset("one")
    network.label(entry, "retracted")
    edited = index.update_dataset("one", description="all is well")
    assert (edited.uri, edited.cid != entry.cid) == (entry.uri, True)
    assert not is_open(network, edited, forbid(network))


def test_a_required_label_counts_for_its_version_alone(network: LabelledNetwork, index: AtmosphereIndex) -> None:
    entry = index.get_dataset("one")
    policy = Policy(require=(Require(("reviewed",), (network.labeler,)),))
    assert not is_open(network, entry, policy)
    network.label(entry, "reviewed")
    assert is_open(network, entry, policy)
    edited = index.update_dataset("one", description="another version")
    assert not is_open(network, edited, policy)
    network.label(edited, "reviewed")
    assert is_open(network, edited, policy)
    network.negate(edited, "reviewed")
    assert not is_open(network, edited, policy)


def test_labels_are_read_with_their_signatures_and_negations(network: LabelledNetwork, index: AtmosphereIndex) -> None:
    entry, reader = index.get_dataset("one"), LabelReader(network.client(folder="remembers").reader)
    assert reader.read(network.labeler, [entry.located]).labels == ()
    network.label(entry, "retracted")
    network.label(entry, "contaminated")
    first = reader.read(network.labeler, [entry.located])
    assert [label.val for label in in_force(first.labels, first.read_at)] == ["contaminated", "retracted"]
    assert {(label.src, label.uri, label.cid) for label in first.labels} == {
        (network.labeler, str(entry.located), entry.cid)
    }
    network.negate(entry, "retracted")
    second = reader.read(network.labeler, [entry.located])
    assert [(label.val, label.neg) for label in second.earlier] == [("retracted", False)]
    standing = in_force((*second.labels, *second.earlier), second.read_at)
    assert [label.val for label in standing] == ["contaminated"]
    assert (second.unread, second.unreachable) == ((), None)
