"""did:plc: the log of an identity, checked operation by operation, and the making of operations.

https://web.plc.directory/spec/v0.1/did-plc. The DID is the hash of the first operation, and each later one is signed by
a rotation key of the state it follows. So a directory can withhold and date operations, but not invent them: all that
is taken on its word here is `created_at`, and which side of a dispute came first.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import shown
from atdata.atproto.formats import parse_datetime
from atdata.atproto.keys import PrivateKey, PublicKey
from atdata.atproto.syntax import Did
from atdata.errors import DataModelError, IdentifierError, IdentityError, SignatureError, VerificationError

T = TypeVar("T")

RECOVERY_WINDOW = timedelta(hours=72)
"""The time in which a rotation key of higher authority may undo what one of lower authority signed."""

_MAX_ROTATION_KEYS = 10  # what the directory ever took; each costs a verification
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{86}")
_DID_KEY = "did:key:"
_SIGNING_KEY, _PDS, _PDS_TYPE = "atproto", "atproto_pds", "AtprotoPersonalDataServer"
_LABEL_KEY, _LABELER, _LABELER_TYPE = "atproto_label", "atproto_labeler", "AtprotoLabeler"
_REGULAR, _LEGACY, _TOMBSTONE = "plc_operation", "create", "plc_tombstone"
_FIELDS = {
    _REGULAR: {"type", "rotationKeys", "verificationMethods", "alsoKnownAs", "services", "prev", "sig"},
    _LEGACY: {"type", "signingKey", "recoveryKey", "handle", "service", "prev", "sig"},
    _TOMBSTONE: {"type", "prev", "sig"},
}
_CONTEXT = [
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
    "https://w3id.org/security/suites/secp256k1-2019/v1",
]


@dataclass(frozen=True, slots=True)
class PlcService:
    """A service of an identity."""

    type: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class PlcOperation:
    """The state that one operation of a log set, from `created_at` on; the legacy form is read as the regular one.

    Attributes:
        cid: the hash of the signed operation.
        created_at: when the directory says it took the operation.
        rotation_keys: who may sign what follows, as did:key, highest authority first; none after a tombstone.
        verification_methods: keys by name, as did:key.
        also_known_as: other names, such as `at://` and a handle.
        services: services by name.
        tombstoned: whether it ended the identity.
    """

    cid: Cid
    created_at: datetime
    rotation_keys: tuple[str, ...]
    verification_methods: Mapping[str, str]
    also_known_as: tuple[str, ...]
    services: Mapping[str, PlcService]
    tombstoned: bool = False

    @property
    def signing_key(self) -> str | None:
        """The key of the account's repository, as did:key."""
        return self.verification_methods.get(_SIGNING_KEY)

    @property
    def pds(self) -> str | None:
        """The address of the account's server, unchecked."""
        return self._endpoint(_PDS, _PDS_TYPE)

    @property
    def label_key(self) -> str | None:
        """The key of the account's labels, as did:key."""
        return self.verification_methods.get(_LABEL_KEY)

    @property
    def labeler(self) -> str | None:
        """The address of the account's labeler, unchecked."""
        return self._endpoint(_LABELER, _LABELER_TYPE)

    def _endpoint(self, name: str, kind: str) -> str | None:
        service = self.services.get(name)
        return service.endpoint if service and service.type == kind else None


@dataclass(frozen=True, slots=True)
class PlcState:
    """A checked identity: the operations in force, oldest first.

    What was nullified is not among them: a key that an attacker put there for a day never counts.
    """

    did: Did
    history: tuple[PlcOperation, ...]

    @property
    def current(self) -> PlcOperation:
        """The operation that set the present state."""
        return self.history[-1]

    def key_at(self, moment: datetime) -> str | None:
        """The key of the account's repository at a moment (with time zone), as did:key; none before it began.

        A proof made before a rotation verifies against the key of its time. The times are the directory's word.
        """
        earlier = [operation for operation in self.history if operation.created_at <= moment]
        return earlier[-1].signing_key if earlier else None


@dataclass(frozen=True, slots=True)
class _Link:
    operation: PlcOperation
    signer: int  # where the key that signed it stands among those that might


def verify_audit_log(did: str, log: Any) -> PlcState:
    """Check every operation of an audit log (`/{did}/log/audit`, parsed JSON), nullified ones included.

    Raises:
        IdentifierError: `did` is no DID.
        IdentityError: the log is not that of `did`, or breaks a rule; `path` names the operation.
        SignatureError: no key that might sign an operation did.
    """
    did = Did(did)
    if not isinstance(log, list) or not log:
        raise IdentityError("not an audit log", step="did", uri=did, expected="a list of operations")
    chain: list[_Link] = []
    seen: list[Cid] = []
    for index, entry in enumerate(log):
        try:
            _append(chain, entry, did)
            seen.append(chain[-1].operation.cid)
        except VerificationError as error:
            error.step, error.uri, error.path = "did", did, f"operation {index}"
            raise
    in_force = {link.operation.cid for link in chain}
    for index, (cid, entry) in enumerate(zip(seen, log, strict=True)):
        if entry.get("nullified") is not (cid not in in_force):
            raise IdentityError(
                "wrongly marked as nullified or in force", step="did", uri=did, path=f"operation {index}"
            )
    return PlcState(did, tuple(link.operation for link in chain))


