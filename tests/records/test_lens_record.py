"""The lens record: a program rides in it with its digest, and readers that know code alone still read a lens."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import DataModelError, LensError, LexiconError
from atdata.lens.language import LANGUAGE, VERSION
from atdata.records import CodeReference, LensRecord, ProgramMember, check_outgoing
from atdata.records.lens import Interpreter
from atdata.settings import Settings

ROOT = Path(__file__).parents[2]
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SOURCE, TARGET = (AtUri(f"at://{DID}/science.alt.dataset.schema/Row:{version}") for version in ("1.0.0", "2.0.0"))
CODE = CodeReference("https://example.com/r", "0" * 40, "a.py:f", language="python")
VALUE = {
    "language": "atdata-lens",
    "version": 1,
    "steps": [{"rename": {"from": "a", "to": "b"}}, {"scale": {"by": "0.1"}}],
}


@dataclass(frozen=True)
class Made:
    """What publishes as a program: the shape alone is asked for."""

    value: Any

    @property
    def cid(self) -> Cid:
        return Cid.of_cbor(cbor.encode(self.value))


def lens(**facts: Any) -> LensRecord:
    ends = {"source_schema": SOURCE, "target_schema": TARGET}
    return LensRecord(**{"name": "l", **ends, "getter_code": CODE, "putter_code": CODE, **facts})


PROGRAM = ProgramMember.of(Made(VALUE))


def test_a_program_rides_in_the_record_with_its_digest() -> None:
    record = lens(program=PROGRAM, source_schema_version=">=1.0.0 <2.0.0", target_schema_version="2.x")
    value = check_outgoing(record)
    assert value["program"] == {**VALUE, "cid": str(Made(VALUE).cid)}
    back = LensRecord.from_record(cbor.decode(cbor.encode(value)))
    assert back == record
    assert back.program == PROGRAM
    assert (back.source_schema_version, back.target_schema_version) == (">=1.0.0 <2.0.0", "2.x")


def test_who_knows_code_alone_reads_a_lens() -> None:
    """The members that the published lexicon requires are there, whatever else there is."""
    value = check_outgoing(lens(program=PROGRAM))
    known = {name: item for name, item in value.items() if name != "program"}
    assert LensRecord.from_record(known).getter_code == CODE


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"steps": []}, "program.cid"),
        ({"more": 1}, "program.cid"),
        ({"version": 2}, "program.cid"),
        ({"cid": str(Cid.of_raw(b"x"))}, "program.cid"),
        ({"cid": "no CID"}, "program.cid"),
        ({"cid": None}, "program.cid"),
        ({"language": ""}, "program.language"),
        ({"version": "1"}, "program.version"),
        ({"version": True}, "program.version"),
        ({"steps": {}}, "program.steps"),
    ],
)
def test_a_record_whose_program_is_another_is_refused(change: dict[str, Any], path: str) -> None:
    value = check_outgoing(lens(program=PROGRAM))
    with pytest.raises(LexiconError) as caught:
        LensRecord.from_record({**value, "program": {**value["program"], **change}})
    assert caught.value.path == path


@pytest.mark.parametrize("there", [None, [], "text", 5])
def test_what_stands_for_a_program_and_is_none_is_refused(there: Any) -> None:
    with pytest.raises(LexiconError):
        LensRecord.from_record({**lens().to_record(), "program": there})


@pytest.mark.parametrize("step", [{"by": 0.5}, {"by": 2**53}, {"by": -(2**53)}])
def test_no_float_and_no_large_integer_stands_in_a_record(step: Any) -> None:
    value = {**VALUE, "steps": [step]}
    cid = Cid.of_raw(b"x") if isinstance(step["by"], float) else Made(value).cid
    with pytest.raises((DataModelError, LexiconError)):
        LensRecord.from_record({**lens().to_record(), "program": {**value, "cid": str(cid)}})
    if isinstance(step["by"], int):
        with pytest.raises(LensError, match="cannot stand in a record"):
            ProgramMember.of(Made(value))


def test_a_program_that_lies_about_itself_is_not_written() -> None:
    @dataclass(frozen=True)
    class Lying:
        value: Any
        cid: Cid

    with pytest.raises(LensError) as caught:
        ProgramMember.of(Lying(VALUE, Cid.of_raw(b"another")))
    assert caught.value.path == "program.cid"


def test_what_a_lens_does_is_what_it_is() -> None:
    """Another program, other code or other versions are another lens; words about it are not."""
    base = lens(program=PROGRAM)
    other = ProgramMember.of(Made({**VALUE, "steps": []}))
    content = base.index_keys.content
    assert replace(base, description="x", metadata={"a": 1}).index_keys.content == content
    for changed in (
        replace(base, program=other),
        replace(base, program=None),
        replace(base, source_schema_version="1.x"),
        replace(base, target_schema_version="2.x"),
        replace(base, putter_code=replace(CODE, path="a.py:g")),
    ):
        assert changed.index_keys.content != content


def test_what_stood_before_keeps_its_identity() -> None:
    said = {"sourceSchema": str(SOURCE), "targetSchema": str(TARGET)}
    codes = {"getterCode": CODE.to_record(), "putterCode": CODE.to_record()}
    assert lens().index_keys.content == Cid.of_cbor(cbor.encode({**said, **codes}))


@pytest.mark.parametrize("collection", ["science.alt.dataset.lens", "ac.foundation.dataset.lens"])
def test_records_of_the_earlier_implementation_are_read(collection: str) -> None:
    code = {"repository": "https://github.com/user/repo", "commit": "abc123def456", "path": "mymodule.lenses:my_lens"}
    value = {
        "$type": collection,
        "name": "my_lens",
        "sourceSchema": f"at://{DID}/ac.foundation.dataset.sampleSchema/3jzfcijpj2z2a",
        "targetSchema": f"at://{DID}/science.alt.dataset.schema/3jzfcijpj2z2b",
        "getterCode": code,
        "putterCode": {**code, "path": "mymodule.lenses:my_lens_putter"},
        "language": "python",
        "metadata": {"author": "someone"},
        "createdAt": "2026-02-01T10:00:00.123456+00:00",
    }
    read = LensRecord.from_record(value, collection)
    assert (read.getter_code.commit, read.language, read.metadata) == ("abc123def456", "python", {"author": "someone"})
    assert bool(read.older_forms) == (collection != "science.alt.dataset.lens")
    assert read.has_putter


def test_the_interpreter_that_records_name_is_one_setting() -> None:
    release = "https://git.example.org/atdata@" + "0b" * 20
    interpreter = Interpreter.of(Settings.of(lens_interpreter=release))
    for code in (interpreter.getter, interpreter.putter, interpreter.no_putter):
        assert f"{code.repository}@{code.commit}" == release
    assert Interpreter.of(Settings.of()).repository.startswith("https://")
    assert not lens(putter_code=interpreter.no_putter).has_putter


def parsed_here(path: str) -> list[ast.stmt]:
    return ast.parse((ROOT / path).read_text("utf-8")).body


def parsed_in(commit: str) -> Callable[[str], list[ast.stmt]]:
    def parsed(path: str) -> list[ast.stmt]:
        show = ["git", "-C", str(ROOT), "show", f"{commit}:{path}"]
        return ast.parse(subprocess.run(show, capture_output=True, text=True, check=True).stdout).body

    return parsed


def test_the_functions_that_records_name_are_in_the_release() -> None:
    """And they speak the version of the language that is written now. A clone without that commit has them too."""
    interpreter, sources = Interpreter.of(Settings.of()), [parsed_here]
    there = ["git", "-C", str(ROOT), "cat-file", "-e", f"{interpreter.commit}^{{commit}}"]
    if shutil.which("git") and subprocess.run(there, stderr=subprocess.DEVNULL).returncode == 0:
        sources.append(parsed_in(interpreter.commit))
    for parsed in sources:
        for code in (interpreter.getter, interpreter.putter, interpreter.no_putter):
            path, _, name = code.path.partition(":")
            nodes = parsed(path)
            for part in name.split("."):
                [found] = [node for node in nodes if getattr(node, "name", None) == part]
                nodes = getattr(found, "body", [])
        said = {
            node.targets[0].id: node.value.value
            for node in parsed("src/atdata/lens/language/program.py")
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        assert (said["LANGUAGE"], said["VERSION"]) == (LANGUAGE, VERSION)
