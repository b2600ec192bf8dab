"""did:plc: the 20 audit logs of the interop suite, and logs of our own making."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.formats import format_datetime
from atdata.atproto.identity import DidDocument
from atdata.atproto.keys import PrivateKey
from atdata.atproto.plc import (
    build_operation,
    build_tombstone,
    did_of_genesis,
    operation_cid,
    sign_operation,
    to_did_document,
    verify_audit_log,
)
from atdata.errors import IdentifierError, IdentityError, SignatureError, VerificationError
from support.oracles import OWN_VECTORS

LOGS = OWN_VECTORS / "did-plc-interop" / "interop_tests" / "audit_log"
LOG_FILES = sorted(LOGS.glob("*/*.json"))

RECOVERY, ROTATION, SIGNING, NEXT, STRANGER = (
    PrivateKey.from_bytes("k256", bytes([7] * 31 + [n])) for n in range(1, 6)
)
START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("path", LOG_FILES, ids=lambda path: path.stem)
def test_interop_log(path: Path) -> None:
    log = json.loads(path.read_text("utf-8"))
    if path.parent.name == "invalid":
        with pytest.raises(VerificationError) as caught:
            verify_audit_log(log[0]["did"], log)
        assert caught.value.step == "did"
        assert caught.value.path.startswith("operation ")
        return
    state = verify_audit_log(log[0]["did"], log)
    assert [str(operation.cid) for operation in state.history] == [e["cid"] for e in log if not e["nullified"]]


def test_no_log_is_left_out() -> None:
    assert len(LOG_FILES) == 20


def test_the_legacy_form_is_read_as_the_regular_one() -> None:
    log = json.loads((LOGS / "valid" / "log_legacy_dholms.json").read_text("utf-8"))
    first = verify_audit_log(log[0]["did"], log).history[0]
    op = log[0]["operation"]
    assert first.rotation_keys == (op["recoveryKey"], op["signingKey"])
    assert (first.signing_key, first.pds) == (op["signingKey"], op["service"])
    assert first.also_known_as == (f"at://{op['handle']}",)


def operation(prev: Cid | None = None, **changes: Any) -> dict[str, Any]:
    facts = {
        "rotation_keys": [RECOVERY.public.did_key, ROTATION.public.did_key],
        "signing_key": SIGNING.public.did_key,
        "handle": "alice.test",
        "pds": "https://pds.example.com",
    }
    return build_operation(**{**facts, **changes}, prev=prev)


class Log:
    """A directory that takes every operation it is given."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, op: dict[str, Any], key: PrivateKey, after: timedelta = HOUR, nullifies: int = 0) -> Cid:
        signed = sign_operation(op, key)
        self.did = did_of_genesis(signed) if not self.entries else self.did
        for entry in self.entries[len(self.entries) - nullifies :]:
            entry["nullified"] = True
        self.time = self.time + after if self.entries else START
        self.entries.append(
            {
                "did": str(self.did),
                "operation": signed,
                "cid": str(operation_cid(signed)),
                "nullified": False,
                "createdAt": format_datetime(self.time),
            }
        )
        return operation_cid(signed)

    def verify(self) -> Any:
        return verify_audit_log(self.did, self.entries)


def test_a_new_identity() -> None:
    log = Log()
    log.add(operation(), ROTATION)
    state = log.verify()
    assert state.did == log.did
    assert (state.current.signing_key, state.current.pds) == (SIGNING.public.did_key, "https://pds.example.com")
    assert state.current.also_known_as == ("at://alice.test",)
    assert state.current.rotation_keys == (RECOVERY.public.did_key, ROTATION.public.did_key)
    assert not state.current.tombstoned


def test_the_document_of_a_new_identity_is_read_back() -> None:
    log = Log()
    log.add(operation(), ROTATION)
    document = to_did_document(log.verify())
    assert document["verificationMethod"][0]["id"] == f"{log.did}#atproto"
    parsed = DidDocument.parse(json.loads(json.dumps(document)), log.did)
    assert parsed.signing_key == SIGNING.public
    assert parsed.pds == "https://pds.example.com"
    assert parsed.handles == ("alice.test",)