def _append(chain: list[_Link], entry: Any, did: Did) -> None:
    """Check the next entry of the log against the operations in force, and make it the newest of them."""
    op, operation = _read_entry(entry, did)
    if not chain:
        if op["prev"] is not None:
            raise IdentityError("the first operation follows another")
        if did_of_genesis(op) != did:
            raise IdentityError("the first operation hashes to another DID", expected=did, actual=did_of_genesis(op))
        chain.append(_Link(operation, _signer(op, operation.rotation_keys)))
        return
    if operation.created_at < chain[-1].operation.created_at:
        raise IdentityError("the operation is dated before its predecessor", actual=operation.created_at)
    # From the newest on: what is passed over is cut off below, so that a long log is not searched again and again.
    places = reversed(range(len(chain)))
    position = next((place for place in places if str(chain[place].operation.cid) == op["prev"]), None)
    if position is None:
        raise IdentityError("the operation follows none that is in force", actual=shown(op["prev"]))
    signer = _signer(op, _allowed_keys(chain, position, operation.created_at))
    del chain[position + 1 :]
    chain.append(_Link(operation, signer))


def _allowed_keys(chain: list[_Link], position: int, moment: datetime) -> tuple[str, ...]:
    """The keys that may sign, at that moment, an operation that follows the one at `position`."""
    keys = chain[position].operation.rotation_keys
    if position == len(chain) - 1:
        return keys
    disputed = chain[position + 1]
    if moment - disputed.operation.created_at > RECOVERY_WINDOW:
        raise IdentityError(
            "too late to nullify an operation",
            expected=f"at most {RECOVERY_WINDOW} after it",
            actual=moment - disputed.operation.created_at,
        )
    return keys[: disputed.signer]


def _signer(op: dict[str, Any], keys: Sequence[str]) -> int:
    """The place of the first key that signed the operation."""
    signature = _read_signature(op["sig"])
    message = _encode({name: value for name, value in op.items() if name != "sig"})
    for place, key in enumerate(keys):
        try:
            PublicKey.from_did_key(key).verify(signature, message)
        except SignatureError:
            continue
        return place
    raise SignatureError("the operation is not signed by an allowed key", expected=" or ".join(keys) or "nobody")


def _read_signature(text: Any) -> bytes:
    # One text for one signature: no padding, no line ends, no stray bits.
    if isinstance(text, str) and _SIGNATURE.fullmatch(text):
        signature = base64.urlsafe_b64decode(text + "==")
        if _write_signature(signature) == text:
            return signature
    raise SignatureError("the signature is not 64 bytes of base64url without padding")


def _write_signature(signature: bytes) -> str:
    return base64.urlsafe_b64encode(signature).decode("ascii").rstrip("=")


def _encode(op: Mapping[str, Any]) -> bytes:
    try:
        return cbor.encode(dict(op))
    except DataModelError as error:
        raise IdentityError("the operation has no DAG-CBOR form", actual=error.what) from error


def _read_entry(entry: Any, did: Did) -> tuple[dict[str, Any], PlcOperation]:
    if not isinstance(entry, dict) or entry.get("did") != did:
        raise IdentityError("not an entry of this DID's log", expected=did)
    op = entry.get("operation")
    if not isinstance(op, dict) or not isinstance(op.get("type"), str) or set(op) != _FIELDS.get(op["type"]):
        raise IdentityError("not an operation", expected=", ".join(_FIELDS))
    cid = operation_cid(op)
    if entry.get("cid") != str(cid):
        raise IdentityError("the operation is not the one its CID names", expected=shown(entry.get("cid")), actual=cid)
    try:
        created_at = parse_datetime(_text(entry.get("createdAt")))
    except IdentifierError as error:
        raise IdentityError("the operation is not dated", actual=error.actual) from error
    return op, _read_operation(op, cid, created_at)


