"""Publishing lenses: the code of both ways, pinned to a commit, or a refusal that says how."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import LensLoader, LensPublisher, SchemaPublisher
from atdata.errors import ConflictError, LensError, NotFoundError, UsageError
from atdata.lens import DataLens, Program, no_putter
from atdata.records import ProgramMember
from atdata.testing import DevAccount
from support.networks import Network, get, list_records, official_verdicts, unavailable


@atdata.packable
class Full:
    label: str
    score: float


@atdata.packable
class FullMore:
    label: str
    score: float
    more: int | None = None


@atdata.packable
class Simple:
    label: str


CODE = '''
import atdata

@atdata.packable
class Full:
    label: str
    score: float

@atdata.packable
class Simple:
    label: str

@atdata.lens
def simplify(source: Full) -> Simple:
    """Keep the label only."""
    return Simple(label=source.label)

@simplify.putter
def restore(view: Simple, source: Full) -> Full:
    return Full(label=view.label, score=source.score)

@atdata.lens
def one_way(source: Full) -> Simple:
    return Simple(label=source.label)
'''


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def load(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "lenses").mkdir(parents=True)
    (root / "lenses" / "vision.py").write_text(CODE)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "lenses")
    return root


@pytest.fixture
def schemas(network: Network, alice: DevAccount, checkout: Path) -> tuple[Any, Any, Any]:
    client, module = network.client(alice), load(checkout / "lenses" / "vision.py", "vision")
    publisher = SchemaPublisher(client)
    return client, publisher.publish(module.Full), publisher.publish(module.Simple)


def test_from_a_clean_checkout(network: Network, checkout: Path, schemas: tuple[Any, Any, Any]) -> None:
    client, full, simple = schemas
    git(checkout, "remote", "add", "origin", "git@github.com:org/lenses.git")
    module = load(checkout / "lenses" / "vision.py", "vision")
    publisher = LensPublisher(client)
    uri = publisher.publish_from_lens(module.simplify, source_schema=full, target_schema=simple)
    record = LensLoader(network.client()).get(uri)
    commit = git(checkout, "rev-parse", "HEAD")
    assert record["getterCode"] == {
        "repository": "https://github.com/org/lenses.git",
        "commit": commit,
        "path": "lenses/vision.py:simplify",
        "language": "python",
    }
    assert record["putterCode"]["path"] == "lenses/vision.py:restore"
    assert (record.name, record.description) == ("simplify", "Keep the label only.")
    assert publisher.publish_from_lens(module.simplify, source_schema=full, target_schema=simple) == uri
    loader = LensLoader(client)
    assert [lens.uri for lens in loader.find_by_schemas(full, simple)] == [uri]
    assert [lens.uri for lens in loader.find_by_schemas(source_schema_uri=full)] == [uri]
    assert loader.find_by_schemas(source_schema_uri=simple, target_schema_uri=full) == []
    assert [lens["name"] for lens in LensLoader(network.client()).list_all(repo=client.did)] == ["simplify"]


def test_repository_and_commit_may_be_given(checkout: Path, schemas: tuple[Any, Any, Any]) -> None:
    client, full, simple = schemas
    module = load(checkout / "lenses" / "vision.py", "vision")
    pinned = {"repository": "https://tangled.org/me/lenses", "commit": "0123456789" * 4}
    uri = LensPublisher(client).publish_from_lens(module.simplify, source_schema=full, target_schema=simple, **pinned)
    record = LensLoader(client).get(uri)
    assert {name: record["getterCode"][name] for name in pinned} == pinned


def test_what_pins_no_code_is_refused(checkout: Path, schemas: tuple[Any, Any, Any], tmp_path: Path) -> None:
    client, full, simple = schemas
    publisher = LensPublisher(client)
    module = load(checkout / "lenses" / "vision.py", "vision")
    ends = {"source_schema": full, "target_schema": simple}
    with pytest.raises(LensError, match="nothing says where") as caught:
        publisher.publish_from_lens(module.simplify, **ends)  # no remote
    assert "repository=" in str(caught.value)
    git(checkout, "remote", "add", "origin", str(tmp_path / "elsewhere.git"))
    with pytest.raises(LensError, match="strangers can reach"):
        publisher.publish_from_lens(module.simplify, **ends)
    git(checkout, "remote", "set-url", "origin", "https://example.com/lenses.git")
    (checkout / "lenses" / "vision.py").write_text(CODE + "\n# changed\n")
    with pytest.raises(LensError, match="nothing says where") as caught:
        publisher.publish_from_lens(load(checkout / "lenses" / "vision.py", "vision").simplify, **ends)
    assert "in no commit" in str(caught.value)
    outside = tmp_path / "outside.py"
    outside.write_text(CODE)
    with pytest.raises(LensError, match="nothing says where"):
        publisher.publish_from_lens(load(outside, "outside").simplify, **ends)
    code = {"repository": "https://example.com/r", "commit": "abc", "path": "a.py:f"}
    with pytest.raises(LensError, match="must pin a full commit"):
        publisher.publish(name="x", getter_code=code, putter_code=code, **ends)
    with pytest.raises(LensError, match="lacks some of its parts"):
        publisher.publish(name="x", getter_code={}, putter_code=code, **ends)
    assert LensLoader(client).list_all() == []


def test_a_lens_without_a_putter_names_one_that_refuses(
    network: Network, checkout: Path, schemas: tuple[Any, Any, Any]
) -> None:
    client, full, simple = schemas
    git(checkout, "remote", "add", "origin", "https://example.com/lenses.git")
    module = load(checkout / "lenses" / "vision.py", "vision")
    uri = LensPublisher(client).publish_from_lens(module.one_way, source_schema=full, target_schema=simple)
    record = LensLoader(network.client()).get(uri)
    assert record["getterCode"]["path"] == "lenses/vision.py:one_way"
    assert record["putterCode"]["path"].endswith(":no_putter")
    assert record["putterCode"]["repository"] != record["getterCode"]["repository"]
    assert not record.has_putter


def test_the_putter_of_a_lens_without_one_refuses() -> None:
    with pytest.raises(LensError, match="no putter"):
        no_putter("a view", "a source")


def test_a_lens_between_published_types_is_used(network: Network, checkout: Path) -> None:
    module = load(checkout / "lenses" / "vision.py", "vision")
    rows = atdata.write_samples([module.Full("a", 1.0), module.Full("b", 2.0)], checkout / "rows.tar")
    seen = list(rows.as_type(module.Simple))
    assert [view.label for view in seen] == ["a", "b"]


RELEASE = "https://git.example.org/atdata@" + "0b" * 20
KEEP, OTHER = (  # by one character
    Program.of({"op": "scale", "field": "score", "factor": factor}, {"op": "drop", "field": "score"})
    for factor in (2, 3)
)


@pytest.fixture
def ends(network: Network, alice: DevAccount) -> dict[str, Any]:
    """The two schemas, published by the first account."""
    publisher = SchemaPublisher(network.client(alice))
    return {
        "source_schema": publisher.publish(Full, version="1.2.0"),
        "target_schema": publisher.publish(Simple, version="1.0.0"),
    }


def test_a_program_is_published_and_names_the_released_interpreter(
    network: Network, alice: DevAccount, ends: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_LENS_INTERPRETER", RELEASE)
    publisher = LensPublisher(network.client(alice))
    uri = publisher.publish(name="keep", program=KEEP, **ends)
    assert publisher.publish(name="keep", program=KEEP, **ends) == uri, "the same lens is one record"
    record = LensLoader(network.client()).get(uri)
    assert record["program"] == {**KEEP.value, "cid": str(KEEP.cid)}
    assert record.program is not None
    assert record.program.cid == KEEP.cid
    for code in (record.getter_code, record.putter_code):
        assert f"{code.repository}@{code.commit}" == RELEASE
    assert record.has_putter
    if not unavailable():
        listed = list_records(alice.pds_url, alice.did, "science.alt.dataset.lens")
        assert [verdict["ok"] for verdict in official_verdicts(listed)] == [True]
    lens = DataLens(KEEP, Full, Simple, name="keep")
    assert publisher.publish_from_lens(lens, **ends) == uri, "the lens is its program"
    with pytest.raises(LensError, match="needs something that does it"):
        publisher.publish(name="nothing", **ends)


def test_a_lens_is_changed_on_purpose_only(
    network: Network, alice: DevAccount, bob: DevAccount, ends: dict[str, Any]
) -> None:
    publisher, loader = LensPublisher(network.client(alice)), LensLoader(network.client())
    uri = publisher.publish(name="keep", program=KEEP, rkey="keep", description="Keep it", **ends)
    first = loader.get(uri)
    with pytest.raises(ConflictError):
        publisher.publish(name="keep", program=OTHER, rkey="keep", **ends)
    assert loader.get(uri).cid == first.cid
    changed = publisher.update(uri, program=OTHER)
    stands = loader.get(uri)
    assert (stands.uri, stands.cid, stands.program) == (uri, changed.cid, ProgramMember.of(OTHER))
    assert stands.cid != first.cid
    assert (stands.created_at, stands.description) == (first.created_at, "Keep it"), "what is not said stays"
    before = repository_rev(alice)
    assert publisher.update(uri, program=OTHER).cid == stands.cid
    assert repository_rev(alice) == before, "the same again writes nothing"
    assert publisher.update(uri, program=KEEP).cid == first.cid
    assert publisher.update(uri, description=None).description is None
    with pytest.raises(NotFoundError):
        publisher.update(f"{uri}x", description="y")
    with pytest.raises(NotFoundError):
        LensPublisher(network.client(bob)).update(uri, description="mine")


def repository_rev(account: DevAccount) -> str:
    return get(account.pds_url, "com.atproto.sync.getLatestCommit", did=account.did)["rev"]


def test_a_code_lens_becomes_a_program(network: Network, alice: DevAccount, ends: dict[str, Any]) -> None:
    publisher = LensPublisher(network.client(alice))
    code = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
    uri = publisher.publish(name="keep", getter_code=code, putter_code=code, **ends)
    changed = publisher.update(uri, program=KEEP)
    assert changed.getter_code.path != "a.py:f"
    assert publisher.update(uri, program=None, getter_code=code, putter_code=code).program is None


def test_ranges_of_versions_are_honoured(
    network: Network, alice: DevAccount, bob: DevAccount, ends: dict[str, Any]
) -> None:
    client = network.client(alice)
    schemas, publisher, loader = SchemaPublisher(client), LensPublisher(client), LensLoader(client)
    taken, refused = (schemas.publish(FullMore, name="Full", version=version) for version in ("1.3.0", "2.0.0"))
    namesake = SchemaPublisher(network.client(bob)).publish(Full, version="1.2.5")
    other = schemas.publish(Full, name="Other", version="1.2.5")
    code = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
    uri = publisher.publish(
        name="ranged", getter_code=code, source_schema_version="^1.2", target_schema_version="1.x", **ends
    )
    publisher.publish(name="exact", getter_code=code, **ends)

    def found(*asked: Any) -> set[str]:
        return {lens.name for lens in loader.find_by_schemas(*asked)}

    assert found(ends["source_schema"]) == {"ranged", "exact"}
    assert found(taken) == found(taken, ends["target_schema"]) == {"ranged"}
    assert [found(schema) for schema in (refused, namesake, other)] == [set(), set(), set()]
    assert found(taken, taken) == set()
    absent = f"{str(taken).rpartition('/')[0]}/Full:1.2.9"
    assert found(absent) == set(), "no such schema was published"
    for said, why in (
        ({"source_schema_version": ">=2.0.0"}, "leave out"),
        ({"target_schema_version": "two"}, "neither"),
    ):
        with pytest.raises(UsageError, match=why):
            publisher.publish(name="wrong", getter_code=code, **said, **ends)
    with pytest.raises(UsageError, match="leave out"):
        publisher.update(uri, source_schema_version="1.0.0")


UNFIT = {
    "a field that is not there": [{"op": "drop", "field": "scorf"}],
    "not the whole of the target": [{"op": "drop", "field": "score"}, {"op": "rename", "field": "label", "to": "name"}],
    "more than the target has": [],
    "another type": [{"op": "drop", "field": "label"}, {"op": "rename", "field": "score", "to": "label"}],
    "another unit": [{"op": "scale", "field": "score", "factor": 2, "unit": "m"}, {"op": "drop", "field": "label"}],
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_program_that_does_not_fit_its_schemas_is_not_written(
    network: Network, alice: DevAccount, ends: dict[str, Any], why: str
) -> None:
    publisher, loader = LensPublisher(network.client(alice)), LensLoader(network.client())
    program = Program.of(*UNFIT[why])
    uri = publisher.publish(name="keep", program=KEEP, **ends)
    before = repository_rev(alice)
    for write in (
        lambda: publisher.publish(name="unfit", program=program, **ends),
        lambda: publisher.update(uri, program=program),
        lambda: publisher.update(uri, source_schema=ends["target_schema"]),
    ):
        with pytest.raises(LensError) as caught:
            write()
        assert caught.value.path
        assert caught.value.hint
    assert repository_rev(alice) == before, "nothing is written"
    assert loader.get(uri).program == ProgramMember.of(KEEP)


def test_a_lens_object_between_other_types_than_the_schemas_is_not_written(
    network: Network, alice: DevAccount, ends: dict[str, Any]
) -> None:
    publisher = LensPublisher(network.client(alice))
    swapped = {"source_schema": ends["target_schema"], "target_schema": ends["source_schema"]}
    with pytest.raises(LensError, match="there is no field score"):
        publisher.publish_from_lens(DataLens(KEEP, Full, Simple), **swapped)
    assert LensLoader(network.client(alice)).list_all() == []


def test_what_is_no_schema_is_no_end_of_a_lens(
    network: Network, alice: DevAccount, bob: DevAccount, ends: dict[str, Any]
) -> None:
    """Neither of a program, nor of code; and who names a schema by a handle has it by the DID in the record."""
    publisher = LensPublisher(network.client(alice))
    uri = publisher.publish(name="keep", program=KEEP, **ends)
    full, missing = str(ends["source_schema"]), f"{ends['source_schema']}9"
    code = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
    before = repository_rev(alice)
    for wrong, error in (
        (str(uri), UsageError),
        ("Full", UsageError),
        ("https://example.com/Full", UsageError),
        (f"at://{alice.did}", UsageError),
        ("", UsageError),
        (None, UsageError),
        (missing, NotFoundError),
        (missing.replace(alice.did, bob.did), NotFoundError),
    ):
        for end in ("source_schema", "target_schema"):
            for does in ({"program": KEEP}, {"getter_code": code}):
                with pytest.raises(error) as caught:
                    publisher.publish(name="x", **does, **{**ends, end: wrong})
                assert caught.value.path == end
                assert end in caught.value.what
                assert caught.value.hint
            with pytest.raises(error):
                publisher.update(uri, **{end: wrong})
    assert repository_rev(alice) == before
    other = SchemaPublisher(network.client(bob)).publish(Full, version="3.0.0")
    named = publisher.publish(
        name="named",
        program=KEEP,
        source_schema=str(other).replace(bob.did, bob.handle),
        target_schema=full.replace("/Full:1.2.0", "/Simple:1.0.0").replace(alice.did, alice.handle),
    )
    record = LensLoader(network.client()).get(named)
    assert (record.source_schema, record.target_schema) == (other, ends["target_schema"])


def test_a_range_of_versions_that_is_none_is_told_how_to_be_one(
    network: Network, alice: DevAccount, ends: dict[str, Any]
) -> None:
    publisher = LensPublisher(network.client(alice))
    uri = publisher.publish(name="keep", program=KEEP, **ends)
    before = repository_rev(alice)
    for path in ("source_schema_version", "target_schema_version"):
        for wrong in ("two", ">=1.0.0 and <2", 5, ["1.x"]):
            for write in (
                lambda said: publisher.publish(name="x", program=KEEP, **said, **ends),
                lambda said: publisher.update(uri, **said),
            ):
                with pytest.raises(UsageError) as caught:
                    write({path: wrong})
                assert caught.value.path == path
                assert path in caught.value.what
                assert ">=1.0.0 <2.0.0" in (caught.value.hint or "")
    assert repository_rev(alice) == before
