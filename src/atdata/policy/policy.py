"""`Policy`: what a dataset needs before any of it is read, as data, written in TOML or in code.

```toml
name = "the lab"
publishers = ["did:plc:..."]       # whose datasets; left out, anybody's
unverified = ["shards"]            # what need not be proved: "shards" without a digest, "lenses" nobody verified
max_age = 3600                     # seconds that facts may be old, where a labeler cannot be reached

[[forbid]]                         # no label of these, by any of these labelers
labels = ["retracted", "contaminated", "licence-disputed"]
labelers = ["did:plc:..."]

[[require]]                        # each label of these, by at least `count` of these labelers
labels = ["reviewed"]
labelers = ["did:plc:..."]
count = 1

[[verify]]                         # each lens on the way verified, by at least `count` of these
verifiers = ["did:plc:...", "local"]        # "local": whoever may write to one's own index
methods = ["codeReview", "automatedTest"]   # left out, in any way
count = 1

[pins]                             # this record in this version only
"at://did:plc:.../science.alt.dataset.entry/..." = "bafy..."
```

People are named by DID: a handle may pass to somebody else. Of the verifiers one may be `local`: what one's own index keeps.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar

import msgspec

from atdata.arguments import checked_list, checked_map, checked_text
from atdata.atproto.cid import Cid
from atdata.atproto.labels import MAX_VALUE
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import IdentifierError, UsageError
from atdata.numbers import checked_int
from atdata.paths import checked_path
from atdata.records import METHODS
from atdata.records.address import LOCAL
from atdata.settings import Settings

T = TypeVar("T")

SHARDS, LENSES = "shards", "lenses"
MAX_FILE = 1 << 20

_PINS = 'Write pins={"at://did/collection/key": "bafy..."}.'


@dataclass(frozen=True)
class Forbid:
    """A rule: none of some labels is in force for the dataset, nor for a record that it is read with.

    Attributes:
        labels: their values.
        labelers: whose labels count.
    """

    labels: tuple[str, ...]
    labelers: tuple[Did, ...]

    def __post_init__(self) -> None:
        _set(self, labels=_values(self.labels), labelers=_dids(self.labelers, "labelers"))


@dataclass(frozen=True)
class Require:
    """A rule: each of some labels is in force for exactly this version of the dataset.

    Attributes:
        labels: their values.
        labelers: whose labels count.
        count: how many of the labelers have to say each.
    """

    labels: tuple[str, ...]
    labelers: tuple[Did, ...]
    count: int = 1

    def __post_init__(self) -> None:
        _set(self, labels=_values(self.labels), labelers=_dids(self.labelers, "labelers"))
        _check_count(self.count, self.labelers)


@dataclass(frozen=True)
class Verify:
    """A rule: each lens on the way is verified, in the version that is used, and no verifier says that it fails.

    Attributes:
        verifiers: whose word counts: DIDs, or `local` for the verifications that one's own index keeps.
        methods: how, such as `codeReview`; where none is named, in any way.
        count: how many of the verifiers have to say so.
    """

    verifiers: tuple[str, ...]
    methods: tuple[str, ...] = ()
    count: int = 1

    def __post_init__(self) -> None:
        _set(self, verifiers=_dids(self.verifiers, "verifiers", LOCAL), methods=_texts(self.methods, "methods"))
        if unknown := set(self.methods) - set(METHODS):
            known = ", ".join(METHODS)
            raise _unmeant("a policy asks for a method that it does not know", "methods", known, min(unknown))
        _check_count(self.count, self.verifiers)


@dataclass(frozen=True)
class Policy:
    """Rules, all of which a dataset has to keep. Without any, every proven dataset does.

    Attributes:
        forbid: labels that must not be in force.
        require: labels that must be.
        verify: who has verified each lens on the way. Without such a rule a lens is refused, unless `unverified` has
            `"lenses"`.
        publishers: whose datasets are allowed; `None` for anybody's.
        pins: the only version that is allowed of a record, by its address.
        unverified: what need not be proved: `"shards"`, for those that have no digest, `"lenses"`.
        max_age: seconds that facts may be old, where there are no fresh ones. With 0 they have to be fresh.
        name: what people call the policy.

    Raises:
        UsageError: a rule that cannot be meant.
    """

    forbid: tuple[Forbid, ...] = ()
    require: tuple[Require, ...] = ()
    verify: tuple[Verify, ...] = ()
    publishers: tuple[Did, ...] | None = None
    pins: Mapping[AtUri, Cid] = field(default_factory=dict)
    unverified: frozenset[str] = frozenset()
    max_age: int = 0
    name: str = "policy"

    def __post_init__(self) -> None:
        kinds: dict[str, type[Any]] = {"forbid": Forbid, "require": Require, "verify": Verify}
        rules: dict[str, Any] = {name: _rules(getattr(self, name), kind, name) for name, kind in kinds.items()}
        unverified = frozenset(_texts(self.unverified, "unverified"))
        if unknown := unverified - {SHARDS, LENSES}:
            raise _unmeant("a policy allows what it does not know", "unverified", f"{SHARDS}, {LENSES}", min(unknown))
        if rules["verify"] and LENSES in unverified:
            raise UsageError(
                "a policy asks for verified lenses, and allows others", path="unverified", hint="Leave one of them out."
            )
        checked_int(self.max_age, "max_age")
        checked_text(self.name, "name")
        _set(
            self,
            publishers=None if self.publishers is None else _dids(self.publishers, "publishers"),
            pins={_address(uri): _version(cid) for uri, cid in checked_map(self.pins, "pins", _PINS).items()},
            unverified=unverified,
            **rules,
        )

    @property
    def labelers(self) -> tuple[Did, ...]:
        """The labelers whose labels it asks for."""
        rules: Iterable[Forbid | Require] = (*self.forbid, *self.require)
        return tuple(dict.fromkeys(labeler for rule in rules for labeler in rule.labelers))

    @property
    def verifiers(self) -> tuple[str, ...]:
        """The verifiers whose verifications it asks for: DIDs, and maybe `local`."""
        return tuple(dict.fromkeys(verifier for rule in self.verify for verifier in rule.verifiers))

    @property
    def forbidden(self) -> frozenset[tuple[Did, str]]:
        """The labels that it forbids, each with a labeler."""
        return frozenset((who, value) for rule in self.forbid for who in rule.labelers for value in rule.labels)

    @classmethod
    def parse(cls, text: str, name: str = "policy") -> Self:
        """Read a policy in TOML.

        Args:
            text: its text.
            name: what to call it, where it has no name.

        Raises:
            UsageError: it is no TOML, has what no policy has, or cannot be meant; `path` names the place.
        """
        checked_text(text, "text", "Give the text of a policy; Policy.load(path) reads a file.")
        checked_text(name, "name")
        try:
            wire = msgspec.convert(tomllib.loads(text), _Wire)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
            hint = "The documentation of `atdata.policy.Policy` shows what stands where."
            raise UsageError("a policy cannot be read", path=name, actual=str(error)[:300], hint=hint) from None
        return cls(
            forbid=tuple(Forbid(tuple(rule.labels), tuple(map(_did, rule.labelers))) for rule in wire.forbid),
            require=tuple(
                Require(tuple(rule.labels), tuple(map(_did, rule.labelers)), rule.count) for rule in wire.require
            ),
            verify=tuple(Verify(tuple(rule.verifiers), tuple(rule.methods), rule.count) for rule in wire.verify),
            publishers=None if wire.publishers is None else tuple(map(_did, wire.publishers)),
            pins={_address(uri): _version(cid) for uri, cid in wire.pins.items()},
            unverified=frozenset(wire.unverified),
            max_age=wire.max_age,
            name=wire.name or name,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a policy from a file.

        Raises:
            UsageError: there is no such file, or it is none.
        """
        place = checked_path(path)
        try:
            with place.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            raise UsageError(
                "the file of a policy cannot be read",
                path=str(place),
                actual=error.strerror,
                hint="Without it nothing is loaded: correct policy=, or ATDATA_POLICY.",
            ) from error
        try:
            if len(data) > MAX_FILE:
                raise ValueError
            text = data.decode()
        except ValueError:
            raise UsageError(
                "the file of a policy is no text",
                path=str(place),
                expected=f"at most {MAX_FILE} bytes of UTF-8",
                hint="Name a file of TOML, as the documentation of `atdata.policy.Policy` shows one.",
            ) from None
        return cls.parse(text, str(place))


