"""Signed labels: statements of a labeler about an account, a record, or one version of a record.

https://atproto.com/specs/label, version 1, and the lexicon `com.atproto.label.defs`. A label is signed as commits are:
its DAG-CBOR without `sig`, hashed with SHA-256, by the key `#atproto_label` of the labeler's DID document, and no other
key. Signed are the members that are there and that the specification names: a `neg` that is `false` is another label
than one without it, and members of others' making do not count (so does indigo, `atproto/labeling`).

A labeler takes a label back by a negation: a label with `neg`, for the same address and value. What the specification
leaves open about a negation is decided here once, with two answers. `in_force` gives every label that may be in force,
`undisputed` those that certainly are, and what forbids asks the one, what allows the other:

- *Versions.* The specification has one state for a labeler, an address and a value, whatever the CID; the reference
  labeler (Ozone, `packages/ozone/src/mod-service`) one for each CID. Here a negation without a CID ends the labels of all
  versions, one with a CID that of the version; but it disputes the others.
- *Ties.* Of a label and its negation with the same time, the label is in force, and disputed.
- *Expiry.* A negation that has expired ends nothing any more; but it disputes.

(These labels are not the label records of `atdata.records`, by which a publisher names an entry.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import from_json, shown, to_json
from atdata.atproto.formats import check_uri, parse_datetime
from atdata.atproto.keys import PrivateKey, PublicKey
from atdata.atproto.syntax import Did
from atdata.errors import DataModelError, IdentifierError, SignatureError

VERSION = 1
MAX_VALUE = 128
"""Bytes of a label's value."""

_REQUIRED = ("ver", "src", "uri", "val", "cts")
_OPTIONAL = ("cid", "neg", "exp")
_READ: Mapping[str, Callable[[str], Any]] = {
    "src": Did,
    "uri": check_uri,
    "cts": parse_datetime,
    "cid": Cid.parse,
    "exp": parse_datetime,
}


