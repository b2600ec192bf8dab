from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.errors import DataModelError, IdentifierError

cids = st.builds(Cid.from_digest, st.sampled_from(["raw", "dag-cbor"]), st.binary(min_size=32, max_size=32))
EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@given(cids)
def test_text_and_bytes_name_the_same_cid(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == cid == Cid.from_bytes(bytes(cid)) == Cid.from_bytes(cid.to_bytes())
    assert Cid.from_digest(cid.codec, cid.digest) == cid
    assert pickle.loads(pickle.dumps(cid)) == copy.deepcopy(cid) == cid
    assert len({cid, Cid.parse(str(cid))}) == 1
    assert eval(repr(cid), {"Cid": Cid.parse}) == cid


@given(cids, cids)
def test_they_sort_as_their_bytes(left: Cid, right: Cid) -> None:
    assert (left < right) == (bytes(left) < bytes(right))


@given(st.binary())
def test_a_cid_matches_its_content_only(content: bytes) -> None:
    cid = Cid.of_raw(content)
    assert (cid.codec, cid.matches(content)) == ("raw", True)
    assert not cid.matches(content + b"\0")
    assert Cid.of_cbor(content).digest == cid.digest
    assert Cid.of_cbor(content) != cid


def test_the_cid_of_nothing() -> None:
    assert str(Cid.of_raw(b"")) == EMPTY
    assert repr(Cid.of_raw(b"")) == f"Cid('{EMPTY}')"


@given(st.text())
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(IdentifierError) as caught:
        Cid.parse(text)
    assert caught.value.hint


@given(cids, st.data())
def test_each_cid_has_one_text(cid: Cid, data: st.DataObject) -> None:
    text = str(cid)
    place = data.draw(st.integers(0, len(text) - 1))
    other = text[:place] + data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567AZ19=")) + text[place + 1 :]
    try:
        assert str(Cid.parse(other)) == other
    except IdentifierError:
        assert other != text


@pytest.mark.parametrize(
    "text",
    [
        EMPTY.upper(),
        EMPTY + "=",
        EMPTY + "\n",
        " " + EMPTY,
        EMPTY[:-1] + "v",  # a bit beyond the 36 bytes
        "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
        "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",  # dag-pb
        "",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(IdentifierError):
        Cid.parse(text)


@pytest.mark.parametrize("value", [None, 7, b"bafk", ["bafk"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(IdentifierError):
        Cid.parse(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(36),
        bytes.fromhex("01 55 12 20") + bytes(31),
        bytes.fromhex("01 55 12 20") + bytes(33),
        bytes.fromhex("00 55 12 20") + bytes(32),
        bytes.fromhex("01 70 12 20") + bytes(32),
        bytes.fromhex("01 55 1e 20") + bytes(32),
        bytes.fromhex("81 00 55 12 20") + bytes(31),
    ],
    ids=lambda data: data[:5].hex(),
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataModelError):
        Cid.from_bytes(data)


@pytest.mark.parametrize("name", ["_binary", "codec", "digest", "other"])
def test_a_cid_cannot_be_changed(name: str) -> None:
    # A TypeError where CPython's frozen dataclasses with slots trip over their own message.
    with pytest.raises((AttributeError, TypeError)):
        setattr(Cid.of_raw(b""), name, b"")


def test_a_digest_must_be_one() -> None:
    with pytest.raises(DataModelError):
        Cid.from_digest("raw", b"short")
    with pytest.raises(DataModelError):
        Cid.from_digest("dag-pb", bytes(32))
