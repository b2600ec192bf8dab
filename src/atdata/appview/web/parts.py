"""Parts of pages: what templates show, as plain values that anybody can make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Worth: TypeAlias = Literal["trusted", "unlisted", "discounted"]
"""The worth of a verification here: by a trusted verifier; by another; nothing, for a reason that stands beside it."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """An account: its DID, and its handle where that was proven."""

    did: str
    handle: str | None = None

    @property
    def shown(self) -> str:
        """Its handle, else its DID."""
        return self.did if self.handle is None else f"@{self.handle}"

    @property
    def uri(self) -> str:
        """Its AT URI."""
        return f"at://{self.did}"


@dataclass(frozen=True, slots=True)
class NamedThing:
    """A thing as others speak of it.

    Attributes:
        uri: its address.
        name: as it calls itself; `None` where it is not known here.
        account: whose it is.
        note: what else there is to say in a word, such as its version.
    """

    uri: str
    name: str | None = None
    account: Publisher | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ThingRow:
    """A dataset, schema or lens in a list.

    Attributes:
        kind: `dataset`, `schema` or `lens`.
        uri: its address.
        name: what it is called.
        account: its publisher.
        description: the beginning of it.
        license: as it says it.
        samples: how many, where that is known.
        bytes: likewise.
        note: such as its version.
        date: when it was made, as a date.
        tags: some of them.
    """

    kind: str
    uri: str
    name: str
    account: Publisher
    description: str = ""
    license: str | None = None
    samples: int | None = None
    bytes: int | None = None
    note: str = ""
    date: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class More:
    """Things of which the first are shown: how many more there are, and where they are found."""

    count: int
    exact: bool = True
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Things:
    """A list of things, and how many are not in it."""

    rows: tuple[ThingRow, ...] = ()
    more: More | None = None


NO_THINGS = Things()

# --- schemas


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field of a sample."""

    name: str
    type: str
    shape: str = ""
    unit: str = ""
    doc: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class SchemaTable:
    """The fields of a schema; `problem` says why they cannot be shown, `more` how many are not, `note` what else there is."""

    fields: tuple[FieldRow, ...] = ()
    more: int = 0
    problem: str = ""
    note: str = ""


NO_FIELDS = SchemaTable()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs: `added`, `removed` or `changed`, and in which way."""

    name: str
    change: str
    before: str = ""
    after: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """The difference between the schemas of two versions.

    Attributes:
        since: the version before.
        same: whether both have the same schema.
        readers: who still reads whose samples, in words.
        fields: those that differ.
        more: how many are not shown.
        problem: why they cannot be compared.
    """

    since: NamedThing
    same: bool = False
    readers: str = ""
    fields: tuple[FieldChange, ...] = ()
    more: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version of a name.

    Attributes:
        version: its text; empty where it has none.
        uri: what it stands for.
        date: when it was given.
        current: whether it is the one that is shown.
        retracted: why it stands for nothing any more; `None` where it does.
        note: what its label says.
    """

    version: str
    uri: str
    date: str = ""
    current: bool = False
    retracted: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class VersionList:
    """The versions of a name, the newest first, and how many there are besides."""

    name: str
    rows: tuple[VersionRow, ...]
    more: bool = False

    def before(self, uri: str) -> VersionRow | None:
        """The version before that of a thing, which stands for another one."""
        at = next((number for number, row in enumerate(self.rows) if row.uri == uri), len(self.rows))
        return next((row for row in self.rows[at + 1 :] if row.retracted is None and row.uri != uri), None)


# --- datasets


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A shard: where it is, its digest, how large it is."""

    url: str
    digest: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ShardPlaces:
    """The places of shards.

    Attributes:
        kind: in words.
        place: server or bucket, where one is named.
        shards: the first of them.
        count: of all.
        digests: how many have a digest; `None` where that cannot be told.
        manifests: how many manifests are listed.
        problem: why it cannot be told which they are.
    """

    kind: str
    place: str = ""
    shards: tuple[ShardRow, ...] = ()
    count: int = 0
    digests: int | None = None
    manifests: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """The citation of a dataset: as a sentence, and for BibTeX."""

    text: str
    bibtex: str


# --- lenses


@dataclass(frozen=True, slots=True)
class VerificationRow:
    """A verification of a lens.

    Attributes:
        publisher: the verifier.
        method: how it was verified.
        worth: what it is worth here.
        why: the reason, in words.
        verdict: what it says: `holds`, `fails`.
        date: when.
        uri: the record.
        note: what it says in words.
        trial: what it was tried on.
    """

    publisher: Publisher
    method: str
    worth: Worth
    why: str
    verdict: str = "holds"
    date: str = ""
    uri: str = ""
    note: str = ""
    trial: str = ""


@dataclass(frozen=True, slots=True)
class Verifications:
    """The verifications of a lens, and how many there are besides."""

    rows: tuple[VerificationRow, ...] = ()
    more: int = 0

    @property
    def summary(self) -> str:
        """The number of them, and what they are worth; never a yes."""
        if not self.rows:
            return "verified by nobody that is known here"
        counted = {
            "by trusted verifiers": sum(row.worth == "trusted" for row in self.rows),
            "by others, whom this service does not list": sum(row.worth == "unlisted" for row in self.rows),
            "not counting": sum(row.worth == "discounted" for row in self.rows),
            "not looked at": self.more,
        }
        total = len(self.rows) + self.more
        said = ", ".join(f"{count:,} {words}" for words, count in counted.items() if count)
        return f"{total:,} verification{'' if total == 1 else 's'}: {said}"


NO_VERIFICATIONS = Verifications()


@dataclass(frozen=True, slots=True)
class LensRow:
    """A lens from or to a schema: its name, the schema at its other end, what is known of it."""

    uri: str
    name: str
    account: Publisher
    other: NamedThing
    verifications: Verifications = NO_VERIFICATIONS


@dataclass(frozen=True, slots=True)
class CodeRow:
    """A function in a repository: a lens's getter or putter."""

    role: str
    repository: str
    commit: str
    path: str


# --- what labelers say


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label in force of a labeler that the service follows.

    Attributes:
        value: what it says, such as `retracted`.
        labeler: who signed it.
        about: which versions it is about, in words.
        date: when it was made.
        disputed: whether its labeler has said something that makes a doubt.
    """

    value: str
    labeler: Publisher
    about: str
    date: str
    disputed: bool = False


# --- what proves a record


@dataclass(frozen=True, slots=True)
class Provenance:
    """The way by which a record came here.

    Attributes:
        uri: the record.
        cid: its CID.
        rev: of the commit that brought this version.
        verified: when it was verified.
        indexed: when any version of it was first seen.
        validity: `valid`, `older` or `invalid`.
        reason: what is wrong with an invalid one.
    """

    uri: str
    cid: str
    rev: str
    verified: str
    indexed: str
    validity: str = "valid"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ProofLink:
    """A link of the chain from a handle to bytes.

    Attributes:
        title: what it leads from and to.
        value: what was found.
        checked: what was checked.
        when: it was.
        holds: whether it did; `None` where it is not for this service to check.
        details: more values, by name.
    """

    title: str
    value: str
    checked: str
    when: str
    holds: bool | None = True
    details: tuple[tuple[str, str], ...] = ()
