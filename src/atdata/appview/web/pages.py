"""Pages: frozen values of what each shows. `atdata.appview.web.render(page)` makes the HTML, and asks nothing else.

A page knows no database, so that any program can make one: `DatasetPage(name=..., ...)` of a dataset on this machine is shown
by the same template as one of the network. What is left out (no publisher, no proof, no lenses) has no place on the page.
All text may be a stranger's; it is made harmless where it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from atdata.appview.web.parts import (
    NO_FIELDS,
    NO_THINGS,
    NO_VERIFICATIONS,
    Citation,
    CodeRow,
    LabelRow,
    LensRow,
    NamedThing,
    ProofLink,
    Provenance,
    Publisher,
    SchemaChange,
    SchemaTable,
    ShardPlaces,
    Things,
    Verifications,
    VersionList,
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        TEMPLATE: that shows it.
        status: of HTTP.
        served: whether a service shows it: then the page leads to its search, and to what it says of itself.
        labels: what labelers say of the thing that is shown, or of its account.
    """

    TEMPLATE: ClassVar[str]
    status: ClassVar[int] = 200

    served: bool = True
    labels: tuple[LabelRow, ...] = ()

    @property
    def title(self) -> str:
        """The text in the window's title."""
        raise NotImplementedError

    @property
    def listed(self) -> bool:
        """True if search engines may keep it."""
        return True


@dataclass(frozen=True, kw_only=True)
class DatasetPage(Page):
    """A dataset.

    Attributes:
        name: what it is called.
        uri: its address; `None` of one that is on this machine.
        account: its publisher.
        label: the name and version under which its publisher has it.
        description: what it holds.
        license: as it says it.
        tags: words to find it by.
        created: the date it gives.
        samples, bytes, shard_count: how large it is, where that is known.
        metadata: anything else that it says, as text.
        schema: the schema of its samples, as others speak of it.
        fields: the fields of its samples.
        versions: those of its names.
        change: what differs from the schema of the version before.
        storage: where its shards are.
        preview: statistics and first samples (`atdata.preview`); `None` where nobody looked.
        lenses_from, lenses_to: lenses that show it as another schema, and others as its own.
        predecessor: the dataset that it was made from by adding.
        successors: those that were made from it so.
        named_by: what others call it.
        load: Python that loads it.
        citation: how to cite it.
        linked_data: it as JSON-LD.
        provenance: how it came here.
        chain: what proves it, in short.
    """

    TEMPLATE = "dataset.html"

    name: str
    uri: str | None = None
    account: Publisher | None = None
    label: str = ""
    description: str = ""
    license: str | None = None
    tags: tuple[str, ...] = ()
    created: str = ""
    samples: int | None = None
    bytes: int | None = None
    shard_count: int | None = None
    metadata: str = ""
    schema: NamedThing | None = None
    fields: SchemaTable = NO_FIELDS
    versions: tuple[VersionList, ...] = ()
    change: SchemaChange | None = None
    storage: ShardPlaces | None = None
    preview: Any = None
    lenses_from: tuple[LensRow, ...] = ()
    lenses_to: tuple[LensRow, ...] = ()
    predecessor: NamedThing | None = None
    successors: tuple[NamedThing, ...] = ()
    named_by: tuple[NamedThing, ...] = ()
    load: tuple[str, ...] = ()
    citation: Citation | None = None
    linked_data: Any = None
    provenance: Provenance | None = None

    @property
    def title(self) -> str:
        """See `Page`."""
        return self.name if self.account is None else f"{self.name}, by {self.account.shown}"


@dataclass(frozen=True, kw_only=True)
class SchemaPage(Page):
    """A version of a schema, what uses it, and the lenses at it."""

    TEMPLATE = "schema.html"

    name: str
    version: str
    uri: str
    account: Publisher
    description: str = ""
    compatibility: str = ""
    fields: SchemaTable = NO_FIELDS
    versions: tuple[VersionList, ...] = ()
    change: SchemaChange | None = None
    datasets: Things = NO_THINGS
    lenses_from: tuple[LensRow, ...] = ()
    lenses_to: tuple[LensRow, ...] = ()
    load: tuple[str, ...] = ()
    provenance: Provenance | None = None

    @property
    def title(self) -> str:
        """See `Page`."""
        return f"{self.name} {self.version}, a schema"


@dataclass(frozen=True, kw_only=True)
class LensPage(Page):
    """A lens: what it does, between which schemas, and who verified it.

    Attributes:
        name: what it is called.
        uri: its address.
        account: its publisher.
        description: what it does, in words.
        source, target: the schemas.
        source_fields, target_fields: theirs.
        source_versions, target_versions: the ranges that it takes.
        steps: of its program, in words; none where it is code alone.
        program: the program, as JSON.
        code: the functions that its record names.
        two_way: whether it claims a way back.
        verifications: of it.
        list_note: whose word the service takes.
        provenance: how it came here.
    """

    TEMPLATE = "lens.html"

    name: str
    uri: str
    account: Publisher
    description: str = ""
    source: NamedThing
    target: NamedThing
    source_fields: SchemaTable = NO_FIELDS
    target_fields: SchemaTable = NO_FIELDS
    source_versions: str = ""
    target_versions: str = ""
    steps: tuple[str, ...] = ()
    program: str = ""
    code: tuple[CodeRow, ...] = ()
    two_way: bool = False
    verifications: Verifications = NO_VERIFICATIONS
    list_note: str = ""
    provenance: Provenance | None = None

    @property
    def title(self) -> str:
        """See `Page`."""
        return f"{self.name}, a lens"


@dataclass(frozen=True, kw_only=True)
class AccountPage(Page):
    """An account, and what it has published."""

    TEMPLATE = "account.html"

    account: Publisher
    rev: str
    server: str = ""
    checked: str = ""
    counts: tuple[tuple[str, int, bool], ...] = ()
    datasets: Things = NO_THINGS
    schemas: Things = NO_THINGS
    lenses: Things = NO_THINGS

    @property
    def title(self) -> str:
        """See `Page`."""
        return self.account.shown


@dataclass(frozen=True, kw_only=True)
class PlainRecordPage(Page):
    """A record that has no page of its own kind: a label, a verification, or what cannot be read."""

    TEMPLATE = "record.html"

    kind: str
    uri: str
    account: Publisher
    named: NamedThing | None = None
    facts: tuple[tuple[str, str], ...] = ()
    text: str = ""
    provenance: Provenance | None = None

    @property
    def title(self) -> str:
        """See `Page`."""
        return f"A {self.kind} by {self.account.shown}"


@dataclass(frozen=True, kw_only=True)
class ProofPage(Page):
    """The proof of a record, link by link.

    Attributes:
        uri: the record.
        name: what it is called.
        account: whose it is.
        links: the chain.
        download: the address of the proof.
        size: of the proof, in bytes.
        problem: what did not hold, where something did not.
    """

    TEMPLATE = "proof.html"

    uri: str
    name: str
    account: Publisher
    links: tuple[ProofLink, ...]
    download: str
    size: int
    problem: str = ""

    @property
    def title(self) -> str:
        """See `Page`."""
        return f"What proves {self.name}"
