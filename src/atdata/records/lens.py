"""The lens record: a lens whose functions are in a public repository, or that is a program, which is data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

from atdata.arguments import maybe_text
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import KINDS, check_record, kind_of
from atdata.atproto.syntax import AtUri, Nsid
from atdata.errors import ArgumentTypeError, DataModelError, LensError, LexiconError
from atdata.records import nsids
from atdata.records.record import IndexKeys, Record, rest_of, without_none
from atdata.settings import Settings

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTENT = (
    "sourceSchema",
    "targetSchema",
    "getterCode",
    "putterCode",
    "sourceSchemaVersion",
    "targetSchemaVersion",
    "program",
)
_MEMBERS = (*_CONTENT, "name", "description", "language", "metadata", "createdAt")

_RELEASE = "1bdebc4c891cf95285faf1dcff38e82f0585b92f"
"""The commit of atdata in which the functions below are: what records name is never another (decision 39)."""
_LANGUAGE = "src/atdata/lens/language/lens.py"
_GETTER, _PUTTER = f"{_LANGUAGE}:DataLens._see", f"{_LANGUAGE}:DataLens._put_back"
_REFUSES = ":no_putter"
_NO_PUTTER = f"src/atdata/lens/functions.py{_REFUSES}"


@dataclass(frozen=True)
class CodeReference:
    """One function in one commit of a repository.

    Attributes:
        repository: its URL.
        commit: the full commit hash.
        path: `dir/file.py:function`.
        branch: where the commit was seen.
        language: what it is written in.
    """

    repository: str
    commit: str
    path: str
    branch: str | None = None
    language: str | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any] | CodeReference, where: str, *, function: bool = True) -> CodeReference:
        """A reference that the caller wrote down; to a `function`, or else to whatever is at its path.

        Raises:
            LensError: a part is missing, or does not pin the code.
        """
        given: Any = asdict(value) if isinstance(value, CodeReference) else value
        parts = given if isinstance(given, Mapping) else {}
        missing = [name for name in ("repository", "commit", "path") if not isinstance(parts.get(name), str)]
        if missing:
            raise LensError(
                "a code reference lacks some of its parts",
                path=f"{where}.{missing[0]}",
                expected="repository, commit, path",
                actual=None if parts else type(given).__name__,
                hint='Write {"repository": url, "commit": full hash, "path": "dir/file.py:function"}.',
            )
        branch, language = (maybe_text(parts.get(name), f"{where}.{name}") for name in ("branch", "language"))
        if not _COMMIT.fullmatch(parts["commit"]):
            raise LensError(
                "a code reference must pin a full commit hash",
                path=f"{where}.commit",
                expected="the full hash, 40 hexadecimal digits",
                actual=parts["commit"],
                hint="git rev-parse HEAD prints it.",
            )
        if not parts["repository"].startswith(("https://", "at://")):
            raise LensError(
                "a code reference must name a repository that strangers can reach",
                path=f"{where}.repository",
                expected="https://...",
                actual=parts["repository"],
                hint="Name the URL that others clone it from.",
            )
        if function and ":" not in parts["path"]:
            raise LensError(
                "a code reference must name a function",
                path=f"{where}.path",
                expected="dir/file.py:function",
                actual=parts["path"],
                hint="Write the function's name after the file's, with a colon between.",
            )
        if "language" not in parts and function:
            language = "python"
        return cls(parts["repository"], parts["commit"], parts["path"], branch, language)

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            repository=self.repository, commit=self.commit, path=self.path, branch=self.branch, language=self.language
        )

    @classmethod
    def from_record(cls, value: Mapping[str, Any]) -> CodeReference:
        """Read a wire form that is valid."""
        return cls(value["repository"], value["commit"], value["path"], value.get("branch"), value.get("language"))


@dataclass(frozen=True)
class Interpreter:
    """The functions of a release of atdata that records of lenses name where they have no code of their own.

    Attributes:
        repository: where the release is.
        commit: the release.
    """

    repository: str
    commit: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The release that the settings name, else the one that this version of atdata was made for.

        Raises:
            LensError: atdata was not installed, so that nothing says where its repository is.
        """
        if settings.lens_interpreter is not None:
            return cls(*settings.lens_interpreter.rsplit("@", 1))
        from importlib.metadata import PackageNotFoundError, metadata  # only who publishes needs it

        try:
            urls = metadata("atdata").get_all("Project-URL") or []
        except PackageNotFoundError:
            urls = []
        home = dict(url.split(", ", 1) for url in urls).get("Repository")
        if home is None:
            raise LensError(
                "nothing says where the released interpreter of lenses is",
                expected="https://...@COMMIT",
                hint="Install atdata, or set ATDATA_LENS_INTERPRETER.",
            )
        return cls(home, _RELEASE)

    def _function(self, path: str) -> CodeReference:
        return CodeReference(self.repository, self.commit, path, language="python")

    @property
    def getter(self) -> CodeReference:
        """The function that sees a sample through a program."""
        return self._function(_GETTER)

    @property
    def putter(self) -> CodeReference:
        """The function that puts a view back through a program."""
        return self._function(_PUTTER)

    @property
    def no_putter(self) -> CodeReference:
        """The function that refuses, in place of a putter that there is not."""
        return self._function(_NO_PUTTER)


