"""New versions of schemas: which may come, and under which number; in every index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import pytest

import atdata
from atdata.atmosphere import SchemaLoader, SchemaPublisher
from atdata.errors import CompatibilityError, ConflictError, LimitError, NotTakenWarning, SchemaError, UsageError
from atdata.index import next_after
from atdata.records import Schema
from atdata.samples import Doc, Unit, fields_of
from atdata.schema import Step
from support.networks import RealNet, fresh_handle, list_records, official_verdicts


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def kind(**fields: Any) -> Any:
    return atdata.packable(type("Spectrum", (), {"__annotations__": fields, "__module__": __name__}))


FIRST = kind(x=float, n=int)
TOLD = kind(x=Annotated[float, Doc("width")], n=int)
MORE = kind(x=float, n=int, note=str | None)
RENAMED = kind(x=float, m=int)
METRIC = kind(x=Annotated[float, Unit("nm")], n=int)
LESS = kind(x=float)
NEEDY = kind(x=float, n=int, note=str)


def version(index: Any, sample_type: type, **said: Any) -> str:
    found: str = index.get_schema(index.publish_schema(sample_type, **said)).version
    return found


def test_the_number_says_what_has_changed(index: Any) -> None:
    changes = [FIRST, TOLD, MORE, RENAMED, METRIC, kind(x=Annotated[float, Unit("um")], n=int), LESS]
    numbers = ["1.0.0", "1.0.1", "1.1.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0"]
    assert [version(index, each) for each in changes] == numbers
    assert [version(index, each) for each in changes] == numbers, (
        "what is listed stays what it is, whatever came between"
    )
    assert index.get_schema(index.publish_schema(MORE, description=None)).version == "1.1.0"
    assert len(index.list_schemas()) == len(changes)


def test_what_is_said_beside_the_content_is_no_change(index: Any) -> None:
    index.publish_schema(FIRST, description="a spectrum")
    with pytest.warns(NotTakenWarning, match="description"):
        index.publish_schema(FIRST, description="something else")
    with pytest.warns(NotTakenWarning, match="metadata"):
        index.publish_schema(FIRST, metadata={"a": 1})
    with pytest.warns(NotTakenWarning, match="compatibility"):
        index.publish_schema(FIRST, compat="backward")
    assert [schema.version for schema in index.list_schemas()] == ["1.0.0"]


def test_a_mode_is_kept_and_names_the_field_it_is_broken_by(index: Any) -> None:
    first = index.get_schema(index.publish_schema(FIRST, compat="backward"))
    assert first.compatibility == first["compatibility"] == "backward"
    for broken, field in ((RENAMED, "m"), (METRIC, "x"), (NEEDY, "note"), (kind(x=float, n=str), "n")):
        with pytest.raises(CompatibilityError, match=f"would break readers: {field}") as caught:
            index.publish_schema(broken)
        assert caught.value.path == field
        assert f"newer readers of {field} expect" in str(caught.value.actual)
        with pytest.raises(CompatibilityError):
            index.insert_dataset(atdata.write_samples([sample_of(broken)], "broken.tar", overwrite=True), name="broken")
    assert len(index.list_schemas()) == 1, "nothing was written"
    assert version(index, MORE) == "1.1.0"
    assert version(index, LESS) == "2.0.0", "newer readers read what is older, and something is gone"
    assert index.get_schema(index.publish_schema(LESS))["compatibility"] == "backward", "it is kept on"
    assert version(index, RENAMED, compat="none") == "3.0.0", "said so, it may"
    assert version(index, NEEDY) == "4.0.0", "and so may those after it"


def sample_of(sample_type: Any) -> Any:
    values = {"x": 1.0, "n": 1, "m": 1, "note": "a"}
    named = {field.name: "a" if str(field.type) == "str" else values[field.name] for field in fields_of(sample_type)}
    return sample_type(**named)


def test_a_dataset_of_another_unit_says_so(index: Any) -> None:
    meters = kind(x=Annotated[float, Unit("m")], n=int)
    for name, each in (("old", METRIC), ("new", meters)):
        index.insert_dataset(atdata.write_samples([sample_of(each)], f"{name}.tar", manifest=True), name=name)
    assert index.diff("old", "new").fields.changed == {"x": ("float (nm)", "float (m)")}
    with pytest.raises(SchemaError, match="the samples are not what the dataset holds"):
        index.append("old", atdata.write_samples([sample_of(meters)], "more.tar"))
    with pytest.raises(SchemaError, match="the samples are not what the schema describes"):
        schema = index.get_dataset("old").schema_ref
        index.insert_dataset(
            atdata.write_samples([sample_of(meters)], "more.tar", overwrite=True), name="more", schema_ref=schema
        )
    with pytest.raises(CompatibilityError, match="Spectrum does not read samples of the schema Spectrum") as caught:
        index.load("old", sample_type=meters)
    assert (caught.value.path, caught.value.expected, caught.value.actual) == (
        "Spectrum.x",
        "the unit m",
        "the unit nm",
    )
    (sample,) = index.load("old", sample_type=FIRST)["train"]
    assert sample == FIRST(1.0, 1), "who says no unit takes any"


def test_each_mode(index: Any) -> None:
    for number, (mode, takes) in enumerate({"none": "mlnr", "backward": "ml", "forward": "mn", "full": "m"}.items()):
        for letter, after in {"m": MORE, "l": LESS, "n": NEEDY, "r": RENAMED}.items():
            name = f"{number}{letter}"
            index.publish_schema(FIRST, name=name, compat=mode)
            if letter in takes:
                index.publish_schema(after, name=name)
            else:
                with pytest.raises(CompatibilityError):
                    index.publish_schema(after, name=name)


def test_transitive_modes_look_at_all_versions(index: Any) -> None:
    back = kind(x=float, n=str | None)
    for mode in ("backward", "backward_transitive"):
        for each in (FIRST, LESS):
            index.publish_schema(each, name=mode, compat=mode)
    assert version(index, back, name="backward") == "2.1.0", "the last has no such field"
    with pytest.raises(CompatibilityError, match="would break readers: n") as caught:
        index.publish_schema(back, name="backward_transitive")
    assert "1.0.0" in str(caught.value.expected)


def test_two_at_once_are_held_to_each_other(place: Any) -> None:
    """Each alone may come after 1.0.0, under numbers that do not collide; but not both, whoever is first."""
    words, numbers = kind(x=float, n=int, note=str | None), kind(x=float, n=int, note=int | None)
    one, other = place.open(), place.open()
    with ThreadPoolExecutor(2) as both:
        for number in range(6):
            name = f"Spectrum{number}"
            one.publish_schema(FIRST, name=name, compat="backward")
            ends = [
                both.submit(one.publish_schema, words, name=name),
                both.submit(other.publish_schema, numbers, name=name, version="1.2.0"),
            ]
            errors = [end.exception() for end in ends]
            assert [type(error) for error in errors if error is not None] == [CompatibilityError], errors
            versions = {schema.version for schema in one.list_schemas() if schema.name == name}
            assert versions == {"1.0.0", "1.1.0" if errors[1] else "1.2.0"}


def test_a_version_that_is_asked_for(index: Any) -> None:
    index.publish_schema(FIRST)
    assert version(index, RENAMED, version="1.0.1") == "1.0.1", "nothing was promised"
    with pytest.raises(ConflictError):
        index.publish_schema(FIRST, version="1.0.1")
    index.publish_schema(FIRST, name="Kept", compat="backward")
    with pytest.raises(UsageError, match=r"1\.0\.1 says less than has changed since 1\.0\.0") as caught:
        index.publish_schema(MORE, name="Kept", version="1.0.1")
    assert caught.value.expected == "1.1.0 or higher, for a minor change"
    assert version(index, MORE, name="Kept", version="2.1.0") == "2.1.0", "more may be said"
    assert version(index, TOLD, name="Kept", version="1.0.7") == "1.0.7", "held to the one it comes after"
    with pytest.raises(CompatibilityError):
        index.publish_schema(RENAMED, name="Kept", version="3.0.0")
    assert version(index, LESS, name="Kept", version="3.0.0-rc.1") == "3.0.0-rc.1"
    with pytest.raises(UsageError, match="mode of compatibility"):
        index.publish_schema(FIRST, compat="sideways")


def test_a_mode_of_a_later_time_is_not_passed_over(index: Any) -> None:
    draft = Schema.of(FIRST, version="1.0.0")
    index.put_schema(Schema.from_record({**draft.to_record(), "compatibility": "backward_in_time"}))
    with pytest.raises(UsageError, match="not known here"):
        index.publish_schema(MORE)
    assert version(index, MORE, compat="full") == "1.1.0"


@pytest.mark.parametrize(
    ("newest", "step", "after"),
    [
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3", None, "1.2.4"),
        ("2.0.0-rc.1", "major", "2.0.0"),
        ("2.0.0-rc.1", "patch", "2.0.0"),
        ("2.1.0-rc.1", "minor", "2.1.0"),
        ("2.1.0-rc.1", "major", "3.0.0"),
        ("2.1.1-rc.1", "minor", "2.2.0"),
        ("0.2.1", "major", "0.3.0"),
        ("0.2.1", "minor", "0.2.2"),
        ("not a version", "major", "1.0.0"),
    ],
)
def test_what_follows_a_version(newest: str, step: Step | None, after: str) -> None:
    assert next_after(newest, step) == after


def test_where_no_version_follows() -> None:
    with pytest.raises(LimitError, match="no major version"):
        next_after("999999999.0.0", "major")


@pytest.mark.served
def test_the_official_validator_takes_a_mode(realnet: RealNet) -> None:
    account = realnet.create_account(fresh_handle())
    publisher = SchemaPublisher(realnet.client(account))
    publisher.publish(FIRST, compat="full_transitive")
    uri = publisher.publish(MORE)
    records = list_records(account.pds_url, account.did, str(Schema.NSID))
    assert [record["value"]["compatibility"] for record in records] == ["full_transitive"] * 2
    assert [verdict for verdict in official_verdicts(records) if not verdict["ok"]] == []
    assert SchemaLoader(realnet.client()).get(str(uri)).compatibility == "full_transitive"
