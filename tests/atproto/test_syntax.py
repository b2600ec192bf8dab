"""Identifiers as types, and the TID clock. What text is accepted is in the interop vectors."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.formats import check_datetime, check_language, format_datetime, parse_datetime
from atdata.atproto.syntax import (
    FORMATS,
    AtUri,
    BlobUri,
    Did,
    Handle,
    Identifier,
    Nsid,
    RecordKey,
    Tid,
    TidClock,
    check_format,
    parse_identifier,
    typed_identifier,
)
from atdata.errors import IdentifierError, UsageError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
CID = str(Cid.of_raw(b"shard"))
EXAMPLES = [
    Did(DID),
    Handle("alice.example.com"),
    Nsid("science.alt.dataset.entry"),
    RecordKey("Mnist:1.0.0"),
    Tid("3jzfcijpj2z2a"),
    AtUri(f"at://{DID}/science.alt.dataset.entry/3jzfcijpj2z2a"),
    BlobUri(f"at://{DID}/blob/{CID}"),
]
TYPES = [type(example) for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_an_identifier_is_a_string_that_keeps_its_type(example: Identifier) -> None:
    kind, text = type(example), str(example)
    assert type(text) is str
    assert example == text == f"{example}"
    assert hash(example) == hash(text)
    assert repr(example) == f"{kind.__name__}({text!r})"
    for twin in (kind.parse(text), pickle.loads(pickle.dumps(example)), copy.copy(example), copy.deepcopy(example)):
        assert twin == example
        assert type(twin) is kind
    assert not hasattr(example, "__dict__")


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("value", [None, 7, b"did:plc:x", ["did:plc:x"], "", "\n", "x\0y", "é" * 5, "a" * 100_000])
def test_what_is_no_identifier_is_refused(kind: type[Identifier], value: Any) -> None:
    with pytest.raises(IdentifierError) as caught:
        kind(value)
    assert caught.value.hint
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
@pytest.mark.parametrize("spoil", ["{}\n", " {}", "{}\0", "{}\u2028", "{}é"])
def test_nothing_clings_to_an_identifier(example: Identifier, spoil: str) -> None:
    with pytest.raises(IdentifierError):
        type(example)(spoil.format(example))


@given(st.sampled_from(TYPES), st.text())
def test_any_text_is_an_identifier_or_an_identifier_error(kind: type[Identifier], text: str) -> None:
    try:
        assert kind(text) == text
    except IdentifierError as error:
        assert error.hint  # noqa: PT017


@given(st.sampled_from(sorted(FORMATS)), st.text())
def test_any_text_has_a_format_or_not(name: str, text: str) -> None:
    try:
        check_format(name, text)
    except IdentifierError as error:
        assert error.hint  # noqa: PT017


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize(
    "text", ["a-" * 50_000, "a." * 50_000, "did:" + "a:" * 50_000, "at://" + "a/" * 50_000, "1" * 10**6]
)
def test_long_text_is_refused_at_once(name: str, text: str) -> None:
    with pytest.raises(IdentifierError):
        check_format(name, text)


def test_an_unknown_format_is_a_mistake() -> None:
    with pytest.raises(UsageError):
        check_format("colour", "red")


def test_parts_of_identifiers() -> None:
    assert Did(DID).method == "plc"
    assert Did("did:web:example.com").method == "web"
    assert Handle("Alice.Example.COM").normalized == "alice.example.com"
    assert type(Handle("A.com").normalized) is Handle
    nsid = Nsid("science.alt.dataset.lensVerification")
    assert (nsid.authority, nsid.name) == ("dataset.alt.science", "lensVerification")


def test_a_did_or_a_handle() -> None:
    assert type(parse_identifier(DID)) is Did
    assert type(parse_identifier("alice.test")) is Handle
    for text in ("did:plc:", "alice", "", "@alice.test", "did:PLC:x", None, 7):
        with pytest.raises(IdentifierError):
            parse_identifier(text)


def test_parts_of_an_at_uri() -> None:
    uri = AtUri(f"at://{DID}/science.alt.dataset.entry/3jzfcijpj2z2a")
    assert (uri.authority, uri.collection, uri.rkey) == (DID, "science.alt.dataset.entry", "3jzfcijpj2z2a")
    assert [type(part) for part in (uri.authority, uri.collection, uri.rkey)] == [Did, Nsid, RecordKey]
    assert AtUri.of(uri.authority, uri.collection, uri.rkey) == uri
    bare = AtUri("at://alice.test")
    assert (bare.authority, bare.collection, bare.rkey) == ("alice.test", None, None)
    assert AtUri("at://alice.test/a.b.c/x").with_authority(DID) == f"at://{DID}/a.b.c/x"
    assert bare.with_authority(Did(DID)) == f"at://{DID}"


@pytest.mark.parametrize(
    "parts", [("alice",), (DID, "entry"), (DID, "a.b.c", ".."), (DID, "a.b.c", "a/b"), ("a.b/c.d.e",)]
)
def test_an_at_uri_is_not_made_of_other_parts(parts: tuple[str, ...]) -> None:
    with pytest.raises(IdentifierError):
        AtUri.of(*parts)


def test_a_record_key_needs_a_collection() -> None:
    with pytest.raises(UsageError):
        AtUri.of(DID, None, "self")


def test_a_blob_address() -> None:
    uri = BlobUri.of(DID, CID)
    assert (uri, uri.did, uri.cid) == (f"at://{DID}/blob/{CID}", DID, CID)
    assert type(uri.did) is Did
    with pytest.raises(IdentifierError):
        AtUri(uri)


@pytest.mark.parametrize(
    "text",
    [
        f"at://alice.test/blob/{CID}",
        f"at://{DID}/blob/{CID.upper()}",
        f"at://{DID}/blob/{Cid.of_cbor(b'shard')}",
        f"at://{DID}/blob/{CID}/x",
        f"at://{DID}/blobs/{CID}",
        f"at://{DID}/blob/",
        f"at://{DID}/a.b.c/{CID}",
    ],
)
def test_what_is_no_blob_address(text: str) -> None:
    with pytest.raises(IdentifierError):
        BlobUri(text)


@given(st.integers(0, 2**53 - 1), st.integers(0, 1023))
def test_a_tid_is_its_time_and_its_clock(microseconds: int, clock_id: int) -> None:
    tid = Tid.from_microseconds(microseconds, clock_id)
    assert (tid.microseconds, tid.clock_id) == (microseconds, clock_id)
    assert Tid(str(tid)) == tid


@given(*[st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 1023))] * 2)
def test_tids_sort_by_time(left: tuple[int, int], right: tuple[int, int]) -> None:
    assert (Tid.from_microseconds(*left) < Tid.from_microseconds(*right)) == (left < right)


@pytest.mark.parametrize("parts", [(-1, 0), (2**53, 0), (0, -1), (0, 1024)])
def test_a_tid_has_bounds(parts: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        Tid.from_microseconds(*parts)


def test_a_clock_only_goes_forward() -> None:
    times = iter([100, 100, 50, 101, 500])
    clock = TidClock(lambda: next(times), clock_id=3)
    tids = [clock.next() for _ in range(5)]
    assert [tid.microseconds for tid in tids] == [100, 101, 102, 103, 500]
    assert {tid.clock_id for tid in tids} == {3}
    assert TidClock(lambda: 0, after=7).next().microseconds == 8


def test_tids_of_several_threads_are_different_and_rise_in_each() -> None:
    made: list[list[Tid]] = [[] for _ in range(4)]

    def work(mine: list[Tid]) -> None:
        mine.extend(Tid.now() for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({tid for mine in made for tid in mine}) == 8000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_a_clock_of_its_own() -> None:
    program = (
        "import os\n"
        "from atdata.atproto import syntax\n"
        "before = syntax._clock\n"
        "before._lock.acquire()\n"  # as a thread of the parent might have
        "child = os.fork()\n"
        "if not child: os._exit(0 if syntax.Tid.now() and syntax._clock is not before else 1)\n"
        "raise SystemExit(os.waitpid(child, 0)[1])"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_only_keys_need_cryptography() -> None:
    modules = "atdata.atproto.syntax, atdata.atproto.lexicon, atdata.atproto.repo.car, atdata.atproto.repo.diff"
    program = f"import sys, {modules}; raise SystemExit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_without_cryptography_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None; from atdata.atproto import keys; keys.PrivateKey.generate()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "MissingExtraError" in ended.stderr
    assert "pip install 'atdata[atmosphere]'" in ended.stderr


moments = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.builds(timezone, st.integers(-1439, 1439).map(lambda m: timedelta(minutes=m))),
)


@given(moments)
def test_a_moment_is_written_and_read(moment: datetime) -> None:
    text = format_datetime(moment)
    check_format("datetime", text)
    assert parse_datetime(text) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert parse_datetime(moment.isoformat(timespec="microseconds").replace("-00:00", "Z")) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1985-04-12T23:20:50.1235678912345Z", datetime(1985, 4, 12, 23, 20, 50, 123567, UTC)),
        ("1985-04-12T23:20:50+01:45", datetime(1985, 4, 12, 21, 35, 50, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert parse_datetime(text) == moment


@pytest.mark.parametrize("text", ["0000-02-29T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+00:01"])
def test_moments_python_has_not(text: str) -> None:
    check_datetime(text)
    with pytest.raises(IdentifierError):
        parse_datetime(text)


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29T00:00:00Z",
        "1985-04-12T23:20:60Z",
        "1985-04-12T24:00:00Z",
        "1985-04-12T23:20:50+24:00",
        "1985-04-12T23:20:50+01:60",
    ],
)
def test_moments_that_never_were(text: str) -> None:
    with pytest.raises(IdentifierError):
        check_datetime(text)


@pytest.mark.parametrize(
    "tag", ["en", "sl-rozaj-biske", "zh-hakka", "x-private", "en-u-co-phonebk-t-en-US", "de-a-foo-x-a-a"]
)
def test_languages_that_could_be_valid(tag: str) -> None:
    check_language(tag)


def test_a_moment_without_a_zone_is_none() -> None:
    with pytest.raises(IdentifierError):
        format_datetime(datetime(2025, 1, 1))


@pytest.mark.parametrize(
    "typed",
    [
        "alice.example.com",
        "@alice.example.com",
        " @alice.example.com\n",
        "at://alice.example.com",
        "at://alice.example.com/",
        "\u202a@alice.example.com\u202c",
        "\u2068alice.example.com\u2069\u200b",
        "\ufeffalice.example.com",
    ],
)
def test_a_handle_is_found_in_what_was_copied_with_it(typed: str) -> None:
    assert typed_identifier(typed) == Handle("alice.example.com")
    assert typed_identifier(typed.replace("alice.example.com", "did:plc:ewvi7nxzyoun6zhxrhs64oiz")) == (
        "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
    )


@pytest.mark.parametrize(
    "typed", ["\u0430lice.example.com", "alice\u200d", "аlice.example.com\u202e", "alice example.com\t.x", ""]
)
def test_what_is_no_handle_is_shown_so_that_one_sees_why(typed: str) -> None:
    with pytest.raises(IdentifierError) as caught:
        typed_identifier(typed)
    assert (caught.value.actual or "").isascii()
    assert (caught.value.actual or "").isprintable()
