"""Questions made from the description of an AppView, good ones and bad ones: `python -m support.fuzzing --help`, in `tests`.

Every answer is what the description and the lexicon say, none is a fault, and memory does not grow with them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from atdata.appview.xrpc.lexicons import NAMESPACE, description, method_lexicons
from atdata.atproto.datamodel import from_json
from support.appviews import ALICE, ENTRY, LABEL, SCHEMA, Author, answering, entry, label
from support.memory import resident

_UNSERVED = {"indexNow"}  # nothing is followed here: 501


def _known_texts() -> None:
    """Let texts of a format be some that lead to something, and others that do not."""
    uris = [
        f"at://{who}/{key}"
        for who in (ALICE, "alice.example")
        for key in (f"{ENTRY}/a", f"{LABEL}/a", f"{SCHEMA}/s:1.0.0")
    ]
    texts = {
        "at-uri": [*uris, f"at://{ALICE}/blob/bafkreie", "at://nobody.example/a.b.c/d", "at://"],
        "at-identifier": [str(ALICE), "alice.example", "nobody.example", "did:web:a"],
        "did": [str(ALICE), "did:plc:x", "did:"],
        "nsid": [ENTRY, "a"],
        "cid": ["bafyreie"],
        "datetime": ["2026-01-01T00:00:00Z", "yesterday"],
    }
    for name, samples in texts.items():
        schemathesis.openapi.format(name, st.one_of(st.sampled_from(samples), st.text(max_size=60)))


@dataclass
class Fuzzed:
    """What came of it.

    Attributes:
        statuses: how many answers had each status.
        grown: bytes by which memory grew after the first tenth.
        seconds: that it took.
        faults: answers that are none, each with its question.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    grown: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """How many questions there were."""
        return self.statuses.total()


def fuzz(url: str, count: int, number: int = 0) -> Fuzzed:
    """Ask a service about so many questions."""
    _known_texts()
    found, began, before = Fuzzed(), time.monotonic(), 0
    session = requests.Session()
    operations = [each.ok() for each in schemathesis.openapi.from_dict(description()).get_all_operations()]
    each_time = max(1, count // (2 * len(operations)))
    for turn in range(2):  # half of all before memory is looked at, as the second half must need no more
        for operation in operations:
            for mode in GenerationMode:
                _ask(
                    url, session, operation.as_strategy(generation_mode=mode), each_time // 2 or 1, number + turn, found
                )
        if turn == 0:
            before = resident()
    found.grown, found.seconds = resident() - before, time.monotonic() - began
    return found


def _ask(url: str, session: requests.Session, cases: Any, count: int, number: int, found: Fuzzed) -> None:
    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def ask(case: Any) -> None:
        answer = case.call(base_url=url, session=session)
        found.statuses[answer.status_code] += 1
        if fault := _fault(case, answer):
            found.faults.append(f"{case.method} {answer.request.url}: {answer.status_code} {fault}"[:2000])

    with suppress(Unsatisfiable):  # nothing can be asked wrongly of what takes no parameters
        ask()


def _fault(case: Any, answer: requests.Response) -> str | None:
    method = case.operation.path.removeprefix(f"/xrpc/{NAMESPACE}.")
    if answer.status_code >= 500 and not (answer.status_code == 501 and method in _UNSERVED):
        return answer.text
    if answer.status_code >= 400:
        return None if set(answer.json()) == {"error", "message"} else answer.text
    try:
        method_lexicons().validate_output(f"{NAMESPACE}.{method}", from_json(answer.json()))
        case.operation.validate_response(answer)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def served_for(count: int, folder: Path, number: int = 0) -> Fuzzed:
    """Fuzz a service of its own, with some records in it."""
    with answering(folder / "fuzzed.db") as (replica, asker):
        records = {f"{ENTRY}/{name}": entry(name, tags=["t"]) for name in "abcdefgh"}
        labels = {
            f"{LABEL}/a": label("a", f"at://{ALICE}/{ENTRY}/a"),
            f"{LABEL}/b": label("b", f"at://{ALICE}/{ENTRY}/x"),
        }
        Author(replica).write({**records, **labels, f"{ENTRY}/bad": {"$type": ENTRY, "name": 3}})
        return fuzz(asker.url, count, number)


def main() -> int:
    """Fuzz, and say what came of it, as one line of JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="questions, about")
    parser.add_argument("--seed", type=int, default=0, help="decides which")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = served_for(chosen.requests, Path(folder), chosen.seed)
    for fault in found.faults[:20]:
        print(fault, flush=True)
    said = {"asked": found.asked, "statuses": dict(sorted(found.statuses.items())), "faults": len(found.faults)}
    print(json.dumps({**said, "grown_bytes": found.grown, "seconds": round(found.seconds, 1)}))
    return int(bool(found.faults))


if __name__ == "__main__":
    raise SystemExit(main())
