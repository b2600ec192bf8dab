"""Everything atdata raises, as one tree.

AtdataError
├── UsageError (ValueError)              an argument that cannot be meant
│   ├── ArgumentTypeError (TypeError)    ... since it is of another type
│   └── UnsizedError (TypeError)         the length of what only reading can count
├── MissingExtraError (ImportError)      an optional driver is not installed
├── FieldTypeError (TypeError)           a sample type declares something no sample can hold
├── SampleError (ValueError)             a value, or bytes, that do not fit the sample type
├── ShardError (ValueError)              a shard that is not what a shard must be
│   └── TruncatedShardError              ... because its end is missing
├── ShardNotFoundError (FileNotFoundError)
├── ResumeError (ValueError)             a saved state that is not of this loader and these data
├── SchemaError (ValueError)             a schema record that describes no sample type we can build
│   └── CompatibilityError               ... or whose samples another sample type does not read
├── LensError (ValueError)               a lens that cannot be built or published
│   ├── LensNotFoundError (LookupError)  no registered lens leads from one type to the other
│   ├── AmbiguousLensError               several lenses do, and show different samples
│   ├── CodeError                        ... whose code failed, or was stopped, in its sandbox
│   └── NoHomeError                      a sample that a lens has no view of, or a view that has no home in its source
├── SandboxError (RuntimeError)          a process that can do no harm, which cannot be had here; no code was run
├── IdentifierError (ValueError)         text that is no DID, handle, NSID, record key, TID, CID or URI
├── DataModelError (ValueError)          bytes or values outside the AT Protocol data model
├── LexiconError (ValueError)            a record or document that breaks its lexicon
├── VerificationError                    a link between identity and bytes that does not hold
│   ├── IdentityError                    handle, DID and DID document disagree
│   ├── SignatureError                   key or signature
│   ├── ProofError                       repository blocks that do not prove the record
│   │   └── MissingBlockError            ... because one of them is not there (`atdata.atproto.repo.node`)
│   ├── RollbackError                    a repository state older than one already seen
│   ├── DigestError                      bytes that are not the bytes that were published
│   └── UnverifiedError                  nothing to check against, and nobody said that is acceptable
├── NotFoundError (KeyError)             no such record, entry, name, account
│   ├── NoSampleError (IndexError)       ... or no sample of that number
│   └── RetractedError                   ... any more: its publisher withdrew it
├── PolicyError                          a dataset that a trust policy refuses
├── ConflictError                        the name is taken by other content
│   └── TakenError                       ... or was, by somebody faster (`atdata.local.database`)
├── LimitError (ValueError)              larger than a server or format takes
├── StorageError (OSError)               a disk that is full, or fails
├── FailedShardsError (RuntimeError)     shards that a function could not be mapped over; the others are finished
└── NetworkError (OSError)               no usable answer from a server
    ├── AddressError                     an address we must not, or cannot, dial
    ├── ContentionError                  an account that others write to all the time; nothing was written
    ├── XrpcError                        a server's own error answer
    │   └── RateLimitError
    └── AuthError (PermissionError)      not logged in, or not allowed

Every error says in its first line what happened and in its last what to do. The facts are attributes,
so that a program need not parse the message. None holds a secret: each passes `redacted`, whoever sets it.
What is no error but must not go without a word is an `AtdataWarning`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from atdata.plain import plain
from atdata.redaction import redacted

E = TypeVar("E", bound=BaseException)


class AtdataError(Exception):
    """Root of the tree.

    Attributes:
        what: one line, what happened.
        hint: one line, what to do about it.
        uri: the record, blob, shard or server it is about.
        path: where inside it: a field path (`a.b[3]`) or a byte offset.
        step: the link of the verification chain that broke, or the request that failed.
        expected: what should have been there.
        actual: what was.
    """

    def __init__(
        self,
        what: str,
        *,
        hint: str | None = None,
        uri: str | None = None,
        path: str | None = None,
        step: str | None = None,
        expected: Any = None,
        actual: Any = None,
    ) -> None:
        super().__init__(redacted(what))
        self.what = what
        self.hint = hint
        self.uri = None if uri is None else str(uri)
        self.path = path
        self.step = step
        # Rendered at once: errors travel between processes, the values they saw need not.
        self.expected = None if expected is None else str(expected)
        self.actual = None if actual is None else str(actual)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, redacted(value) if type(value) is str else value)

    @property
    def facts(self) -> dict[str, str]:
        """The facts that are known, by name."""
        names = {"step": "step", "where": "uri", "path": "path", "expected": "expected", "actual": "actual"}
        facts = {name: getattr(self, attribute) for name, attribute in names.items()}
        return {name: value for name, value in facts.items() if value is not None}

    def __str__(self) -> str:
        # Defined here, before KeyError and OSError in the MRO, which would print a repr or an errno.
        lines = [self.what, *(f"  {name}: {value}" for name, value in self.facts.items())]
        return "\n".join(map(plain, [*lines, self.hint] if self.hint else lines))  # a traceback goes to a terminal too


def bare(error: E) -> E:
    """An error of a driver without the frames it came through: they hold what it was given, passwords and headers too."""
    link: BaseException | None = error
    while link is not None and link.__traceback__ is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


class UsageError(AtdataError, ValueError):
    """An argument, or a combination of arguments, that cannot be meant."""


class ArgumentTypeError(UsageError, TypeError):
    """An argument of another type than is taken."""


class UnsizedError(UsageError, TypeError):
    """The length of what has none before it is read. A `TypeError`, so that `list` and `tuple` do without it."""

    @classmethod
    def of(cls, what: str, hint: str) -> UnsizedError:
        """The error for things that cannot be counted, and how to do it."""
        return cls(f"{what} have no number before they are read", hint=hint)


class MissingExtraError(AtdataError, ImportError):
    """An optional driver is not installed; the hint names the extra that brings it."""

    @classmethod
    def of(cls, extra: str, purpose: str) -> MissingExtraError:
        """The error for `purpose` needing the optional dependency group `extra`."""
        return cls(f"{purpose} needs the extra [{extra}]", hint=f"Install it with: pip install 'atdata[{extra}]'")


class FieldTypeError(AtdataError, TypeError):
    """A sample type declares a field that no sample can hold."""


class SampleError(AtdataError, ValueError):
    """A value that does not fit its declared type, or bytes are not a sample of the type."""


class ShardError(AtdataError, ValueError):
    """A tar shard that breaks the format."""


class TruncatedShardError(ShardError):
    """A tar shard whose end is missing."""


class ShardNotFoundError(AtdataError, FileNotFoundError):
    """No shard at a path or URL."""


class ResumeError(AtdataError, ValueError):
    """A saved state that is not of this loader and these data."""


class SchemaError(AtdataError, ValueError):
    """A schema record from which no sample type can be built."""


class CompatibilityError(SchemaError):
    """Samples of one schema that are not read as those of another."""


class LensError(AtdataError, ValueError):
    """A lens that cannot be built, applied or published."""


class LensNotFoundError(LensError, LookupError):
    """No registered lens leads from one sample type to another."""


class AmbiguousLensError(LensError):
    """Several ways of lenses lead from one schema to another, equally good, and show different samples."""


class NoHomeError(LensError):
    """A put that has no home in the source, or a sample that has no view. A lens raises it where it is not defined."""


class CodeError(LensError):
    """Code that failed, or was stopped, in its sandbox.

    Attributes:
        reason: one of `REASONS`: it raised an exception, its process crashed, it took too much time or memory, it
            answered what is no answer, or its process was closed before it was asked.
        raised: the name of the exception's class, if it was one; as the code says.
    """

    REASONS = ("exception", "crash", "time", "memory", "answer", "closed")

    def __init__(self, what: str, *, reason: str = "crash", raised: str = "", **facts: Any) -> None:
        super().__init__(what, **facts)
        self.reason, self.raised = reason, raised


class SandboxError(AtdataError, RuntimeError):
    """A process that can do no harm cannot be had, so that code was refused; `step` names the missing restriction."""

    @classmethod
    def of(cls, restriction: str, why: str) -> SandboxError:
        """The error for one restriction that cannot be had."""
        return cls(
            "code was refused: it cannot be kept from doing harm here",
            step=restriction,
            actual=why,
            hint="Run it on Linux, where processes may restrict themselves (seccomp), or use a lens that is data.",
        )


class IdentifierError(AtdataError, ValueError):
    """Text that is not the identifier it should be."""


class DataModelError(AtdataError, ValueError):
    """Bytes or values outside the AT Protocol data model (DAG-CBOR, CAR, JSON forms)."""


class LexiconError(AtdataError, ValueError):
    """A record that breaks its lexicon, or a document that is no lexicon."""


class VerificationError(AtdataError):
    """A link of the chain from identity to bytes that does not hold; `step` names the link."""


class IdentityError(VerificationError):
    """Handle, DID and DID document do not name each other."""


class SignatureError(VerificationError):
    """A signature that its key did not make."""


class ProofError(VerificationError):
    """Repository blocks that do not prove what they should."""


class RollbackError(VerificationError):
    """A repository state older than, or forked from, one already seen for that DID."""


class DigestError(VerificationError):
    """Bytes whose digest is not the published one."""


class UnverifiedError(VerificationError):
    """Bytes without a digest to check against, where `allow_unverified=True` was not given."""


class NotFoundError(AtdataError, KeyError):
    """No such record, entry, name or account."""


class NoSampleError(NotFoundError, IndexError):
    """No sample of a number. An `IndexError`, by which Python's protocol of sequences knows their end."""


