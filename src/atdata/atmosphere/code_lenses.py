"""Lenses that are code: fetched and run only where their user names repository, commit and digest."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from atdata.arguments import checked_list, checked_type
from atdata.errors import CodeError, DigestError, LensError, UsageError
from atdata.lens import CodeLens, FunctionCode
from atdata.records import CodeReference, LensRecord
from atdata.sandbox import SandboxLimits, check_platform
from atdata.settings import Settings
from atdata.transport.git import read_committed_file

_CODE = re.compile(
    r"(?P<repository>https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9@~][A-Za-z0-9@~:._-]*)*(?:/\.git)?)"
    r"@(?P<commit>[0-9a-f]{40})"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PATH = re.compile(
    r"(?P<file>(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.py)"
    r":(?P<function>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
)
_LEAST_MEMORY = 1 << 28


@dataclass(frozen=True)
class AllowedCode:
    """The permission to fetch one file of code, and to run it in a sandbox.

    Example:
        >>> from atdata.atmosphere import AllowedCode
        >>> allowed = AllowedCode("https://github.com/lab/lenses@" + "0123456789" * 4, "sha256:" + "0" * 64, seconds=5)
        >>> allowed.repository
        'https://github.com/lab/lenses'

    Attributes:
        code: `repository@commit`, as the lens's record names them: an https URL and the full hash.
        digest: of the file: `sha256:` and 64 hexadecimal digits.
        seconds: that one call may take, by the clock and of the processor.
        memory: bytes of address space of its process, of which Python and numpy take some 150 MB.

    Raises:
        UsageError: a part is of another form.
    """

    code: str
    digest: str
    seconds: float = SandboxLimits.seconds
    memory: int = SandboxLimits.memory

    def __post_init__(self) -> None:
        checked_type(self.code, str, "code", "Write https://host/repository@commit.")
        checked_type(self.digest, str, "digest", "Write sha256: and 64 hexadecimal digits.")
        checked_type(self.seconds, int | float, "seconds", "Give a number.")
        checked_type(self.memory, int, "memory", "Give a number of bytes.")
        if not _CODE.fullmatch(self.code):
            raise UsageError(
                "allowed code is not named by repository and commit",
                expected="https://host/repository@ and the full hash, 40 hexadecimal digits",
                actual=self.code[:600],
                hint="Take both from the lens's record.",
            )
        if not _DIGEST.fullmatch(self.digest):
            hint = "git show COMMIT:PATH | sha256sum prints it, of what you have read."
            raise UsageError(
                "the digest of allowed code is none",
                expected="sha256: and 64 hexadecimal digits",
                actual=self.digest[:100],
                hint=hint,
            )
        if not 0 < self.seconds < math.inf or self.memory < _LEAST_MEMORY:
            raise UsageError(
                "allowed code could not run",
                expected=f"seconds above 0, and memory of at least {_LEAST_MEMORY} bytes",
                actual=f"seconds={self.seconds}, memory={self.memory}",
            )

    @classmethod
    def all_of(cls, given: AllowedCode | Iterable[AllowedCode] | None) -> tuple[AllowedCode, ...]:
        """The permissions that a caller gives as `allow_code=`: one, several, or none.

        Raises:
            ArgumentTypeError: something else is among them.
        """
        if given is None or isinstance(given, AllowedCode):
            return () if given is None else (given,)
        return tuple(checked_list(given, AllowedCode, "allow_code", "Give AllowedCode(...), or several in a list."))

    @property
    def repository(self) -> str:
        """The repository's URL."""
        return self.code.rpartition("@")[0]

    @property
    def commit(self) -> str:
        """The full hash of the commit."""
        return self.code.rpartition("@")[2]


def is_allowed(record: LensRecord, allowed: Sequence[AllowedCode]) -> bool:
    """True if there is a permission for all the code of a record. Its files are held against their digests once fetched."""
    known = {(one.repository, one.commit) for one in allowed}
    return all((reference.repository, reference.commit) in known for reference in _named(record).values())


def _named(record: LensRecord) -> dict[str, CodeReference]:
    """The code of a record that has to run, by member."""
    return {"getterCode": record.getter_code} | ({"putterCode": record.putter_code} if record.has_putter else {})