class LensProgram(Protocol):
    """A lens as data."""

    @property
    def value(self) -> Mapping[str, Any]:
        """JSON without floats: `language`, `version`, `steps`."""

    @property
    def cid(self) -> Cid:
        """The CID of its value."""


@dataclass(frozen=True)
class ProgramMember:
    """A program as a record holds it: data, held against its digest, and never run by reading it.

    Attributes:
        value: `language`, `version`, `steps`, and whatever else it says.
    """

    value: Mapping[str, Any]

    @classmethod
    def of(cls, program: LensProgram) -> Self:
        """The member for a program.

        Raises:
            ArgumentTypeError: it is none.
            LensError: it is one that no record can hold, or has another CID than it says.
        """
        if isinstance(program, type) or not isinstance(getattr(program, "value", None), Mapping):
            hint = "Give Program.of(step, ...), or Program.parse(what a file says)."
            raise ArgumentTypeError(
                "program must be a program of lenses", path="program", actual=type(program).__name__, hint=hint
            )
        try:
            return cls.from_record({**program.value, "cid": str(program.cid)})
        except (LexiconError, DataModelError) as error:
            raise LensError(
                "a program cannot stand in a record",
                path=error.path or "program",
                expected=error.expected,
                actual=error.actual or error.what,
            ) from error

    @classmethod
    def from_record(cls, value: Any) -> Self:
        """Read a wire form.

        Raises:
            LexiconError: it is no program, or its digest is another's; `path` names the place.
            DataModelError: it holds a float, or an integer beyond 53 bits.
        """
        for name, kind in {"": dict, "language": str, "version": int, "steps": list, "cid": str}.items():
            found = value.get(name) if name else value
            if type(found) is not kind or found == "":
                path = f"program.{name}" if name else "program"
                raise LexiconError("a lens's program is none", path=path, expected=KINDS[kind], actual=kind_of(found))
        member = cls({name: item for name, item in value.items() if name != "cid"})
        check_record(dict(member.value))
        if value["cid"] != str(member.cid):
            raise LexiconError(
                "a lens's program is not the one whose digest stands beside it",
                path="program.cid",
                expected=member.cid,
                actual=value["cid"][:100],
                hint="Its publisher can publish it again; nothing of it is used.",
            )
        return member

    @cached_property
    def cid(self) -> Cid:
        """The CID of its value."""
        return Cid.of_cbor(cbor.encode(dict(self.value)))

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return {**self.value, "cid": str(self.cid)}


@dataclass(frozen=True, kw_only=True, eq=False)
class LensRecord(Record):
    """A published lens. Its code is never fetched or run by reading the record.

    Attributes:
        name: what people call it.
        source_schema: the schema it looks at.
        target_schema: the schema it shows.
        getter_code: the function from source to target.
        putter_code: the function from target and source to source.
        description: what it does.
        metadata: anything else.
        source_schema_version: the versions of the source schema that it takes, as a range; see `VersionRange`.
        target_schema_version: the versions of the target schema that what it shows is as good as.
        program: what it does, as data; `None` where it is code alone.
    """

    NSID: ClassVar[Nsid] = nsids.LENS

    name: str
    source_schema: AtUri
    target_schema: AtUri
    getter_code: CodeReference
    putter_code: CodeReference
    description: str | None = None
    language: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source_schema_version: str | None = None
    target_schema_version: str | None = None
    program: ProgramMember | None = None

    @property
    def has_putter(self) -> bool:
        """True if it claims a way back: its putter is not the function that refuses."""
        return not self.putter_code.path.endswith(_REFUSES)

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: its name, and as content the two schemas with their versions, and what it does."""
        wire = self.to_record()
        said = {name: wire[name] for name in _CONTENT if name in wire}
        return IndexKeys(self.name, None, Cid.of_cbor(cbor.encode(said)), self.source_schema)

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        return without_none(
            **{"$type": str(self.NSID)},
            name=self.name,
            sourceSchema=str(self.source_schema),
            targetSchema=str(self.target_schema),
            getterCode=self.getter_code.to_record(),
            putterCode=self.putter_code.to_record(),
            description=self.description,
            language=self.language,
            metadata=dict(self.metadata) or None,
            sourceSchemaVersion=self.source_schema_version,
            targetSchemaVersion=self.target_schema_version,
            program=None if self.program is None else self.program.to_record(),
            createdAt=self.created_at,
            **self.extra,
        )

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        return cls(
            name=value["name"],
            source_schema=AtUri(value["sourceSchema"]),
            target_schema=AtUri(value["targetSchema"]),
            getter_code=CodeReference.from_record(value["getterCode"]),
            putter_code=CodeReference.from_record(value["putterCode"]),
            description=value.get("description"),
            language=value.get("language"),
            metadata=value.get("metadata") or {},
            source_schema_version=value.get("sourceSchemaVersion"),
            target_schema_version=value.get("targetSchemaVersion"),
            program=ProgramMember.from_record(value["program"]) if "program" in value else None,
            created_at=value["createdAt"],
            extra=rest_of(value, *_MEMBERS),
        )
