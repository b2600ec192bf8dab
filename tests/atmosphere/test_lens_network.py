"""Data of a later version, opened in one call: lenses found on the network, tried, and trusted as a policy says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Unit, load_dataset
from atdata.atmosphere import (
    AtmosphereClient,
    AtmosphereIndex,
    LensPublisher,
    PDSBlobStore,
    SchemaPublisher,
    VerificationPublisher,
)
from atdata.atmosphere.lens_candidates import LensCandidates
from atdata.atmosphere.lens_network import LensNetwork
from atdata.atproto.syntax import AtUri, Did, Tid
from atdata.errors import (
    AmbiguousLensError,
    ArgumentTypeError,
    CompatibilityError,
    LensNotFoundError,
    PolicyError,
)
from atdata.lens import Program
from atdata.policy import Policy, Verify
from atdata.records import LensRecord, ProgramMember, Schema
from atdata.testing import DevAccount
from support.networks import Network, fresh_handle

F32 = NDArray[np.float32]


def spectrum(**fields: Any) -> Any:
    """A version of the type that three labs have."""
    return atdata.packable(type("Spectrum", (), {"__annotations__": fields, "__module__": __name__}))


V1 = spectrum(mz=Annotated[F32, Unit("nm")], operator=str, note=str)
V2 = spectrum(wavelength=Annotated[F32, Unit("um")], operator=str, note=str)
V3 = spectrum(wavelength=Annotated[F32, Unit("um")], first=str, last=str, note=str, raw=bytes)

TO_V1 = Program.of(  # of lab B: a unit, and a name
    {"op": "scale", "field": "wavelength", "factor": 1000, "unit": "nm"},
    {"op": "rename", "field": "wavelength", "to": "mz"},
)
OTHER = Program.of({"op": "scale", "field": "wavelength", "factor": "0.5"}, *TO_V1.value["steps"])  # shows others
TO_V2 = Program.of(  # of lab C: a field that was split, and one that was not there
    {"op": "join", "fields": ["first", "last"], "separator": " ", "at": "first", "to": "operator"},
    {"op": "drop", "field": "raw"},
)
SAMPLES = [V3(np.array([0.5, n / 8], "f4"), "Ada", f"King {n}", f"n{n}", bytes([n])) for n in range(20)]


@dataclass
class Labs:
    """Three publishers, each with a version, and a verifier."""

    network: Network
    accounts: list[DevAccount]
    clients: list[AtmosphereClient]
    schemas: list[AtUri]
    lenses: list[AtUri]
    ref: str

    @property
    def verifier(self) -> DevAccount:
        return self.accounts[3]

    def verify(self, *which: int) -> None:
        """The verifier says of some lenses that they hold."""
        for number in which:
            VerificationPublisher(self.clients[3]).publish(str(self.lenses[number]), "automatedTest", verdict="holds")

    def load(self, sample_type: Any = V1, **options: Any) -> Any:
        """What a stranger loads."""
        return load_dataset(self.ref, sample_type, split="train", client=self.network.client(), **options)

    def change(self, number: int, program: Program) -> None:
        """Publish the lens of a lab anew, at the same address."""
        LensPublisher(self.clients[number + 1]).update(str(self.lenses[number]), program=program)

    def overwrite(self, number: int, **members: Any) -> None:
        """Write another record at the address of the lens of a lab, as other software might: whatever it says."""
        client = self.clients[number + 1]
        stands = client.read(self.lenses[number], LensRecord)
        client.records.swap(replace(stands, **members), stands)


@pytest.fixture
def labs(network: Network, tmp_path: Path) -> Labs:
    accounts = [network.create_account(fresh_handle(), server=number % 2) for number in range(4)]
    clients = [network.client(account) for account in accounts]
    schemas = [
        SchemaPublisher(client).publish(kind, version=f"{number}.0.0")
        for client, kind, number in zip(clients, (V1, V2, V3), (1, 2, 3), strict=False)
    ]
    lenses = [
        LensPublisher(clients[number + 1]).publish(
            name="older",
            program=program,
            source_schema=str(schemas[number + 1]),
            target_schema=str(schemas[number]),
            rkey="older",
        )
        for number, program in enumerate((TO_V1, TO_V2))
    ]
    data = atdata.write_samples(SAMPLES, tmp_path / "train-%02d.tar", maxcount=8)
    index = AtmosphereIndex(clients[2], data_store=PDSBlobStore(clients[2]))
    index.insert_dataset(data, name="spectra", version="1.0.0", schema_ref=str(schemas[2]))
    return Labs(network, accounts, clients, schemas, lenses, f"@{accounts[2].handle}/spectra")


def policy(labs: Labs, **rules: Any) -> Policy:
    return Policy(verify=(Verify((Did(labs.verifier.did),), **rules),))


def test_later_data_are_opened_as_the_version_that_one_has(labs: Labs):
    """And a change of an old view is put back into the later sample without loss."""
    old = labs.load()
    assert old.sample_type is V1
    want = [V1(np.array([500, 1000 * (n / 8)], "f4"), f"Ada King {n}", f"n{n}") for n in range(20)]
    assert [sample.packed for sample in old] == [sample.packed for sample in want]
    assert [sample.packed for batch in old.ordered(batch_size=7) for sample in batch] == [s.packed for s in want]

    lens = old.view.lens
    changed = lens.get(SAMPLES[3])
    changed.note = "better"
    put = lens.put(changed, SAMPLES[3])
    assert put.packed == V3(**{**SAMPLES[3].to_dict(), "note": "better"}).packed
    kept = lens.complement(SAMPLES[3])  # the two programs are one, which knows what its view lacks
    assert lens.restore(lens.get(SAMPLES[3]), kept).packed == SAMPLES[3].packed
    assert lens.restore(lens.get(SAMPLES[3]), kept, changed).packed == put.packed
    assert lens.check_laws(SAMPLES[:3], count=20).verdict == "holds"


def test_why_a_way_was_chosen_is_told(labs: Labs):
    labs.verify(0)
    client = labs.network.client()
    schema = client.read(labs.schemas[2], Schema)
    found = LensNetwork(client, policy=policy(labs)).find(schema, V1)
    assert [record.uri for record in found.records] == [labs.lenses[1], labs.lenses[0]]
    first, second = found.explain().splitlines()
    assert first.startswith("1. older: not verified; raw is left out (at://")
    assert second.startswith("2. older: verified; ")
    assert "wavelength is rounded (float32)" in second


def test_a_policy_has_each_lens_verified_in_its_version(labs: Labs):
    """Before any byte moves; a program changed by a character is not what was verified."""
    with pytest.raises(PolicyError, match="refuses"):
        labs.load(policy=policy(labs))
    labs.verify(0)
    with pytest.raises(PolicyError):
        labs.load(policy=policy(labs))
    labs.verify(1)
    assert len(labs.load(policy=policy(labs))) == 20
    with pytest.raises(PolicyError):
        labs.load(policy=policy(labs, methods=("codeReview",)))

    labs.change(1, Program.parse(TO_V2.text.replace('"separator":" "', '"separator":"-"')))
    with pytest.raises(PolicyError) as raised:
        labs.load(policy=policy(labs))
    assert "of another version" in str(raised.value.verdict)
    labs.verify(1)
    assert labs.load(policy=policy(labs))[0].operator == "Ada-King 0"


def test_a_program_that_does_not_lead_where_it_says_is_not_used(labs: Labs):
    """Here the unit would be another. The error says what there is."""
    labs.overwrite(0, program=ProgramMember.of(Program.of({"op": "rename", "field": "wavelength", "to": "mz"})))
    with pytest.raises(CompatibilityError) as raised:
        labs.load()
    assert "no lens leads from Spectrum 3.0.0 to Spectrum" in (raised.value.hint or "")
    assert "known from Spectrum 3.0.0: Spectrum 2.0.0" in (raised.value.hint or "")


def test_a_program_whose_laws_cannot_be_tried_is_not_used(labs: Labs):
    """It has no view of any sample, so nothing is known of it."""
    never = {"op": "cast", "field": "operator", "to": "int", "min": "0.2", "max": "0.8"}
    back = {"op": "cast", "field": "operator", "to": "str"}
    labs.change(0, Program.of(never, back, *TO_V1.value["steps"]))
    client = labs.network.client()
    network = LensNetwork(client)
    with pytest.raises(LensNotFoundError):
        network.find(client.read(labs.schemas[2], Schema), V1)
    assert "nothing is known of its laws" in network.passed.values()


def test_ways_that_are_equally_good_and_differ_are_refused(labs: Labs):
    """Until one of them is verified."""
    uri = LensPublisher(labs.clients[1]).publish(
        name="other",
        program=OTHER,
        source_schema=str(labs.schemas[1]),
        target_schema=str(labs.schemas[0]),
        rkey="other",
    )
    with pytest.raises(AmbiguousLensError, match="show different samples: mz is"):
        labs.load()
    VerificationPublisher(labs.clients[3]).publish(str(uri), "codeReview", verdict="holds")
    client = labs.network.client()
    found = LensNetwork(client, policy=policy(labs)).find(client.read(labs.schemas[2], Schema), V1)
    assert [record.uri for record in found.records][1] == uri


def test_an_address_that_is_named_is_taken_of_ways_as_good(labs: Labs):
    """As the error says."""
    ends = {"source_schema": str(labs.schemas[1]), "target_schema": str(labs.schemas[0])}
    other = LensPublisher(labs.clients[1]).publish(name="other", program=OTHER, rkey="other", **ends)
    for uri, factor in ((labs.lenses[0], 1000), (other, 500)):
        assert labs.load(lenses=[str(uri)])[4].mz[1] == np.float32(4 / 8) * np.float32(factor)
    with pytest.raises(ArgumentTypeError):
        labs.load(lenses=str(other))


def test_a_lens_that_a_verifier_says_fails_is_no_verified_one(labs: Labs):
    """As for the policy itself, whatever else is said of it: else it would be chosen, and then refused."""
    ends = {"source_schema": str(labs.schemas[1]), "target_schema": str(labs.schemas[0])}
    other = LensPublisher(labs.clients[1]).publish(name="other", program=OTHER, rkey="other", **ends)
    verifier = VerificationPublisher(labs.clients[3])
    for uri, method, verdict in (
        (labs.lenses[0], "codeReview", "holds"),
        (labs.lenses[0], "formalProof", "fails"),
        (other, "codeReview", "holds"),
        (labs.lenses[1], "codeReview", "holds"),
    ):
        verifier.publish(str(uri), method, verdict=verdict)
    assert labs.load(policy=policy(labs))[4].mz[1] == np.float32(4 / 8) * np.float32(500)


def test_a_record_that_leads_nowhere_keeps_nobody_from_others(labs: Labs):
    """Whatever a stranger names there, or the publisher by mistake."""
    records = labs.clients[2].records
    good = labs.clients[2].read(labs.lenses[1], LensRecord)
    for source, versions in (
        (str(labs.lenses[0]), None),
        ("at://nope.invalid/science.alt.dataset.schema/A:1.0.0", None),
        (f"at://did:plc:{'a' * 24}/science.alt.dataset.schema/A:1.0.0", None),
        (str(labs.schemas[2]), "junk"),
    ):
        bad = replace(good, uri=None, cid=None, source_schema=AtUri(source), source_schema_version=versions)
        records.create(bad, Tid.now(), lambda _: False)
    assert len(labs.load()) == 20


def test_a_program_that_no_machine_can_compute_keeps_nobody_from_others(labs: Labs):
    records = labs.clients[2].records
    good = labs.clients[2].read(labs.lenses[1], LensRecord)
    for kind, value in (({"type": "number"}, "1e400"), ({"type": "array", "items": {"type": "number"}}, ["1e999"])):
        add = {"op": "add", "field": "extra", "type": kind, "value": value}
        bad = replace(good, uri=None, cid=None, program=ProgramMember.of(Program.of(add, *TO_V2.value["steps"])))
        records.create(bad, Tid.now(), lambda _: False)
    assert len(labs.load()) == 20
    network = LensNetwork(labs.network.client())
    network.find(labs.clients[2].read(labs.schemas[2], Schema), V1)
    assert [*network.passed.values()].count("a value in a program is not of its type") == 2


def test_a_label_on_a_schema_on_the_way_forbids(labs: Labs):
    client = labs.network.client()
    found = LensNetwork(client).find(client.read(labs.schemas[2], Schema), V1)
    assert {schema.uri for schema in found.schemas} == set(labs.schemas)


def test_lenses_of_others_are_found_where_one_says(labs: Labs, network: Network):
    """In a repository that has nothing to do with the data."""
    stranger = network.create_account(fresh_handle())
    newer = spectrum(total=float, first=str)
    client = network.client(stranger)
    schema = SchemaPublisher(client).publish(newer, version="9.0.0")
    program = Program.of(
        {"op": "drop", "field": "wavelength"},
        {"op": "drop", "field": "last"},
        {"op": "drop", "field": "note"},
        {"op": "drop", "field": "raw"},
        {"op": "add", "field": "total", "type": {"type": "number"}, "value": 0},
    )
    uri = LensPublisher(client).publish(
        name="far", program=program, source_schema=str(labs.schemas[2]), target_schema=str(schema), rkey="far"
    )
    with pytest.raises(CompatibilityError):
        labs.load(newer)
    for where in (stranger.handle, stranger.did, str(uri)):
        assert labs.load(newer, lenses=[where])[0] == newer(0.0, "Ada")


def test_a_range_of_versions_is_honoured(labs: Labs):
    """A lens for 1.x of a schema takes 1.1.0, and not 2.0.0."""
    client, publisher = labs.clients[0], LensPublisher(labs.clients[0])
    grown = spectrum(mz=Annotated[F32, Unit("nm")], operator=str, note=str | None)
    schema = SchemaPublisher(client).publish(grown, version="1.1.0")
    target = spectrum(seen=str)
    goal = SchemaPublisher(client).publish(target, name="Seen", version="1.0.0")
    steps = [{"op": "drop", "field": name} for name in ("mz", "note")]
    whole = Program.of(*steps, {"op": "rename", "field": "operator", "to": "seen"})
    for number, (allowed, wanted) in enumerate(((">=1.0.0 <2.0.0", True), ("1.0.0", False))):
        publisher.publish(
            name=f"ranged{number}",
            program=whole,
            source_schema=str(labs.schemas[0]),
            target_schema=str(goal),
            source_schema_version=allowed,
            rkey=f"ranged{number}",
        )
        reader = labs.network.client()
        given = [f"at://{labs.accounts[0].did}/science.alt.dataset.lens/ranged{number}"]
        edges = LensCandidates(reader, given).edges(reader.read(schema, Schema))
        sources = {edge.lens.source.uri for edge in edges if edge.name == f"ranged{number}"}
        assert sources == ({labs.schemas[0], schema} if wanted else {labs.schemas[0]})