def policy_in_force(settings: Settings, given: Policy | str | os.PathLike[str] | None = None) -> Policy | None:
    """The policy that was given, or else the one in the file that the settings name, read now; `None` without either.

    Raises:
        UsageError: it cannot be read.
    """
    chosen = settings.policy if given is None else given
    return chosen if chosen is None or isinstance(chosen, Policy) else Policy.load(chosen)


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[str]
    labelers: list[str]


class _Counted(_Rule, forbid_unknown_fields=True):
    count: int = 1


class _Verified(msgspec.Struct, forbid_unknown_fields=True):
    verifiers: list[str]
    methods: list[str] = []
    count: int = 1


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    """A policy as a file has it."""

    version: Literal[1] = 1
    name: str = ""
    publishers: list[str] | None = None
    unverified: list[str] = []
    max_age: int = 0
    forbid: list[_Rule] = []
    require: list[_Counted] = []
    verify: list[_Verified] = []
    pins: dict[str, str] = {}


def _set(rule: object, **members: Any) -> None:
    for name, value in members.items():
        object.__setattr__(rule, name, value)


def _unmeant(what: str, path: str, expected: object, actual: object, hint: str | None = None) -> UsageError:
    default = f"Correct {path}; the documentation of `atdata.policy.Policy` shows what stands where."
    return UsageError(what, path=path, expected=expected, actual=actual, hint=hint or default)