def test_a_key_counts_for_its_time() -> None:
    log = Log()
    first = log.add(operation(), ROTATION)
    log.add(operation(first, signing_key=NEXT.public.did_key), ROTATION, after=10 * HOUR)
    state = log.verify()
    assert state.key_at(START - HOUR) is None
    assert state.key_at(START) == state.key_at(START + 9 * HOUR) == SIGNING.public.did_key
    assert state.key_at(START + 10 * HOUR) == state.current.signing_key == NEXT.public.did_key


def test_a_stolen_key_that_was_undone_never_counted() -> None:
    log = Log()
    first = log.add(operation(), ROTATION)
    log.add(operation(first, signing_key=STRANGER.public.did_key), ROTATION)
    log.add(operation(first, handle="safe.test"), RECOVERY, after=72 * HOUR, nullifies=1)
    state = log.verify()
    assert state.key_at(START + 2 * HOUR) == SIGNING.public.did_key
    assert state.current.also_known_as == ("at://safe.test",)


@pytest.mark.parametrize(
    ("key", "after", "error"),
    [
        (ROTATION, HOUR, SignatureError),  # no more authority than the one that signed the other side
        (STRANGER, HOUR, SignatureError),
        (RECOVERY, 72 * HOUR + timedelta(seconds=1), IdentityError),
    ],
)
def test_a_recovery_needs_authority_and_time(key: PrivateKey, after: timedelta, error: type[Exception]) -> None:
    log = Log()
    first = log.add(operation(), ROTATION)
    log.add(operation(first, handle="other.test"), ROTATION)
    log.add(operation(first, handle="safe.test"), key, after=after, nullifies=1)
    with pytest.raises(error) as caught:
        log.verify()
    assert caught.value.path == "operation 2"


def test_a_tombstone_ends_it() -> None:
    log = Log()
    end = log.add(build_tombstone(log.add(operation(), ROTATION)), ROTATION)
    state = log.verify()
    assert state.current.tombstoned
    assert (state.current.signing_key, state.current.pds, state.current.rotation_keys) == (None, None, ())
    with pytest.raises(IdentityError, match="tombstoned"):
        to_did_document(state)
    log.add(operation(end), ROTATION)
    with pytest.raises(SignatureError):
        log.verify()


def test_a_tombstone_can_be_undone() -> None:
    log = Log()
    first = log.add(operation(), ROTATION)
    log.add(build_tombstone(first), ROTATION)
    log.add(operation(first), RECOVERY, nullifies=1)
    assert not log.verify().current.tombstoned


def good_log() -> Log:
    log = Log()
    first = log.add(operation(), ROTATION)
    log.add(operation(first, handle="other.test"), ROTATION)
    log.add(operation(first, handle="safe.test"), RECOVERY, nullifies=1)
    log.verify()
    return log


