"""Lens records: `LensPublisher` and `LensLoader`. Code is named, never fetched or run here."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atproto.syntax import AtUri
from atdata.errors import LensError
from atdata.lens import Lens
from atdata.records import CodeReference, LensRecord, Listing


class LensPublisher:
    """Publishes lenses under the client's account."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index = AtmosphereIndex(client)

    def publish(
        self,
        *,
        name: str,
        source_schema: str,
        target_schema: str,
        getter_code: Mapping[str, Any] | CodeReference,
        putter_code: Mapping[str, Any] | CodeReference,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """Publish a lens whose functions are in a public repository; see `AtmosphereIndex.publish_lens`."""
        return self._index.publish_lens(
            name=name,
            source_schema=source_schema,
            target_schema=target_schema,
            getter_code=getter_code,
            putter_code=putter_code,
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
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """Publish a lens object. Repository, commit and path come from the git checkout that holds its functions.

        Args:
            lens: with a putter.
            source_schema: the schema record of its source type.
            target_schema: the schema record of its view type.
            repository: the URL others clone; by default the checkout's `origin`.
            commit: the full hash; by default the checkout's, which must then be clean.
            name: what to call it; by default as the getter.
            description: what it does; by default the getter's docstring.
            metadata: anything else.
            rkey: a record key of the caller's choice.

        Raises:
            LensError: there is no putter, or nothing says which code at which commit the functions are.
        """
        if lens.putter_function is None:
            raise LensError(
                f"the lens {lens.name} has no putter, and a record needs one",
                hint=f"Add one: @{lens.name}.putter; or name the code yourself with LensPublisher.publish(...).",
            )
        getter = _code_of(lens.getter_function, repository, commit)
        putter = _code_of(lens.putter_function, repository, commit)
        return self.publish(
            name=lens.name if name is None else name,
            source_schema=source_schema,
            target_schema=target_schema,
            getter_code=getter,
            putter_code=putter,
            description=inspect.getdoc(lens.getter_function) if description is None else description,
            metadata=metadata,
            rkey=rkey,
        )


class LensLoader:
    """Reads lenses of anybody's; each is verified."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index = AtmosphereIndex(client)

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
        """Lenses between two schemas, or from one to any, among those of a DID or handle, or the client's own."""
        return self._index.find_lenses(source_schema_uri, target_schema_uri, repo)


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
