"""The lensVerification record: what somebody found out about one version of a lens, in that person's own repository.

The members `verdict`, `trial` and `counterexample` are additions of ours on an open object (formats.md 3). Whatever stands in
their place, a record counts for a lens only where it says nothing else than that the lens holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

from atdata.arguments import did_you_mean
from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri, Nsid
from atdata.errors import IdentifierError, UsageError
from atdata.records import nsids
from atdata.records.lens import CodeReference
from atdata.records.record import IndexKeys, Record, rest_of, without_none

METHODS = ("codeReview", "formalProof", "signedHash", "automatedTest")
HOLDS, FAILS = "holds", "fails"

_LENGTHS = {"sha256": 64, "sha512": 128, "blake3": 64}  # of digests, in hexadecimal digits
_ADDED = ("verdict", "trial", "counterexample")
_CONTENT = ("lens", "lensCommit", "verificationMethod", "codeHash", "proofRef", *_ADDED)
_TRIAL = {"samples": int, "seed": str, "space": str, "language": str}


@dataclass(frozen=True)
class CodeHash:
    """The digest of the code that was verified.

    Attributes:
        algorithm: such as `sha256`.
        digest: in hexadecimal digits.
    """

    algorithm: str
    digest: str

    @classmethod
    def of(cls, value: Mapping[str, Any] | CodeHash) -> CodeHash:
        """A digest that the caller wrote down.

        Raises:
            UsageError: it is none.
        """
        given: Any = asdict(value) if isinstance(value, CodeHash) else value
        parts = given if isinstance(given, Mapping) else {}
        made = cls(str(parts.get("algorithm", "")), str(parts.get("digest", "")))
        if not made.is_digest:
            raise UsageError(
                "a code hash is no digest",
                path="code_hash",
                expected='{"algorithm": "sha256", "digest": "..."}, in hexadecimal digits',
                actual=repr(value)[:200],
                hint="Give the digest of the very bytes: sha256sum FILE prints it.",
            )
        return made

    @property
    def is_digest(self) -> bool:
        """True if it can be the digest of anything; a placeholder cannot."""
        length = _LENGTHS.get(self.algorithm.lower(), len(self.digest))
        return bool(self.algorithm and re.fullmatch(r"(?:[0-9a-fA-F]{2}){8,64}", self.digest)) and (
            len(self.digest) == length
        )


@dataclass(frozen=True)
class Trial:
    """The samples that a lens was tried on: enough to try it on the same again.

    Attributes:
        samples: how many.
        seed: from which they were drawn.
        space: which samples there could be.
        language: the language of the lens and its version, or what else ran it.
    """

    samples: int
    seed: str
    space: str
    language: str

    @classmethod
    def of(cls, value: Mapping[str, Any] | Trial) -> Trial:
        """A trial that the caller wrote down.

        Raises:
            UsageError: it is none.
        """
        made = value if isinstance(value, Trial) else cls.from_record(value)
        if made is None or cls.from_record(asdict(made)) is None:
            raise UsageError(
                "a trial lacks some of its parts",
                path="trial",
                expected=", ".join(_TRIAL),
                actual=repr(value)[:200],
                hint='Write {"samples": count, "seed": text, "space": text, "language": text}.',
            )
        return made

    @classmethod
    def from_record(cls, value: Any) -> Self | None:
        """Read a wire form; `None` where it is none."""
        parts: dict[str, Any] = dict(value) if isinstance(value, Mapping) and value.keys() == _TRIAL.keys() else {}
        fits = all(type(parts.get(name)) is kind for name, kind in _TRIAL.items())
        return cls(**parts) if fits and parts["samples"] >= 0 else None


@dataclass(frozen=True, kw_only=True, eq=False)
class LensVerification(Record):
    """A verification of a lens. Who verified it is whose repository it is in.

    Attributes:
        name: the lens's address: by it an account's verifications of one lens are found.
        lens: the lens.
        lens_commit: the CID of the lens's record as it was verified.
        method: how: one of `METHODS`, or a later one.
        code_hash: the digest of the code; without one a `signedHash` is invalid.
        proof_ref: a proof, or a suite of tests.
        description: what was verified, in words.
        verdict: `holds` or `fails`; `None` where it only says that it was verified, which means `holds`.
        trial: what it was tried on.
        counterexample: a sample on which it does not hold, and how.
    """

    NSID: ClassVar[Nsid] = nsids.LENS_VERIFICATION

    name: str = field(init=False, repr=False)
    lens: AtUri
    lens_commit: str
    method: str
    code_hash: CodeHash | None = None
    proof_ref: CodeReference | None = None
    description: str | None = None
    verdict: str | None = None
    trial: Trial | None = None
    counterexample: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.lens))

    @property
    def index_keys(self) -> IndexKeys:
        """The keys of it: the lens's address, and as content all that it says but in words; that may be said again."""
        wire = self.to_record()
        said = {name: wire[name] for name in _CONTENT if name in wire}
        return IndexKeys(self.name, None, Cid.of_cbor(cbor.encode(said)), self.lens, self.created_at)

    @property
    def holds(self) -> bool:
        """True if it says nothing else than that the lens holds."""
        unread = self.extra.keys() & {"verdict", "counterexample"}
        return self.verdict in (None, HOLDS) and self.counterexample is None and not unread

    @property
    def is_valid(self) -> bool:
        """True if it has what its method needs: a `signedHash` the hash."""
        return self.method != "signedHash" or (self.code_hash is not None and self.code_hash.is_digest)

    def check_complete(self) -> None:
        """See `Record`."""
        super().check_complete()
        if self.method not in METHODS:
            raise UsageError(
                "the method of a verification is unknown",
                path="method",
                expected=", ".join(METHODS),
                actual=self.method,
                hint=did_you_mean(self.method, METHODS) or "Name one of these.",
            )
        if not self.is_valid:
            raise UsageError(
                "a signedHash needs the hash of the code", path="code_hash", hint="Give code_hash=, or another method=."
            )
        if self.verdict not in (None, HOLDS, FAILS) or (self.counterexample is not None and self.verdict != FAILS):
            expected = f"{HOLDS}, or {FAILS}, which alone has a counterexample"
            raise UsageError(
                "a verdict is none",
                path="verdict",
                expected=expected,
                actual=self.verdict,
                hint=f"Give verdict={FAILS!r}, or leave the counterexample out."
                if self.verdict in (None, HOLDS)
                else f"Give {HOLDS} or {FAILS}, or leave it out.",
            )
        try:
            Cid.parse(self.lens_commit)
        except IdentifierError as error:
            hint = "Take it from the lens's record: LensLoader(client).get(uri).cid."
            raise UsageError(
                "the version of a lens is a CID", path="lens_commit", actual=self.lens_commit, hint=hint
            ) from error

    def to_record(self) -> dict[str, Any]:
        """The wire form."""
        known = without_none(
            **{"$type": str(self.NSID)},
            lens=str(self.lens),
            lensCommit=self.lens_commit,
            verificationMethod=self.method,
            codeHash=None if self.code_hash is None else asdict(self.code_hash),
            proofRef=None if self.proof_ref is None else self.proof_ref.to_record(),
            description=self.description,
            verdict=self.verdict,
            trial=None if self.trial is None else asdict(self.trial),
            counterexample=None if self.counterexample is None else dict(self.counterexample),
            createdAt=self.created_at,
        )
        return known | dict(self.extra)  # there are those of ours that could not be read

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        code_hash, proof_ref = value.get("codeHash"), value.get("proofRef")
        verdict, counterexample = value.get("verdict"), value.get("counterexample")
        added: dict[str, Any] = {
            "verdict": verdict if isinstance(verdict, str) else None,
            "trial": Trial.from_record(value.get("trial")),
            "counterexample": counterexample if isinstance(counterexample, dict) else None,
        }
        understood = [name for name, item in added.items() if item is not None]
        return cls(
            lens=AtUri(value["lens"]),
            lens_commit=value["lensCommit"],
            method=value["verificationMethod"],
            code_hash=None if code_hash is None else CodeHash(code_hash["algorithm"], code_hash["digest"]),
            proof_ref=None if proof_ref is None else CodeReference.from_record(proof_ref),
            description=value.get("description"),
            created_at=value["createdAt"],
            extra=rest_of(
                value, *(name for name in _CONTENT if name not in _ADDED), "description", "createdAt", *understood
            ),
            **added,
        )