def code_lens(
    record: LensRecord,
    allowed: AllowedCode | Iterable[AllowedCode] | None,
    settings: Settings,
    source_type: type[Any],
    view_type: type[Any],
) -> CodeLens[Any, Any]:
    """The lens of a record of code, fetched, held against its digest, and started in its sandbox once it has kept the laws.

    Args:
        record: the lens.
        allowed: what may be fetched and run. Nothing else is.
        settings: what may be dialled.
        source_type: of its source schema.
        view_type: of its target schema.

    Raises:
        AddressError, LimitError, NetworkError, NotFoundError: the file cannot be had.
        CodeError: it cannot be loaded, or crashes or takes too much as it is tried.
        DigestError: the file is another than allowed.
        LensError: code of the record is not allowed, or named in another way than by file and function of Python; or it
            breaks a law.
        SandboxError: no sandbox can be had here.
    """
    given, named = AllowedCode.all_of(allowed), _named(record)
    matching = {side: _permitted(record, reference, side, given) for side, reference in named.items()}
    places = {side: _place(reference, side) for side, reference in named.items()}
    check_platform()
    files: dict[tuple[str, str, str], bytes] = {}
    for side, reference in named.items():
        file = reference.repository, reference.commit, places[side][0]
        if file not in files:
            files[file] = read_committed_file(*file, settings)
        _check_digest(files[file], matching[side], file)
    sides = [
        FunctionCode(*places[side], source=files[reference.repository, reference.commit, places[side][0]])
        for side, reference in named.items()
    ]
    first = matching["getterCode"][0]
    limits = SandboxLimits(seconds=first.seconds, memory=first.memory)
    said: dict[str, Any] = {"source_type": source_type, "view_type": view_type, "name": record.name, "limits": limits}
    if record.has_putter:
        _check_laws(_OnTrial(*sides, **said))
    made = CodeLens(*sides, **said)
    made.start()
    return made


class _Stopped(BaseException):
    """A trial that ends here: no smaller counterexample is looked for, each of which would take as long."""

    def __init__(self, error: CodeError) -> None:
        super().__init__(error)
        self.error = error


class _OnTrial(CodeLens[Any, Any]):
    """A lens of code while its laws are tried, in a process that is not the one it will be used in."""

    def _call(self, requests: list[list[bytes]]) -> list[list[bytes]]:
        try:
            return super()._call(requests)
        except CodeError as error:
            if error.reason in ("crash", "time", "memory"):
                raise _Stopped(error) from None
            raise


def _check_laws(lens: _OnTrial) -> None:
    with closing(lens):
        try:
            lens.start()
            lens.check_laws()
        except _Stopped as stopped:
            raise stopped.error from None


def _permitted(
    record: LensRecord, reference: CodeReference, side: str, allowed: Sequence[AllowedCode]
) -> list[AllowedCode]:
    """The permissions for a reference's repository and commit: there is one at least."""
    found = [one for one in allowed if (one.repository, one.commit) == (reference.repository, reference.commit)]
    if not found:
        raise LensError(
            f"the lens {record.name} is code, which is not fetched and not run unasked",
            uri=None if record.uri is None else str(record.uri),
            path=side,
            expected=f"{reference.repository}@{reference.commit}",
            actual=", ".join(one.code for one in allowed) or "no code is allowed",
            hint='Read its code; if you trust it: allow_code=AllowedCode("repository@commit", "sha256:...").',
        )
    return found


def _place(reference: CodeReference, side: str) -> tuple[str, str]:
    """The file and the function that a reference names, for which any text may stand in a record."""
    match = _PATH.fullmatch(reference.path)
    if match is None or reference.language not in (None, "python"):
        raise LensError(
            "the code of a lens is not a function in a file of Python",
            path=side,
            expected="dir/file.py:function",
            actual=f"{reference.path} ({reference.language})",
        )
    return match["file"], match["function"]


def _check_digest(data: bytes, allowed: Sequence[AllowedCode], file: tuple[str, str, str]) -> None:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if digest not in (one.digest for one in allowed):
        repository, commit, path = file
        raise DigestError(
            "a file of code is not the one that was allowed",
            uri=f"{repository}@{commit}",
            path=path,
            expected=", ".join(one.digest for one in allowed),
            actual=digest,
            hint="Read the file as it is there, and allow that; nothing of it was run.",
        )
