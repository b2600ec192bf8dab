"""JSON from strangers and from disk: every text is read, or is an error of ours."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atmosphere import Evidence
from atdata.atmosphere.evidence import SeenCommits
from atdata.atproto.fetch import refusal
from atdata.atproto.net.session import Session
from atdata.atproto.syntax import Did
from atdata.cli import account
from atdata.errors import AtdataError, DataModelError, RollbackError, UsageError, XrpcError
from atdata.json_reader import MAX_DEPTH, read_json
from atdata.manifest.header import Header
from atdata.transport import Response
from support.terminal import Terminal

DEEP = b"[" * 100_000
HOSTILE = [
    b"",
    DEEP,
    b'{"a":' * 100_000,
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b"\xff\xfe",
    b'"\xff"',
    b'"\\ud800"',
    b"NaN",
    b"Infinity",
    b"1e999",
    b"9" * 5000,
    b"{}x",
    b"{'a': 1}",
    "{}".encode("utf-16"),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)  # fmt: skip


@given(values)
def test_what_is_json_is_read(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert read_json(text) == read_json(text.encode()) == value


@given(st.binary(max_size=40) | st.sampled_from(HOSTILE))
def test_any_bytes_are_read_or_an_error_of_ours(data: bytes) -> None:
    with suppress(DataModelError):
        read_json(data)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:12]))
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(DataModelError):
        read_json(data)


def test_a_value_may_be_as_deep_as_the_limit() -> None:
    text = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert json.dumps(read_json(text), separators=(",", ":")).encode() == text
    assert read_json(b"[" + b"[],{}," * MAX_DEPTH + b"1]")


def test_a_value_is_of_the_kind_that_it_must_be() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    assert read_json(b'{"x": 1, "more": [[]]}', Point) == Point(1)
    for text in (b'{"x": "1"}', b"[]", b'{"x": 1, "more": ' + DEEP + b"}"):
        with pytest.raises(DataModelError):
            read_json(text, Point)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:12]))
def test_whoever_reads_json_gives_an_error_of_its_own(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataModelError, match=r"not evidence"):
        Evidence.from_json(data)
    ledger, did = SeenCommits(tmp_path), Did("did:web:example.com")
    ledger._path(did).parent.mkdir()
    ledger._path(did).write_bytes(data)
    with pytest.raises(RollbackError):
        ledger.seen(did)
    assert isinstance(refusal(Response(400, {}, data, "https://pds.example"), "at://x"), XrpcError)
    with pytest.raises(AtdataError):
        Header.decode(data, "file:///x.manifest.json")


@pytest.mark.parametrize("kept", [b"\xff\xfe\x00", b"\x00" * 50, "a:::b:::ü:::d:::e".encode(), b"", b":::" * 4])
def test_a_session_file_that_holds_none_is_an_error_of_ours(
    kept: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATDATA_DATA", str(tmp_path))
    account.session_file().write_bytes(kept)
    with pytest.raises(UsageError, match=r"not an exported session"), account.logged_in():
        raise AssertionError("logged in with no session")


def test_a_token_that_can_be_no_header_is_no_session() -> None:
    with pytest.raises(UsageError):
        Session.parse("a.example:::did:web:a.example:::tok\r\nx: y:::refresh:::https://pds.example")


@pytest.mark.parametrize("kept", [b"\xff\xfe\x00", DEEP, b"{}", b"[]", b"\x00"])
def test_a_file_that_holds_no_evidence_is_an_error_of_ours(
    kept: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept.json").write_bytes(kept)
    terminal = Terminal(capsys, monkeypatch)
    assert terminal.run("verify", "kept.json") == 1
    assert "not evidence as Evidence.to_json writes it" in terminal.out + terminal.err
