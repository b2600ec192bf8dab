from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.identity import DidDocument
from atdata.atproto.keys import PrivateKey, base58_encode
from atdata.errors import IdentifierError, IdentityError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
KEY = PrivateKey.from_bytes("k256", bytes(range(1, 33))).public
OTHER = PrivateKey.from_bytes("p256", bytes(range(1, 33))).public

PRODUCTION: dict[str, Any] = {
    "@context": ["https://www.w3.org/ns/did/v1"],
    "id": DID,
    "alsoKnownAs": ["at://alice.example.com"],
    "verificationMethod": [
        {"id": f"{DID}#atproto", "type": "Multikey", "controller": DID, "publicKeyMultibase": KEY.multibase}
    ],
    "service": [
        {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example.com"}
    ],
}
LEGACY_METHOD = {
    "id": "#atproto",
    "type": "EcdsaSecp256k1VerificationKey2019",
    "controller": DID,
    "publicKeyMultibase": "z" + base58_encode(KEY.point),
}


def changed(**members: Any) -> DidDocument:
    return DidDocument.parse({**PRODUCTION, **members}, DID)


def method(**members: Any) -> dict[str, Any]:
    return {**PRODUCTION["verificationMethod"][0], **members}


def service(**members: Any) -> dict[str, Any]:
    return {**PRODUCTION["service"][0], **members}


@pytest.mark.parametrize(
    "methods", [[method()], [LEGACY_METHOD], [method(id="#atproto")], [{**LEGACY_METHOD, "id": f"{DID}#atproto"}]]
)
@pytest.mark.parametrize("service_id", ["#atproto_pds", f"{DID}#atproto_pds"])
def test_both_shapes_are_read(methods: list[dict[str, Any]], service_id: str) -> None:
    document = changed(verificationMethod=methods, service=[service(id=service_id)])
    assert document.did == DID
    assert document.signing_key == KEY
    assert document.pds == "https://pds.example.com"
    assert document.handles == ("alice.example.com",)


def test_it_must_be_the_document_of_that_did() -> None:
    with pytest.raises(IdentityError) as caught:
        DidDocument.parse(PRODUCTION, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
    assert (caught.value.actual, caught.value.expected) == (DID, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
    with pytest.raises(IdentifierError):
        DidDocument.parse(PRODUCTION, "alice.example.com")


@pytest.mark.parametrize("obj", [None, [], "x", 7, {}, {"id": None}, {"id": [DID]}])
def test_what_is_no_document_is_refused(obj: Any) -> None:
    with pytest.raises(IdentityError):
        DidDocument.parse(obj, DID)


@pytest.mark.parametrize("member", ["alsoKnownAs", "verificationMethod", "service"])
@pytest.mark.parametrize("value", [None, {}, "x", 7])
def test_a_list_must_be_a_list(member: str, value: Any) -> None:
    with pytest.raises(IdentityError) as caught:
        changed(**{member: value})
    assert caught.value.path == member


@pytest.mark.parametrize(
    "methods",
    [
        [],
        [7, None, "x"],
        [{}],
        [method(id="#other")],
        [method(id="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#atproto")],
        [method(id="atproto")],
        [method(controller="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")],
        [method(controller=None)],
        [method(publicKeyMultibase=None)],
        [method(publicKeyMultibase="zzz")],
        [method(type="JsonWebKey2020")],
        [method(type="EcdsaSecp256k1VerificationKey2019")],
    ],
)
def test_a_missing_key_is_named(methods: list[Any]) -> None:
    document = changed(verificationMethod=methods)
    with pytest.raises(IdentityError) as caught:
        _ = document.signing_key
    assert (caught.value.path, caught.value.uri, caught.value.step) == ("verificationMethod #atproto", DID, "did")
    assert document.pds


def test_the_first_key_of_the_name_counts() -> None:
    later = method(publicKeyMultibase=OTHER.multibase)
    assert changed(verificationMethod=[method(id="#other"), method(), later]).signing_key == KEY
    assert changed(verificationMethod=[later, method()]).signing_key == OTHER


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://pds.example.com",
        "http://localhost:2583",
        "https://[2001:db8::1]:8443",
        "https://127.0.0.1",
    ],
)
def test_server_addresses(endpoint: str) -> None:
    assert changed(service=[service(serviceEndpoint=endpoint)]).pds == endpoint
    assert changed(service=[service(serviceEndpoint=f"{endpoint}/")]).pds == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        None,
        7,
        {"uri": "https://pds.example.com"},
        "pds.example.com",
        "ftp://pds.example.com",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:secret@pds.example.com",
        "https://user@pds.example.com",
        "https://pds.example.com/xrpc",
        "https://pds.example.com?x=1",
        "https://pds.example.com#x",
        "https://pds.example.com\\@evil.example",
        "https://pds.exa mple.com",
        "https://pds.example.com\n",
        "https://pds.example.com:",
        "https://pds.example.com:port",
        "https://pds.exämple.com",
        "https://" + "a" * 5000,
    ],
)
def test_an_unusable_server_address_is_named(endpoint: Any) -> None:
    document = changed(service=[service(serviceEndpoint=endpoint)])
    with pytest.raises(IdentityError) as caught:
        _ = document.pds
    assert caught.value.path == "service #atproto_pds"
    assert document.signing_key == KEY


@pytest.mark.parametrize("services", [[], [service(id="#other")], [service(type="Other")], [7]])
def test_a_missing_server_is_named(services: list[Any]) -> None:
    with pytest.raises(IdentityError, match="names no server"):
        _ = changed(service=services).pds


def test_handles_are_those_that_could_be_ones_in_order() -> None:
    names = [
        "https://alice.example",
        "at://",
        "at://not a handle",
        "at://b.test",
        7,
        "at://a.test/path",
        "at://a.test",
        "at://did:plc:x",
    ]
    document = changed(alsoKnownAs=names)
    assert document.handles == ("b.test", "a.test")
    assert changed(alsoKnownAs=[]).handles == ()


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([DID, "#atproto", "Multikey"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "controller", "serviceEndpoint"]), inner)
    ),
    max_leaves=6,
)


@given(st.sampled_from(["id", "alsoKnownAs", "verificationMethod", "service"]), junk)
def test_junk_is_read_or_refused(member: str, value: Any) -> None:
    obj = copy.deepcopy(PRODUCTION)
    obj[member] = value
    try:
        document = DidDocument.parse(obj, DID)
        _ = document.handles, document.signing_key, document.pds
    except IdentityError as error:
        assert error.hint  # noqa: PT017