def _texts(given: Any, path: str) -> tuple[str, ...]:
    return checked_list(given, str, path, f'Write {path}=("...",).')


def _rules(given: Any, kind: type[T], path: str) -> tuple[T, ...]:
    return checked_list(given, kind, path, f"Write {path}=({kind.__name__}(...),): several rules may be given.")


def _values(given: Any) -> tuple[str, ...]:
    values = _texts(given, "labels")
    if not values or not all(0 < len(value.encode("utf-8", "replace")) <= MAX_VALUE for value in values):
        raise _unmeant("a rule of a policy must name labels", "labels", f"values of 1 to {MAX_VALUE} bytes", values)
    return values


def _dids(given: Any, path: str, *others: str) -> tuple[Any, ...]:
    dids = tuple(text if text in others else _did(text) for text in _texts(given, path))
    if not dids:
        raise _unmeant("a rule of a policy names nobody", path, "DIDs", "none", "Name somebody, or leave it out.")
    return tuple(dict.fromkeys(dids))


def _did(text: str) -> Did:
    try:
        return Did(text)
    except IdentifierError as error:
        hint = "Name people by DID: a handle may pass to somebody else."
        raise UsageError("a policy names somebody who is no DID", actual=error.actual, hint=hint) from error


def _address(text: str) -> AtUri:
    try:
        uri = AtUri(text)
        if uri.rkey is not None and Did(uri.authority):
            return uri
    except IdentifierError:
        pass
    raise _unmeant("a policy pins what is no record", "pins", "at://did/collection/key", text)


def _version(text: str | Cid) -> Cid:
    try:
        return text if isinstance(text, Cid) else Cid.parse(text)
    except IdentifierError as error:
        raise _unmeant("a policy pins a record to what is no version", "pins", "a CID", error.actual) from error


def _check_count(count: int, who: Sequence[str]) -> None:
    if checked_int(count, "count", 1) > len(who):
        raise _unmeant("a rule of a policy asks for more than it names", "count", f"at most {len(who)}", count, None)