@dataclass(frozen=True)
class SignedLabel:
    """A label as its labeler signed it; nothing is believed before `verify`.

    Attributes:
        src: the labeler.
        uri: what is labelled: the `at://` address of a record, or the DID of an account.
        val: the label's value, such as `retracted`.
        cts: when it was made, as the labeler says.
        cid: the only version of the record that it is about; `None` for all.
        neg: true for a negation, which takes an earlier label back.
        exp: when it ends by itself.
        signed: the bytes that are signed.
        sig: the signature.
    """

    src: Did
    uri: str
    val: str
    cts: datetime
    cid: Cid | None
    neg: bool
    exp: datetime | None
    signed: bytes = field(repr=False)
    sig: bytes = field(repr=False)

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read the parsed JSON of a label, in the form in which it is passed on: with `ver` and `sig`.

        Raises:
            DataModelError: it is none, of another version, or unsigned; `path` names the member.
        """
        members = from_json(value)
        if not isinstance(members, dict):
            raise DataModelError("a label is not an object", actual=shown(members))
        for name in (*_REQUIRED, "sig"):
            if name not in members:
                raise DataModelError("a label lacks a member", path=name)
        sig = members["sig"]
        if not isinstance(sig, bytes):
            raise _wrong(members, "sig", "bytes")
        if members["ver"] is True or members["ver"] != VERSION:
            raise _wrong(members, "ver", f"the version {VERSION}")
        return cls._read({name: members[name] for name in (*_REQUIRED, *_OPTIONAL) if name in members}, sig)

    @classmethod
    def _read(cls, members: dict[str, Any], sig: bytes) -> Self:
        if not isinstance(members.get("neg", False), bool):
            raise _wrong(members, "neg", "true or false")
        for name in {"src", "uri", "val", "cts", "cid", "exp"} & members.keys():
            if not isinstance(members[name], str):
                raise _wrong(members, name, "text")
        if not 0 < len(members["val"].encode()) <= MAX_VALUE:
            raise _wrong(members, "val", f"1 to {MAX_VALUE} bytes of UTF-8")
        read = {name: _member(members, name, form) for name, form in _READ.items() if name in members}
        return cls(
            read["src"],
            members["uri"],
            members["val"],
            read["cts"],
            read.get("cid"),
            members.get("neg", False),
            read.get("exp"),
            cbor.encode(members),
            sig,
        )

    @classmethod
    def sign(
        cls,
        key: PrivateKey,
        *,
        src: Did,
        uri: str,
        val: str,
        cts: str,
        cid: Cid | None = None,
        neg: bool = False,
        exp: str | None = None,
    ) -> Self:
        """A new label, signed. Members are as the attributes, times as AT Protocol datetimes.

        Raises:
            DataModelError: a member is malformed.
        """
        members: dict[str, Any] = {"ver": VERSION, "src": str(src), "uri": str(uri), "val": val, "cts": cts}
        members |= {"cid": str(cid)} if cid else {}
        members |= {"exp": exp} if exp else {}
        members |= {"neg": True} if neg else {}
        return cls._read(members, key.sign(cbor.encode(members)))

    def to_json(self) -> Any:
        """The JSON form in which it is passed on."""
        members: Any = cbor.decode(self.signed)
        return to_json({**members, "sig": self.sig})

    def verify(self, key: PublicKey) -> None:
        """Check that a labeler's key signed it.

        Raises:
            SignatureError: it did not; the `step` is `label`.
        """
        try:
            key.verify(self.sig, self.signed)
        except SignatureError as error:
            error.step, error.uri = "label", self.uri
            raise

    def ended(self, at: datetime) -> bool:
        """True if it has expired at a moment."""
        return self.exp is not None and self.exp <= at


def in_force(labels: Iterable[SignedLabel], at: datetime) -> tuple[SignedLabel, ...]:
    """The labels that may be in force at a moment, in an order that does not depend on that of the arguments.

    Args:
        labels: everything that was read, negations too, of any labelers, in any order, any of them several times.
        at: the moment, with its time zone.
    """
    return tuple(label for said in _by_state(labels, at) for label in said.labels if said.holds(label))


def undisputed(labels: Iterable[SignedLabel], at: datetime) -> tuple[SignedLabel, ...]:
    """The labels in force of which nothing that their labeler said makes a doubt."""
    return tuple(
        label
        for said in _by_state(labels, at)
        for label in said.labels
        if said.holds(label) and not said.disputes(label)
    )


class _Said:
    """All that one labeler said of one address and value: of each kind of word the time of the last."""

    def __init__(self, words: list[SignedLabel], at: datetime) -> None:
        self.labels = [word for word in words if not word.neg]
        self._at = at
        self._label, self._ended = _Last(), _Last()
        self._negation, self._any_negation = _Last(), _Last()
        for word in words:
            if word.neg:
                self._any_negation.note(None, word.cts)
            if not word.ended(at):
                (self._negation if word.neg else self._label).note(word.cid, word.cts)
            elif not word.neg:
                self._label.note(word.cid, word.cts)
                self._ended.note(word.cid, word.cts)

    def holds(self, label: SignedLabel) -> bool:
        """True if it has not ended, none stands in its place, and no negation that has not ended came after it."""
        replaced = self._label.after(label.cid, label.cts)  # also by one that has ended
        negated = self._negation.after(None, label.cts) or self._negation.after(label.cid, label.cts)
        return not label.ended(self._at) and not replaced and not negated

    def disputes(self, label: SignedLabel) -> bool:
        """True if any negation is not older, or one of the same version and time has ended."""
        return self._any_negation.since(None, label.cts) or self._ended.since(label.cid, label.cts)


class _Last(dict[Cid | None, datetime]):
    """The time of the last word on each version."""

    def note(self, cid: Cid | None, cts: datetime) -> None:
        self[cid] = max(cts, self.get(cid, cts))

    def after(self, cid: Cid | None, cts: datetime) -> bool:
        return cid in self and self[cid] > cts

    def since(self, cid: Cid | None, cts: datetime) -> bool:
        return cid in self and self[cid] >= cts


def _by_state(labels: Iterable[SignedLabel], at: datetime) -> list[_Said]:
    distinct = {label.signed: label for label in labels}  # a label that was signed again is the same
    said: Mapping[tuple[str, str, str], list[SignedLabel]] = defaultdict(list)
    for _, label in sorted(distinct.items()):
        said[label.src, label.uri, label.val].append(label)
    return [_Said(words, at) for _, words in sorted(said.items())]


def _member(members: Mapping[str, Any], name: str, form: Callable[[str], Any]) -> Any:
    try:
        return form(members[name])
    except IdentifierError as error:
        raise DataModelError(
            "a member of a label is malformed", path=name, actual=error.actual, hint=error.hint
        ) from error


def _wrong(members: dict[str, Any], name: str, expected: str) -> DataModelError:
    return DataModelError("a member of a label is malformed", path=name, expected=expected, actual=shown(members[name]))
