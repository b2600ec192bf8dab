"""Lenses in an index: listed under names, and found by the schemas that they lead between."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Generic, TypeVar

from atdata.arguments import checked_text
from atdata.atproto.syntax import AtUri, RecordKey, Tid
from atdata.errors import IdentifierError, LensError, LexiconError, NotFoundError, UsageError
from atdata.index.ports import RecordStore
from atdata.records import CodeReference, LensProgram, LensRecord, Listing, ProgramMember, Schema, VersionRange
from atdata.records.facts import Facts, warn_of_not_taken
from atdata.records.lens import Interpreter
from atdata.settings import Settings

Store = TypeVar("Store", bound=RecordStore)

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
                another CID than it says.
            UsageError: a range is none, or the schema's own version is not in it.
            ConflictError: the record key is taken by another lens.
        """
        draft = LensRecord(
            name=name,
            source_schema=AtUri(source_schema),
            target_schema=AtUri(target_schema),
            **codes_of(program, getter_code, putter_code, self.settings),
            source_schema_version=source_schema_version,
            target_schema_version=target_schema_version,
            description=description,
            metadata=dict(metadata or {}),
        )
        check_versions(draft, self.get_schema)
        stands = self._put_lens(draft, Tid.now() if rkey is None else RecordKey(rkey))
        warn_of_not_taken(stands, Facts.of(description, metadata=metadata).said, _ANEW)
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
        """Lenses between two schemas, or from one to any, newest first; also those whose ranges take their versions."""
        checked_text(source_schema, "source_schema")
        read = cache(self.get_schema)
        return [
            lens
            for lens in self.list_lenses(repo)
            if takes(lens.source_schema, lens.source_schema_version, source_schema, read)
            and (target_schema is None or takes(lens.target_schema, lens.target_schema_version, target_schema, read))
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


def check_versions(draft: LensRecord, read: Callable[[str], Schema]) -> None:
    """Refuse ranges of versions that are none, or that leave out the schema itself.

    Raises:
        UsageError: one is; `path` names it.
    """
    for path, declared, versions in (
        ("source_schema_version", draft.source_schema, draft.source_schema_version),
        ("target_schema_version", draft.target_schema, draft.target_schema_version),
    ):
        if versions is not None and (own := read(declared).version) not in VersionRange.parse(versions):
            raise UsageError(
                "the versions that a lens takes leave out that of its own schema",
                path=path,
                expected=f"a range with {own}",
                actual=versions,
            )


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