class RetractedError(NotFoundError):
    """A version that its publisher has withdrawn; it stands for nothing else ever after."""


class PolicyError(AtdataError):
    """A dataset that a trust policy refuses. Nothing of it was read.

    Attributes:
        verdict: every fact that was used, and every one that could not be had: `atdata.policy.PolicyVerdict`.
    """

    def __init__(self, what: str, *, verdict: Any = None, **facts: Any) -> None:
        super().__init__(what, **facts)
        self.verdict = verdict


class ConflictError(AtdataError):
    """A name or version that already stands for other content."""


class AtdataWarning(UserWarning):
    """The root of all warnings of atdata."""


def warn(warning: AtdataWarning) -> None:
    """Warn, at the innermost call that is not atdata's own."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "atdata":
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


class PassedOverWarning(AtdataWarning):
    """Files, or lenses, were left out.

    Attributes:
        files: those, or the addresses of the lenses.
        why: the reason.
        hint: what to do about it.
    """

    def __init__(self, files: tuple[str, ...], why: str, hint: str) -> None:
        super().__init__(files, why, hint)
        self.files, self.why, self.hint = files, why, hint

    def __str__(self) -> str:
        more = f", and {len(self.files) - 5} more" if len(self.files) > 5 else ""
        named = ", ".join(map(redacted, map(plain, self.files[:5])))
        return f"passed over {len(self.files)} ({self.why}): {named}{more}\n{self.hint}"


class NotTakenWarning(AtdataWarning):
    """Something was said about a record that is listed already, and stands as it is.

    Attributes:
        fields: what was said and not taken.
        uri: the record.
    """

    def __init__(self, name: str, fields: tuple[str, ...], hint: str, uri: str | None = None) -> None:
        super().__init__(name, fields, hint, uri)
        self.name, self.fields, self.hint, self.uri = name, fields, hint, uri

    def __str__(self) -> str:
        taken = f"not taken: {', '.join(self.fields)}"
        return f"{self.name!a} is listed already and stands as it is; {taken}\n{self.hint}"


class LimitError(AtdataError, ValueError):
    """Something larger than a server or a format takes."""


class StorageError(AtdataError, OSError):
    """A disk that is full, or fails. Nothing partial was left."""


class FailedShardsError(AtdataError, RuntimeError):
    """Shards over which a function could not be mapped. The others are finished, and are not done again.

    Attributes:
        failures: the numbers of the shards, each with what went wrong.
    """

    def __init__(self, what: str, *, failures: Mapping[int, str] | None = None, **facts: Any) -> None:
        super().__init__(what, **facts)
        self.failures = dict(failures or {})


class NetworkError(AtdataError, OSError):
    """No usable answer from a server."""


class AddressError(NetworkError):
    """An address that must not be dialled, or that does not resolve."""


class ContentionError(NetworkError):
    """An account that others write to faster than one can read it, or write to it. Nothing was written."""


class XrpcError(NetworkError):
    """A server's own error answer.

    Attributes:
        status: HTTP status code.
        error: the error's name in the answer, such as `InvalidSwap`.
    """

    def __init__(self, what: str, *, status: int = 0, error: str = "", **facts: Any) -> None:
        super().__init__(what, **facts)
        self.status = status
        self.error = error


class RateLimitError(XrpcError):
    """429 after all patience was used up."""


class AuthError(NetworkError, PermissionError):
    """Missing or wrong credentials, or something that they do not allow."""