def _read_operation(op: dict[str, Any], cid: Cid, created_at: datetime) -> PlcOperation:
    if op["type"] == _TOMBSTONE:
        return PlcOperation(cid, created_at, (), {}, (), {}, tombstoned=True)
    if op["type"] == _LEGACY:
        signing_key, handle, server = _text(op["signingKey"]), _text(op["handle"]), _text(op["service"])
        return PlcOperation(
            cid,
            created_at,
            rotation_keys=(_text(op["recoveryKey"]), signing_key),
            verification_methods={_SIGNING_KEY: signing_key},
            also_known_as=(handle if handle.startswith("at://") else f"at://{handle}",),
            services={_PDS: PlcService(_PDS_TYPE, server if server.startswith("http") else f"https://{server}")},
        )
    rotation_keys = _texts(op["rotationKeys"])
    if len(rotation_keys) > _MAX_ROTATION_KEYS:
        raise IdentityError("too many rotation keys", expected=_MAX_ROTATION_KEYS, actual=len(rotation_keys))
    return PlcOperation(
        cid,
        created_at,
        rotation_keys,
        verification_methods={name: _text(key) for name, key in _map(op["verificationMethods"]).items()},
        also_known_as=_texts(op["alsoKnownAs"]),
        services={name: _service(value) for name, value in _map(op["services"]).items()},
    )


def _service(value: Any) -> PlcService:
    service = _map(value)
    if set(service) != {"type", "endpoint"}:
        raise IdentityError("not an operation: a malformed service")
    return PlcService(_text(service["type"]), _text(service["endpoint"]))


def _typed(value: Any, kind: type[T], expected: str) -> T:
    if not isinstance(value, kind):
        raise IdentityError("not an operation", expected=expected, actual=type(value).__name__)
    return value


def _text(value: Any) -> str:
    return _typed(value, str, "a string")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, _typed(value, list, "a list")))


def _map(value: Any) -> dict[str, Any]:
    return _typed(value, dict, "an object")


def build_operation(
    *, rotation_keys: Sequence[str], signing_key: str, handle: str, pds: str, prev: Cid | None = None
) -> dict[str, Any]:
    """An unsigned operation that sets the whole state of an account's identity; without `prev`, its first.

    Args:
        rotation_keys: who may sign what follows, as did:key, highest authority first.
        signing_key: the key of the account's repository, as did:key.
        handle: its handle, without `at://`.
        pds: the URL of its server.
        prev: the CID of the operation it follows.
    """
    return {
        "type": _REGULAR,
        "rotationKeys": list(rotation_keys),
        "verificationMethods": {_SIGNING_KEY: signing_key},
        "alsoKnownAs": [f"at://{handle}"],
        "services": {_PDS: {"type": _PDS_TYPE, "endpoint": pds}},
        "prev": None if prev is None else str(prev),
    }


def build_labeler_operation(
    *, rotation_keys: Sequence[str], label_key: str, labeler: str, prev: Cid | None = None
) -> dict[str, Any]:
    """An unsigned operation that sets the whole state of an identity that is a labeler, and has no repository.

    Args:
        rotation_keys: as of `build_operation`.
        label_key: the key of its labels, as did:key.
        labeler: the URL of its server.
        prev: the CID of the operation it follows.
    """
    return {
        "type": _REGULAR,
        "rotationKeys": list(rotation_keys),
        "verificationMethods": {_LABEL_KEY: label_key},
        "alsoKnownAs": [],
        "services": {_LABELER: {"type": _LABELER_TYPE, "endpoint": labeler}},
        "prev": None if prev is None else str(prev),
    }


def build_tombstone(prev: Cid) -> dict[str, Any]:
    """An unsigned operation that ends the identity whose newest operation is `prev`."""
    return {"type": _TOMBSTONE, "prev": str(prev)}


def sign_operation(op: Mapping[str, Any], key: PrivateKey) -> dict[str, Any]:
    """The operation with its signature, as it is sent to the directory."""
    return {**op, "sig": _write_signature(key.sign(_encode(op)))}


def operation_cid(op: Mapping[str, Any]) -> Cid:
    """The CID of a signed operation, by which the next one names it.

    Raises:
        IdentityError: the operation has no DAG-CBOR form.
    """
    return Cid.of_cbor(_encode(op))


def did_of_genesis(op: Mapping[str, Any]) -> Did:
    """The DID that a signed first operation makes.

    Raises:
        IdentityError: the operation has no DAG-CBOR form.
    """
    return Did("did:plc:" + base64.b32encode(operation_cid(op).digest).decode("ascii").lower()[:24])


def to_did_document(state: PlcState) -> dict[str, Any]:
    """The DID document of an identity, in the shape the directory serves.

    Raises:
        IdentityError: the identity was tombstoned.
    """
    if state.current.tombstoned:
        raise IdentityError("the identity was tombstoned", step="did", uri=state.did)
    return {
        "@context": list(_CONTEXT),
        "id": str(state.did),
        "alsoKnownAs": list(state.current.also_known_as),
        "verificationMethod": [
            {
                "id": f"{state.did}#{name}",
                "type": "Multikey",
                "controller": str(state.did),
                "publicKeyMultibase": key.removeprefix(_DID_KEY),
            }
            for name, key in state.current.verification_methods.items()
        ],
        "service": [
            {"id": f"#{name}", "type": service.type, "serviceEndpoint": service.endpoint}
            for name, service in state.current.services.items()
        ],
    }
