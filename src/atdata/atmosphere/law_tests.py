"""Tests of the laws of published programs: whoever tries one may say so in a verification, and anybody can repeat it.

What is tried depends on the program, the two schemas and the seed alone, so a trial in a record has the same verdict on
every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atdata.arguments import checked_type, maybe_text
from atdata.atmosphere.client import AtmosphereClient, checked_client
from atdata.atmosphere.verifications import VerificationLoader, VerificationPublisher
from atdata.atproto.syntax import AtUri
from atdata.errors import ConflictError, LensError, UsageError
from atdata.lens import DataLens, LawReport, Program
from atdata.lens.language import LANGUAGE, VERSION
from atdata.lens.language.trying import try_program
from atdata.lens.laws import COUNT
from atdata.numbers import checked_int
from atdata.records import LensRecord, LensVerification, Schema
from atdata.samples.space import SPACE

METHOD = "automatedTest"
_LANGUAGE = f"{LANGUAGE} {VERSION}"
MOST_SAMPLES = 100_000
"""Samples that a stranger's record may ask for."""


@dataclass(frozen=True)
class LawTest:
    """The laws of a published program, as they were found here.

    Attributes:
        record: the lens, in the version that was tried.
        report: what was found.
    """

    record: LensRecord
    report: LawReport

    @property
    def trial(self) -> dict[str, Any]:
        """The samples, in the form of a verification: enough to try the same again."""
        return {**self.report.trial, "language": _LANGUAGE}

    @property
    def said(self) -> dict[str, Any]:
        """The arguments of `VerificationPublisher.publish` that say it."""
        found = self.report.counterexample
        return {
            "method": METHOD,
            "verdict": self.report.verdict,
            "trial": self.trial,
            "counterexample": None if found is None else found.as_data(),
        }


def lens_of(client: AtmosphereClient, record: LensRecord) -> DataLens[Any, Any]:
    """The lens that the program of a record is between its two schemas.

    Raises:
        LensError: it is code, or its program does not lead from the whole of the one to the whole of the other.
        NotFoundError: a schema is not there.
        VerificationError: a link to one broke.
    """
    checked_client(client)
    checked_type(record, LensRecord, "record", "Get it with LensLoader(client).get(uri).")
    if record.program is None:
        raise LensError(
            "the lens is code, which is not run",
            uri=record.located,
            hint="LensLoader.load(uri, allow_code=...) runs code that you allow.",
        )
    source, target = (client.read(uri, Schema).sample_type for uri in (record.source_schema, record.target_schema))
    return DataLens(Program.parse(record.program.value), source, target, name=record.name)


def try_lens(client: AtmosphereClient, uri: str, *, count: int = COUNT, seed: str | None = None) -> LawTest:
    """Try the laws of a published program.

    Args:
        client: to read with.
        uri: the lens.
        count: the number of samples that are generated.
        seed: any text; by default the CID of the lens's record.

    Raises:
        LensError: it is code, or its program does not lead from the whole of the one to the whole of the other.
        UsageError: the count is no number of samples, or the seed no text.
        NotFoundError: the lens or a schema is not there.
        VerificationError: a link to one broke.
    """
    checked_int(count, "count", 1)
    maybe_text(seed, "seed")
    record = checked_client(client).read(uri, LensRecord)
    chosen = str(record.cid) if seed is None else seed
    return LawTest(record, try_program(lens_of(client, record), count=count, seed=chosen))


def publish_test(client: AtmosphereClient, tested: LawTest, *, description: str | None = None) -> AtUri:
    """Publish what was found as a verification by `automatedTest`, in the client's own repository.

    Raises:
        ConflictError: the lens has changed since.
        NotFoundError, VerificationError: the lens cannot be read.
        UsageError: nothing was found, since the lens was never defined.
    """
    checked_type(tested, LawTest, "tested", "Give what try_lens(client, uri) found.")
    check_known(tested)
    return VerificationPublisher(client).publish(
        str(tested.record.located), **tested.said, description=description, lens_commit=str(tested.record.cid)
    )


def check_known(tested: LawTest) -> None:
    """Check that a trial came to a verdict.

    Raises:
        UsageError: the lens was never defined, of which there is nothing to say.
    """
    if tested.report.verdict == "unknown":
        raise UsageError(
            "nothing was found that a verification could say: the lens was never defined",
            uri=str(tested.record.located),
            actual=tested.report.refusal,
            hint="Read it, and verify it by another method: --method codeReview.",
        )


def repeat_test(client: AtmosphereClient, uri: str) -> tuple[LensVerification, LawTest]:
    """Repeat the test that a verification says, on the same samples.

    Args:
        client: to read with.
        uri: the verification.

    Returns:
        The verification, and what is found here.

    Raises:
        ConflictError: the lens is no longer the version that was tried.
        UsageError: it says no test, or one of another space or language than is known here.
        NotFoundError, VerificationError: it, or the lens, cannot be read.
        LensError: the lens is no program.
    """
    said = VerificationLoader(client).get(uri)
    trial = said.trial
    if said.method != METHOD or trial is None:
        raise UsageError(
            "a verification says no test that could be repeated",
            uri=uri,
            expected=f"{METHOD}, with a trial",
            actual=said.method,
            hint="Try it yourself: try_lens(client, uri), or `atdata lens verify`.",
        )
    if (trial.space, trial.language) != (SPACE, _LANGUAGE) or trial.samples > MOST_SAMPLES:
        raise UsageError(
            "a test cannot be repeated here",
            uri=uri,
            expected=f"at most {MOST_SAMPLES:,} samples of {SPACE}, by {_LANGUAGE}",
            actual=f"{trial.samples:,} of {trial.space}, by {trial.language}",
            hint="Another version of atdata may know them.",
        )
    tested = try_lens(client, str(said.lens), count=trial.samples, seed=trial.seed)
    if str(tested.record.cid) != said.lens_commit:
        raise ConflictError(
            "the lens has changed since it was verified",
            uri=uri,
            expected=said.lens_commit,
            actual=tested.record.cid,
            hint="Verify it as it is now.",
        )
    return said, tested
