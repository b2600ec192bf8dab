"""Labelers: their signed labels for some records, read from their own servers, verified, and kept with the date.

What was verified once is kept in the cache folder, for two reasons. A label that was signed stands until it is taken
back with a signature: a server that leaves it out later is believed by nobody who has seen it. And where a labeler cannot
be reached, a policy may say how old the labels are that it takes instead (`Policy.max_age`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atdata.atmosphere.evidence import EvidenceReader, locked
from atdata.atproto.datamodel import shown
from atdata.atproto.fetch import fetch_labels
from atdata.atproto.formats import format_datetime, parse_datetime
from atdata.atproto.keys import PublicKey
from atdata.atproto.labels import SignedLabel
from atdata.atproto.resolve import fetch_identity
from atdata.atproto.syntax import Did
from atdata.atproto.verify import VerifiedLabeler, verify_labeler
from atdata.errors import AtdataError, DataModelError, LimitError, NetworkError
from atdata.files import atomic_file, disk_errors, write_all
from atdata.json_reader import read_json
from atdata.policy import LabelReading

MAX_KEPT = 20_000
"""Labels of one labeler for one address that are kept."""


@dataclass(frozen=True)
class KeptLabels:
    """The labels of one labeler for one address, as they were read last.

    Attributes:
        read_at: when they were read, all of them.
        labels: labels and negations, by the key that signed each, as did:key.
    """

    read_at: datetime
    labels: tuple[tuple[str, SignedLabel], ...]


@dataclass(frozen=True)
class LabelMemory:
    """Keeps verified labels, each address of each labeler in a file of its own.

    Attributes:
        root: the cache folder.
    """

    root: Path

    def kept(self, labeler: Did, uri: str) -> KeptLabels | None:
        """The labels that were kept for an address; `None` where none were read yet. Each is verified again.

        Raises:
            DataModelError: the file is not what was written.
        """
        path = self._path(labeler, uri)
        try:
            kept = read_json(path.read_bytes())
            labels = tuple((str(said["key"]), SignedLabel.parse(said["label"])) for said in kept["labels"])
            for key, label in labels:
                label.verify(PublicKey.from_did_key(key))
            return KeptLabels(parse_datetime(kept["readAt"]), labels)
        except FileNotFoundError:
            return None
        except (OSError, AtdataError, ValueError, KeyError, TypeError) as error:
            raise DataModelError(
                "the file of a labeler's labels cannot be read",
                uri=str(path),
                actual=repr(error)[:200],
                hint="Remove the file if nobody tampered with it.",
            ) from error

    def keep(self, labeler: Did, uri: str, now: KeptLabels) -> None:
        """Keep the labels of an address, and those that were kept before.

        Raises:
            LimitError: they are more than anybody says in earnest.
            DataModelError: what was kept cannot be read.
        """
        path = self._path(labeler, uri)
        with disk_errors(path), locked(path.with_suffix(".lock")):
            before = self.kept(labeler, uri)
            distinct = {label.signed: (key, label) for key, label in (*(before.labels if before else ()), *now.labels)}
            if len(distinct) > MAX_KEPT:
                raise LimitError(
                    "a labeler has said more of an address than is kept",
                    uri=uri,
                    expected=f"at most {MAX_KEPT} labels",
                    hint=f"Name another labeler, or remove {path}.",
                )
            labels = [{"key": key, "label": label.to_json()} for key, label in distinct.values()]
            kept = {"labeler": labeler, "uri": uri, "readAt": format_datetime(now.read_at), "labels": labels}
            with atomic_file(path) as file:
                write_all(file, json.dumps(kept).encode(), path)

    def _path(self, labeler: Did, uri: str) -> Path:
        # Both are strangers' text: hashed, they choose no path.
        names = [hashlib.sha256(text.encode()).hexdigest() for text in (labeler, uri)]
        return self.root / "labels" / names[0] / f"{names[1]}.json"


class LabelReader:
    """Reads the signed labels of labelers.

    Args:
        reader: of the network, with the settings in force.
    """

    def __init__(self, reader: EvidenceReader) -> None:
        self._reader = reader
        self._memory = LabelMemory(reader.settings.cache)

    def read(self, labeler: Did, uris: Iterable[str]) -> LabelReading:
        """The labels of a labeler for some records and accounts: fresh, or, where it cannot be reached, those kept.

        Args:
            labeler: whose.
            uris: `at://` addresses of records, and DIDs of accounts.

        Raises:
            NetworkError: the labeler cannot be reached, and of some address nothing was kept.
            IdentityError, SignatureError: its identity cannot be proved, or it is no labeler.
            LimitError: it does not come to an end.
            DataModelError: what was kept cannot be read.
        """
        asked = tuple(dict.fromkeys(map(str, uris)))
        before = {uri: self._memory.kept(labeler, uri) for uri in asked}
        try:
            known, answers = self._ask(labeler, asked)
        except NetworkError as error:
            kept = [known for known in before.values() if known is not None]
            if len(kept) < len(asked):
                raise
            keys = dict.fromkeys(key for known in kept for key, _ in known.labels)
            labels = tuple(label for known in kept for _, label in known.labels)
            return LabelReading(labeler, labels, (), (), ", ".join(keys), min(k.read_at for k in kept), error.what)
        labels, unread = _verified(known, answers, asked)
        now, key, signed = datetime.now(UTC), known.key.did_key, {label.signed for label in labels}
        if not unread:  # else nobody knows what was said
            for uri in asked:
                of_uri = tuple((key, label) for label in labels if label.uri == uri)
                self._memory.keep(labeler, uri, KeptLabels(now, of_uri))
        seen = [label for known in before.values() if known is not None for _, label in known.labels]
        return LabelReading(
            labeler, labels, tuple(label for label in seen if label.signed not in signed), unread, key, now
        )

    def _ask(self, labeler: Did, uris: Sequence[str]) -> tuple[VerifiedLabeler, list[Any]]:
        """The labeler as it is now, with the key of now, and its answers."""
        run = self._reader.transport.run
        known = verify_labeler(run(fetch_identity(labeler, self._reader.settings.plc_url)))
        return known, run(fetch_labels(known, uris))


def _verified(
    labeler: VerifiedLabeler, answers: Sequence[Any], asked: Sequence[str]
) -> tuple[tuple[SignedLabel, ...], tuple[str, ...]]:
    """The labels among some answers, and what is wrong with each of the others."""
    labels, unread = list[SignedLabel](), list[str]()
    for answer in answers:
        try:
            label = SignedLabel.parse(answer)
            if label.src != labeler.did:
                raise DataModelError("it is another labeler's", actual=shown(label.src))
            if label.uri not in asked:
                raise DataModelError("it is of an address that was not asked for", actual=shown(label.uri))
            label.verify(labeler.key)
            labels.append(label)
        except AtdataError as error:
            where = "" if error.path is None else f" ({error.path})"
            unread.append(f"{error.what}{where}")
    return tuple(labels), tuple(dict.fromkeys(unread))
