"""Lenses in an index: listed under names, and found by the schemas that they lead between."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from atdata.arguments import checked_service, checked_text
from atdata.atproto.syntax import AtUri, Did, Handle, RecordKey, Tid, parse_identifier
from atdata.errors import IdentifierError, LensError, LexiconError, NotFoundError, UsageError
from atdata.index.ports import RecordStore
from atdata.index.verifications import VerificationReport
from atdata.lens import DataLens, Program
from atdata.records import (
    CodeReference,
    LensProgram,
    LensRecord,
    Listing,
    ProgramMember,
    Schema,
    VersionRange,
    check_outgoing,
)
from atdata.records.facts import Facts, warn_of_not_taken
from atdata.records.lens import Interpreter
from atdata.records.nsids import collections
from atdata.settings import Settings

Store = TypeVar("Store", bound=RecordStore)

_SCHEMA = "Give the address that publish_schema gave: at://.../science.alt.dataset.schema/Name:1.0.0."


class OwnLenses(Protocol):
    """The lenses of one's own index, and what it keeps of their verifications; such as `LocalIndex`."""

    def list_lenses(self) -> Listing[LensRecord]:
        """All of them."""

    def get_lens(self, ref: str) -> LensRecord:
        """The lens at an address in the index.

        Raises:
            NotFoundError: there is none.
        """

    def list_schemas(self) -> Listing[Schema]:
        """All schemas of the index."""

    def get_schema(self, ref: str) -> Schema:
        """The schema at an address in the index.

        Raises:
            NotFoundError: there is none.
        """

    def verifications_of(self, lens: LensRecord) -> VerificationReport:
        """The verifications of a lens, of the index or of the network, that the index keeps."""


_ANEW = "LensPublisher.update(uri, ...) changes a lens of one's own account; every verification of it ends with that."