def mutations(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of everything in a log."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in mutations(item, (*path, key)))]


GOOD = good_log()
PLACES = mutations(GOOD.entries)


@given(
    st.sampled_from(PLACES),
    st.sampled_from(["", "x", None, 3, 1.5, [], {}, ["x"], {"x": "y"}, True, "\ud800", "did:key:zzz", [[[]]]]),
)
def test_no_part_of_a_log_can_be_changed(place: tuple[Any, ...], other: Any) -> None:
    log = copy.deepcopy(GOOD.entries)
    if not place:
        log = other
    else:
        here: Any = log
        for key in place[:-1]:
            here = here[key]
        here[place[-1]] = other
    if log == GOOD.entries:
        return
    with pytest.raises(VerificationError):
        verify_audit_log(GOOD.did, log)


@pytest.mark.parametrize("place", [place for place in PLACES if place], ids=str)
def test_no_part_of_a_log_can_be_left_out(place: tuple[Any, ...]) -> None:
    log = copy.deepcopy(GOOD.entries)
    here: Any = log
    for key in place[:-1]:
        here = here[key]
    del here[place[-1]]
    if place == (1,):
        # All but an operation that was undone: a directory can withhold it, and the state is the same.
        assert verify_audit_log(GOOD.did, log) == GOOD.verify()
        return
    with pytest.raises(VerificationError):
        verify_audit_log(GOOD.did, log)


def test_members_that_were_not_agreed_on_are_refused() -> None:
    log = Log()
    log.add({**operation(), "extra": "x"}, ROTATION)
    with pytest.raises(IdentityError, match="not an operation"):
        log.verify()


@pytest.mark.parametrize(
    "change",
    [
        {"rotationKeys": "did:key:x"},
        {"rotationKeys": [7]},
        {"verificationMethods": []},
        {"verificationMethods": {"atproto": None}},
        {"alsoKnownAs": None},
        {"alsoKnownAs": [["at://alice.test"]]},
        {"services": []},
        {"services": {"atproto_pds": "https://pds.example.com"}},
        {"services": {"atproto_pds": {"type": "x"}}},
        {"services": {"atproto_pds": {"type": "x", "endpoint": "y", "more": "z"}}},
        {"services": {"atproto_pds": {"type": "x", "endpoint": 7}}},
        {"type": "plc_update"},
        {"prev": 7},
    ],
    ids=str,
)
def test_a_signed_operation_must_have_its_shape_too(change: dict[str, Any]) -> None:
    log = Log()
    log.add({**operation(), **change}, ROTATION)
    with pytest.raises(IdentityError) as caught:
        log.verify()
    assert caught.value.path == "operation 0"


@pytest.mark.parametrize("log", [None, [], {}, "x", 7])
def test_what_is_no_log_is_refused(log: Any) -> None:
    with pytest.raises(IdentityError):
        verify_audit_log(GOOD.did, log)


def test_a_rotation_key_nobody_can_read_signs_nothing_and_stops_nothing() -> None:
    log = Log()
    first = log.add(operation(rotation_keys=["did:key:zUnknown", ROTATION.public.did_key]), ROTATION)
    log.add(operation(first), ROTATION)
    assert len(log.verify().history) == 2


def test_a_server_is_one_by_its_type() -> None:
    log = Log()
    other = {"atproto_pds": {"type": "Other", "endpoint": "https://other.example.com"}}
    log.add({**operation(), "services": other}, ROTATION)
    assert log.verify().current.pds is None


def test_the_log_of_another_is_refused() -> None:
    with pytest.raises(IdentityError):
        verify_audit_log("did:plc:ewvi7nxzyoun6zhxrhs64oiz", GOOD.entries)
    with pytest.raises(IdentifierError):
        verify_audit_log("not a did", GOOD.entries)


def test_time_does_not_run_backwards() -> None:
    log = Log()
    first = log.add(operation(), ROTATION)
    log.add(operation(first), ROTATION, after=-HOUR)
    with pytest.raises(IdentityError, match="dated before"):
        log.verify()


def test_verifying_is_bounded_by_the_number_of_keys() -> None:
    log = Log()
    log.add(operation(rotation_keys=[STRANGER.public.did_key] * 10_000 + [ROTATION.public.did_key]), ROTATION)
    with pytest.raises(IdentityError, match="too many"):
        log.verify()


def test_deep_nesting_in_a_log_is_refused() -> None:
    deep: Any = []
    for _ in range(800):
        deep = [deep]
    for member in ("operation", "cid", "createdAt", "did", "nullified"):
        log = copy.deepcopy(GOOD.entries)
        log[0][member] = deep
        with pytest.raises(VerificationError):
            verify_audit_log(GOOD.did, log)
    log = copy.deepcopy(GOOD.entries)
    log[1]["operation"]["prev"] = deep
    with pytest.raises(VerificationError):
        verify_audit_log(GOOD.did, log)
