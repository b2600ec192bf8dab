"""`atdata://` addresses: every one survives being written, and nothing else is taken for one."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import IdentifierError
from atdata.records.address import KINDS, Address

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
owners = st.sampled_from(["local", "alice.example.com", DID, "did:web:localhost%3A2583"])
versions = st.none() | st.sampled_from(["0.0.0", "1.2.3", "10.0.0-rc.1", "1.0.0+build.7", "1.0.0-a.b+c"])
letters = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
names = st.text(letters, min_size=1, max_size=200).filter(lambda name: name not in (".", ".."))


@given(owners, st.sampled_from(KINDS), names, versions)
def test_an_address_survives_being_written(owner: str, kind: str, name: str, version: str | None) -> None:
    address = Address(owner, kind, name, version)
    text = str(address)
    assert Address.parse(text) == address
    assert text.isascii()
    assert text.count("/") == 4
    assert pickle.loads(pickle.dumps(address)) == address


hostile = st.text() | st.builds(
    "".join,
    st.lists(
        st.sampled_from(["atdata://", "local://", "schemas/", "local", "a.test", "/", "dataset", "x", "@", "1.0.0"])
        | st.sampled_from(["%", "%2F", "%00", "%ff", "?", "#", "\n", "..", "\ud800", "٣", DID, "{1..9}"]),
        max_size=8,
    ),
)


@given(hostile)
def test_hostile_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except IdentifierError:
        return
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("atdata://local/dataset/mnist", Address("local", "dataset", "mnist")),
        ("atdata://local/dataset/mnist@1.0.0", Address("local", "dataset", "mnist", "1.0.0")),
        ("atdata://local/sampleSchema/Row@1.0.0", Address("local", "sampleSchema", "Row", "1.0.0")),
        (f"atdata://{DID}/schema/Row@2.0.0-rc.1", Address(DID, "schema", "Row", "2.0.0-rc.1")),
        ("atdata://alice.test/lens/a%40b%2Fc", Address("alice.test", "lens", "a@b/c")),
        ("atdata://local/dataset/höhe 1", Address("local", "dataset", "höhe 1")),
        ("local://schemas/my.module.Row@1.0.0", Address("local", "schema", "Row", "1.0.0")),
        ("local://schemas/Row@1.0.0", Address("local", "schema", "Row", "1.0.0")),
    ],
)
def test_the_forms_that_people_write(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert address.is_local is (address.owner == "local")
    assert address.is_schema is ("chema" in address.kind)


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"atdata://local/dataset/x",
        "",
        "atdata://",
        "atdata://local/dataset",
        "atdata://local/dataset/",
        "atdata://local/dataset/x/y",
        "atdata://local/dataset/x@",
        "atdata://local/dataset/x@newest",
        "atdata://local/dataset/x@1.0.0@1.0.0",
        "atdata://local/dataset/x?y",
        "atdata://local/dataset/x#y",
        "atdata://local/dataset/x\n",
        "atdata://local/dataset/%0Ax",
        "atdata://local/dataset/%FF",
        "atdata://local/dataset/%2E%2E",
        "atdata://local/dataset/" + "x" * 201,
        "atdata://local/datasets/x",
        "atdata://nobody/dataset/x",
        "atdata://did:plc/dataset/x",
        "atdata://local/Dataset/x",
        "ATDATA://local/dataset/x",
        "local://schemas/Row",
        "local://schemas/my.module.@1.0.0",
        "local://datasets/x@1.0.0",
        "at://alice.test/science.alt.dataset.entry/x",
        "atdata://local/dataset/x" + "%41" * 10_000,
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(IdentifierError):
        Address.parse(text)


def test_a_typing_error_in_the_kind_is_named() -> None:
    with pytest.raises(IdentifierError, match="Did you mean 'dataset'"):
        Address.parse("atdata://local/datasets/x")