class LensIndex(Generic[Store]):
    """Lenses listed under names, in one store of records.

    Attributes:
        records: where the records are.
        settings: in force.
    """

    records: Store
    settings: Settings

    @abstractmethod
    def get_schema(self, ref: str) -> Schema:
        """See `RecordIndex`."""

    def publish_lens(
        self,
        *,
        name: str,
        source_schema: str,
        target_schema: str,
        getter_code: Mapping[str, Any] | CodeReference | None = None,
        putter_code: Mapping[str, Any] | CodeReference | None = None,
        program: LensProgram | None = None,
        source_schema_version: str | None = None,
        target_schema_version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """List a lens: functions in a public repository, or a program, which is data. The same again is the same record.

        Args:
            name: what to call it.
            source_schema: the schema record it looks at.
            target_schema: the schema record it shows.
            getter_code: `{"repository": url, "commit": full hash, "path": "dir/file.py:function"}`; of a program, by
                default, the released interpreter of its language (`ATDATA_LENS_INTERPRETER`).
            putter_code: likewise, the way back; by default the interpreter, or without a program a function that refuses.
            program: what the lens does, as data.
            source_schema_version: which versions of the source schema it takes besides, such as `>=1.0.0 <2.0.0`.
            target_schema_version: which versions of the target schema what it shows is as good as.
            description: what it does.
            metadata: anything else.
            rkey: a record key of the caller's choice.

        Raises:
            LensError: there is neither code nor a program, a code reference does not pin one function, or a program has
                another CID than it says, or does not lead from the whole of the one schema to the whole of the other.
            UsageError: an address is that of no schema; a range is none, or the schema's own version is not in it.
            NotFoundError: a schema is not there.
            SchemaError: a program leads from or to a schema that no sample type can be built from.
            ConflictError: the record key is taken by another lens.
            VerificationError, NetworkError: on the network: it cannot be proven what a schema is.
        """
        facts = Facts.of(description, metadata=metadata)
        source = schema_at(source_schema, "source_schema", self.get_schema)
        target = schema_at(target_schema, "target_schema", self.get_schema)
        draft = LensRecord(
            name=checked_text(name, "name"),
            source_schema=source.located,
            target_schema=target.located,
            **codes_of(program, getter_code, putter_code, self.settings),
            source_schema_version=source_schema_version,
            target_schema_version=target_schema_version,
            description=description,
            metadata=facts.metadata or {},
        )
        check_lens(draft, source, target)
        check_outgoing(draft, bounded=False)  # before it is looked up: what is wrong is so in any case
        stands = self._put_lens(draft, Tid.now() if rkey is None else RecordKey(rkey))
        warn_of_not_taken(stands, facts.said, _ANEW)
        return stands.located

    def _put_lens(self, draft: LensRecord, rkey: RecordKey) -> LensRecord:
        content = draft.index_keys.content
        known = self.records.named(None, LensRecord, draft.name).of_content(content)
        return known or self.records.create(draft, rkey, lambda found: found.index_keys.content == content)

    def get_lens(self, ref: str) -> LensRecord:
        """The lens at an address.

        Raises:
            NotFoundError: there is none.
        """
        return self.records.read(ref, LensRecord)

    def list_lenses(self, repo: str | None = None, limit: int | None = None) -> Listing[LensRecord]:
        """Lenses, newest first; one's own unless another's are asked for. `malformed` are those passed over."""
        return self.records.read_all(repo, LensRecord, limit)

    def find_lenses(
        self, source_schema: str, target_schema: str | None = None, repo: str | None = None
    ) -> list[LensRecord]:
        """Lenses between two schemas, or from one to any, newest first; also those whose ranges take their versions.

        Raises:
            UsageError: an address is that of no schema.
        """
        source, read = schema_address(source_schema, "source_schema"), cache(self.get_schema)
        target = None if target_schema is None else schema_address(target_schema, "target_schema")
        return [
            lens
            for lens in self.list_lenses(repo)
            if takes(lens.source_schema, lens.source_schema_version, source, read)
            and (target is None or takes(lens.target_schema, lens.target_schema_version, target, read))
        ]


def codes_of(
    program: LensProgram | None,
    getter: Mapping[str, Any] | CodeReference | None,
    putter: Mapping[str, Any] | CodeReference | None,
    settings: Settings,
) -> dict[str, Any]:
    """The members of a lens record that say what it does.

    Raises:
        LensError: there is neither code nor a program, or what there is pins nothing.
    """
    if program is None and getter is None:
        raise LensError(
            "a lens needs something that does it",
            expected="getter_code, or program",
            hint="Name the function's repository, commit and path, or give a program.",
        )
    default = Interpreter.of(settings) if getter is None or putter is None else None
    if default is not None:
        getter = default.getter if getter is None else getter
        putter = (default.no_putter if program is None else default.putter) if putter is None else putter
    return {
        "getter_code": CodeReference.of(getter or {}, "getter_code"),
        "putter_code": CodeReference.of(putter or {}, "putter_code"),
        "program": None if program is None else ProgramMember.of(program),
    }


def schema_address(ref: str, path: str) -> AtUri:
    """The address of a schema, as the caller wrote it.

    Raises:
        UsageError: it is the address of something else, or none; `path` names the argument.
    """
    try:
        uri = AtUri(checked_text(ref, path, _SCHEMA))
        if uri.rkey is not None and uri.collection in collections(Schema.NSID):
            return uri
    except IdentifierError:
        pass
    raise UsageError(f"{path} is the address of no schema", path=path, actual=ref[:200], hint=_SCHEMA)


class ServicePlace(str):
    """The URL of a service that is asked for lenses."""

    __slots__ = ()


def lens_place(text: str) -> AtUri | Handle | Did | ServicePlace:
    """A place in which somebody wants lenses to be looked for: an account, the address of one lens, or a service to ask.

    Raises:
        UsageError: it is neither.
    """
    try:
        if text.startswith(("https://", "http://")):
            return ServicePlace(checked_service(text, "lenses"))
        if not text.startswith("at://"):
            return parse_identifier(text.removeprefix("@"))
        uri = AtUri(text)
        if uri.rkey is not None and uri.collection in collections(LensRecord.NSID):
            return uri
    except IdentifierError:
        pass
    raise UsageError(
        "lenses= names no place of lenses",
        path="lenses",
        expected="a DID, a handle, the address of a lens, or https://... of a service",
        actual=text[:200],
        hint='Name an account, or a lens by its address: lenses=["@lab.example"]. list_lenses() of an index has addresses.',
    )


def schema_at(ref: str, path: str, read: Callable[[str], Schema]) -> Schema:
    """The schema that one end of a lens names.

    Args:
        ref: its address, as the caller wrote it.
        path: the name of the argument.
        read: reads a schema.

    Raises:
        UsageError: it is the address of something else, or none.
        NotFoundError: there is no such schema.
        VerificationError, NetworkError: it cannot be proven what it is.
    """
    given = checked_text(ref, path, _SCHEMA)
    try:
        return read(given)
    except (UsageError, IdentifierError) as error:
        raise UsageError(
            f"{path} is the address of no schema", path=path, actual=given[:200], hint=error.hint or _SCHEMA
        ) from error
    except NotFoundError as error:
        raise NotFoundError(
            f"{path} is the address of no schema that is there", path=path, actual=given[:200], hint=_SCHEMA
        ) from error


def check_lens(draft: LensRecord, source: Schema, target: Schema) -> None:
    """Refuse a lens that is not one between its two schemas: a program has to lead from the whole of the one to the whole
    of the other, and ranges of versions to be some, with the schema's own version in them.

    Raises:
        LensError: the program does not.
        SchemaError: no sample type can be built from a schema.
        UsageError: a range is none, or leaves out the schema itself; `path` names it.
    """
    for path, schema, versions in (
        ("source_schema_version", source, draft.source_schema_version),
        ("target_schema_version", target, draft.target_schema_version),
    ):
        if versions is not None and schema.version not in VersionRange.parse(versions, path):
            raise UsageError(
                "the versions that a lens takes leave out that of its own schema",
                path=path,
                expected=f"a range with {schema.version}",
                actual=versions,
                hint=f"Write a range that takes {schema.version} too, or leave it out.",
            )
    if draft.program is not None:
        try:
            DataLens(Program.parse(draft.program.value), source.sample_type, target.sample_type, draft.name)
        except LensError as error:
            error.hint = error.hint or "Nothing was written. Change the program, or name the schemas it leads between."
            raise


def takes(declared: AtUri, versions: str | None, asked: str, read: Callable[[str], Schema]) -> bool:
    """True if one end of a lens is a schema, or, in the same account under the same name, a version in its range.

    Args:
        declared: the schema that the lens names.
        versions: its range; text that is none takes nothing.
        asked: the schema in question.
        read: reads a schema.
    """
    if declared == asked or versions is None:
        return declared == asked
    try:
        accepted, other = VersionRange.parse(versions), AtUri(asked)
        if declared.authority != other.authority:
            return False
        one, schema = read(declared), read(asked)
    except (UsageError, IdentifierError, NotFoundError, LexiconError):  # no range, or no schema
        return False
    return one.name == schema.name and schema.version in accepted
