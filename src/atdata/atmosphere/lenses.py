"""Lens records: `LensPublisher` and `LensLoader`. Code is named, and fetched or run by `LensLoader.load` alone, if asked."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import UNSET, UnsetType

from atdata.arguments import checked_map, checked_text, checked_type, maybe_text
from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.code_lenses import AllowedCode, code_lens
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atmosphere.repository import State
from atdata.atproto.syntax import AtUri, Did
from atdata.errors import LensError, NotFoundError, UsageError
from atdata.index.deciding import Decision, Write, located
from atdata.index.lenses import check_lens, schema_address, schema_at
from atdata.lens import DataLens, Lens, Program
from atdata.lens.language.trying import laws_of
from atdata.lens.types import schema_key
from atdata.records import CodeReference, LensProgram, LensRecord, Listing, ProgramMember, VersionRange
from atdata.records.facts import Text
from atdata.records.lens import Interpreter


class LensPublisher:
    """Publishes lenses under the client's account."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index, self._client = AtmosphereIndex(client), client

    def publish(
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
        """Publish a lens: functions in a public repository, or a program; see `AtmosphereIndex.publish_lens`."""
        return self._index.publish_lens(
            name=name,
            source_schema=source_schema,
            target_schema=target_schema,
            getter_code=getter_code,
            putter_code=putter_code,
            program=program,
            source_schema_version=source_schema_version,
            target_schema_version=target_schema_version,
            description=description,
            metadata=metadata,
            rkey=rkey,
        )

    def publish_from_lens(
        self,
        lens: Lens[Any, Any],
        *,
        source_schema: str,
        target_schema: str,
        repository: str | None = None,
        commit: str | None = None,
        name: str | None = None,
        description: str | None = None,
        **facts: Any,
    ) -> AtUri:
        """Publish a lens object. Repository, commit and path come from the git checkout that holds its functions.

        The record of a lens without a putter names one that refuses; that of a `DataLens` holds its program.

        Args:
            lens: what to publish.
            source_schema: the schema record of its source type.
            target_schema: the schema record of its view type.
            repository: the URL others clone; by default the checkout's `origin`.
            commit: the full hash; by default the checkout's, which must then be clean.
            name: what to call it; by default as the getter.
            description: what it does; by default the getter's docstring.
            facts: other arguments of `publish`.

        Raises:
            LensError: nothing says which code at which commit the functions are; or as `publish`.
            UsageError, NotFoundError: as `publish`.
        """
        checked_type(lens, Lens, "lens", "Give what @lens, Lens(get, put=...) or DataLens(...) made.")
        for text, path in ((repository, "repository"), (commit, "commit")):
            maybe_text(text, path)
        if isinstance(lens, DataLens):
            does: dict[str, Any] = {"program": lens.program}
        else:
            getter, putter = lens.getter_function, lens.putter_function
            description = inspect.getdoc(getter) if description is None else description
            codes = [
                None if function is None else _code_of(function, repository, commit) for function in (getter, putter)
            ]
            does = dict(zip(("getter_code", "putter_code"), codes, strict=True))
        return self.publish(
            name=lens.name if name is None else name,
            source_schema=source_schema,
            target_schema=target_schema,
            description=description,
            **does,
            **facts,
        )

    def update(
        self,
        uri: str,
        *,
        name: str | UnsetType = UNSET,
        source_schema: str | UnsetType = UNSET,
        target_schema: str | UnsetType = UNSET,
        getter_code: Mapping[str, Any] | CodeReference | UnsetType = UNSET,
        putter_code: Mapping[str, Any] | CodeReference | UnsetType = UNSET,
        program: LensProgram | UnsetType | None = UNSET,
        source_schema_version: Text = UNSET,
        target_schema_version: Text = UNSET,
        description: Text = UNSET,
        metadata: Mapping[str, Any] | UnsetType | None = UNSET,
    ) -> LensRecord:
        """Say something else at the address of a lens of the client's account. What is not given stays.

        It is another version of the lens, with a CID of its own: every verification of the one before ends with that.

        Args:
            uri: the lens.
            name: what to call it.
            source_schema: the schema record it looks at.
            target_schema: the schema record it shows.
            getter_code: as `publish` takes it.
            putter_code: likewise.
            program: what it does, as data; `None` leaves the code alone.
            source_schema_version: a range of versions; `None` takes it out.
            target_schema_version: likewise.
            description: what it does; `None` clears it.
            metadata: anything else, all of it; `None` clears it.

        Returns:
            The lens as it is now.

        Raises:
            NotFoundError: the account has no such lens.
            LensError, UsageError, SchemaError: as `publish`; nothing was written.
        """
        said: dict[str, Any] = {
            "name": name if isinstance(name, UnsetType) else checked_text(name, "name"),
            "source_schema": self._schema_or_unset(source_schema, "source_schema"),
            "target_schema": self._schema_or_unset(target_schema, "target_schema"),
            "getter_code": _code_or_unset(getter_code, "getter_code"),
            "putter_code": _code_or_unset(putter_code, "putter_code"),
            "program": program if program is None or isinstance(program, UnsetType) else ProgramMember.of(program),
            "source_schema_version": _range(source_schema_version, "source_schema_version"),
            "target_schema_version": _range(target_schema_version, "target_schema_version"),
            "description": description
            if isinstance(description, UnsetType)
            else maybe_text(description, "description"),
            "metadata": _metadata(metadata),
        }
        return self._update(AtUri(uri), {key: value for key, value in said.items() if value is not UNSET})

    def _update(self, uri: AtUri, said: dict[str, Any]) -> LensRecord:
        uri = uri.with_authority(self._client.reader.identity(uri.authority).did)

        def decide(state: State) -> Decision[LensRecord]:
            there = state.get(uri, LensRecord)
            if there is None:
                raise NotFoundError("the account has no such lens", uri=uri, hint="Publish it first.")
            if there.older_forms:
                raise UsageError("a lens of an older era is not changed", uri=uri, hint="Publish it anew.")
            codes: dict[str, Any] = {}
            if there.program is None and said.get("program") is not None:
                interpreter = Interpreter.of(self._client.settings)
                codes = {"getter_code": interpreter.getter, "putter_code": interpreter.putter}
            new = located(replace(there, **{**codes, **said}), uri)
            if new.cid == there.cid:
                return Decision(new)
            source = schema_at(new.source_schema, "source_schema", self._index.get_schema)
            check_lens(new, source, schema_at(new.target_schema, "target_schema", self._index.get_schema))
            return Decision(new, [Write.update(new, there)])

        return self._client.records.transact([LensRecord], decide)

    def _schema_or_unset(self, ref: str | UnsetType, path: str) -> AtUri | UnsetType:
        return ref if isinstance(ref, UnsetType) else schema_at(ref, path, self._index.get_schema).located


class LensLoader:
    """Reads lenses of anybody's; each is verified."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index, self._client = AtmosphereIndex(client), client

    def load(
        self,
        uri: str,
        *,
        allow_code: AllowedCode | Iterable[AllowedCode] | None = None,
        source_type: type[Any] | None = None,
        view_type: type[Any] | None = None,
    ) -> Lens[Any, Any]:
        """The lens at an address, to be used. One that is data is built from it. One that is code is fetched and run only
        if its repository, commit and digest are allowed, and then in a process without network, files or other processes.
        One that can be put through is given only after its laws held, on generated samples.

        Args:
            uri: the lens.
            allow_code: the code that may be fetched and run; several where getter and putter are in different files.
            source_type: the class of its source schema; by default one made of it.
            view_type: likewise of its target schema.

        Raises:
            CodeError: the code cannot be loaded; `reason` says why.
            DigestError: the code is another than allowed.
            LensError: it is code that is not allowed, a law does not hold, or a class is not of its schema.
            NetworkError, NotFoundError: the lens, a schema or the code cannot be had.
            SandboxError: no process can be had here that code may run in.
            VerificationError: a link to it broke.
        """
        permissions = AllowedCode.all_of(allow_code)
        record = self.get(uri)
        types = (
            self._type(record.source_schema, source_type, "source_type"),
            self._type(record.target_schema, view_type, "view_type"),
        )
        if record.program is not None:
            made = DataLens(Program.parse(record.program.value), *types, name=record.name)
            laws_of(made).raise_for_failure()
            return made
        return code_lens(record, permissions, self._client.settings, *types)

    def _type(self, schema: AtUri, given: type[Any] | None, name: str) -> type[Any]:
        """The class for a schema: the one that is given, if it is of that schema."""
        if given is not None:
            checked_type(given, type, name, "Give a class made by @packable, or leave it out.")
        made = self._index.decode_schema(str(schema))
        if given is not None and schema_key(given) != schema_key(made):
            raise LensError(
                f"{name}= is not of the lens's schema",
                uri=str(schema),
                expected=made.__name__,
                actual=given.__name__,
                hint="Leave it out to have one made, or give the class that was published.",
            )
        return made if given is None else given

    def get(self, uri: str) -> LensRecord:
        """The lens at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: a link to it broke.
        """
        return self._index.get_lens(uri)

    def list_all(self, repo: str | None = None, limit: int | None = None) -> Listing[LensRecord]:
        """Lenses of a DID or handle, newest first; the client's own by default."""
        return self._index.list_lenses(repo, limit)

    def find_by_schemas(
        self, source_schema_uri: str, target_schema_uri: str | None = None, repo: str | None = None
    ) -> list[LensRecord]:
        """Lenses between two schemas, or from one to any, among those of a DID or handle, or the client's own.

        Also those whose ranges take the versions of the schemas.

        Raises:
            UsageError: an address is that of no schema.
        """
        source = self._by_did(source_schema_uri, "source_schema_uri")
        target = None if target_schema_uri is None else self._by_did(target_schema_uri, "target_schema_uri")
        return self._index.find_lenses(source, target, repo)

    def _by_did(self, schema: str, path: str) -> AtUri:
        """The address of a schema as records name it."""
        uri = schema_address(schema, path)
        if isinstance(uri.authority, Did):
            return uri
        return uri.with_authority(self._client.reader.identity(uri.authority).did)


def _range(given: Text, path: str) -> Text:
    return given if given is None or isinstance(given, UnsetType) else VersionRange.parse(given, path).text


def _metadata(given: Mapping[str, Any] | UnsetType | None) -> Mapping[str, Any] | UnsetType:
    return given if isinstance(given, UnsetType) else checked_map({} if given is None else given, "metadata")


def _code_or_unset(code: Mapping[str, Any] | CodeReference | UnsetType, where: str) -> CodeReference | UnsetType:
    return code if isinstance(code, UnsetType) else CodeReference.of(code, where)


def _code_of(function: Callable[..., Any], repository: str | None, commit: str | None) -> CodeReference:
    """The code reference of a function, as others find it."""
    try:
        file = Path(inspect.getsourcefile(function) or "").resolve(strict=True)
    except (TypeError, OSError):
        raise _unplaced(function, "it was not read from a file") from None
    if repository and commit and not any((folder / ".git").exists() for folder in file.parents):
        path = f"{function.__module__.replace('.', '/')}.py:{function.__qualname__}"
        return CodeReference.of({"repository": repository, "commit": commit, "path": path}, function.__name__)
    root = Path(_git(function, file.parent, "rev-parse", "--show-toplevel"))
    if commit is None:
        if _git(function, root, "status", "--porcelain", "--", str(file)):
            raise _unplaced(function, f"{file.name} has changes that are in no commit")
        commit = _git(function, root, "rev-parse", "HEAD")
    url = _https(_git(function, root, "remote", "get-url", "origin")) if repository is None else repository
    return CodeReference.of(
        {"repository": url, "commit": commit, "path": f"{file.relative_to(root).as_posix()}:{function.__qualname__}"},
        function.__name__,
    )


def _git(function: Callable[..., Any], folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        raise _unplaced(function, "git cannot be run") from None
    if done.returncode:
        raise _unplaced(function, f"git {arguments[0]}: {done.stderr.strip()[:200]}")
    return done.stdout.strip()


def _https(remote: str) -> str:
    """The address strangers clone from, for one that needs an ssh key."""
    match = re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](?:\d+/)?(.+)", remote)
    return f"https://{match[1]}/{match[2]}" if match else remote


def _unplaced(function: Callable[..., Any], why: str) -> LensError:
    return LensError(
        f"nothing says where others find the code of {function.__name__}",
        actual=why,
        hint="Commit it to a public repository, or pass repository= and commit=, or use LensPublisher.publish(...).",
    )
