"""Faults planted in ingest, each of which the suite must find: `python -m support.mutants --help`, in `tests`.

A mutant is a line of `atdata.appview.ingest` in other words, and the tests that are there for it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"


class Mutant(NamedTuple):
    """A fault: in a file, words that stand there once, what stands there instead, and which tests find it."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    # what of a frame matters
    Mutant(
        "batch", "if skimmed.did is None or skimmed.did in followed:", "if skimmed.did is None:", "is_applied_without"
    ),
    Mutant(
        "batch",
        'return skimmed.type != "#commit" or not may_name(frame, skimmed, _NAMES)',
        "return True",
        "is_applied_without",
    ),
    Mutant(
        "batch",
        'return skimmed.type != "#commit" or not may_name(frame, skimmed, _NAMES)',
        'return skimmed.type != "#commit"',
        "foreign_frames",
    ),
    Mutant(
        "batch", "read.reject(kind, str(error))\n        return read", "raise\n        return read", "cannot_be_read"
    ),
    Mutant(
        "batch",
        "return self.event is not None or self.rejected is not None or self.after_gap",
        "return self.event is not None or self.after_gap",
        "cannot_be_read",
    ),
    # past, future, signatures
    Mutant("batch", "if self.rev is None or self.head is None or rev > self.rev:", "if True:", "before_or_twice"),
    Mutant("batch", "elif event.rev > horizon(self._moment):", "elif False:", "does_not_hold"),
    Mutant(
        "batch",
        "return rev < self.rev or commit is None or commit == Cid.of_cbor(self.head)",
        "return False",
        "before_or_twice",
    ),
    Mutant("batch", "elif read.proven is None or read.key != row.key:", "elif read.proven is None:", "held_against"),
    Mutant(
        "batch",
        "if (read.proven.cid, read.proven.commit.rev) != (event.commit, event.rev):",
        "if False:",
        "does_not_hold",
    ),
    Mutant("batch", "elif row.behind is not None:", "elif False:", "held_against"),
    Mutant("batch", 'self._mark(read, event.did, "blocks are missing")', "pass", "does_not_hold"),
    Mutant("batch", 'self._mark(read, event.did, "its key has changed")', "pass", "held_against"),
    Mutant("batch", 'self._mark(read, event.did, "more was written meanwhile")', "pass", "held_against"),
    Mutant("batch", 'self._mark(read, read.did, "an event could not be taken")', "pass", "does_not_hold"),
    Mutant(
        "batch", 'self._mark(read, event.did, "its server says that it is to be compared")', "pass", "without_history"
    ),
    Mutant("batch", "if row is None or not row.is_past(event.rev, None):", "if True:", "without_history"),
    Mutant(
        "batch",
        'doubt_identity(self._writing, event.did, "its identity may have changed", self._moment + NEWS)',
        'self._writing.mark_behind(event.did, "")',
        "handle_is_shown",
    ),
    # gaps and cursors
    Mutant(
        "batch",
        'case InfoEvent(name="OutdatedCursor"):\n                self._sweep(read.upstream)',
        'case InfoEvent(name="OutdatedCursor"):\n                pass',
        "does_not_have",
    ),
    Mutant("batch", "if read.after_gap:", "if False:", "gap_makes"),
    Mutant("applier", "whole = self.cursor is None or seq <= self.cursor + 1", "whole = True", "gap_makes"),
    Mutant("applier", "if self.cursor is None or seq > self.cursor:", "if True:", "before_or_twice"),
    Mutant("applier", "position.cursor, position.written = None, False  # its", "pass  # its", "does_not_have"),
    Mutant("applier", "position.cursor, position.written = position.cursor + 1, False", "pass", "too_large"),
    Mutant("applier", ' AND rewinds = ?"\n', ' AND rewinds <= ? + 99"\n', "read_again"),
    Mutant("applier", "batch.pass_over_large(too_large)", "pass", "too_large"),
    Mutant("lease", "self._check(writing.sql)\n", "pass\n", "lost_the_lease"),
    Mutant(
        "upstream", "if cursor is None:  # nobody", "if False:  # nobody", "nobody_listened or one_by_one or is_applied"
    ),
    Mutant("ingester", 'sql.run("UPDATE replica_identities SET checked_at = 0")', "pass", "gap_makes"),
    Mutant(
        "ingester",
        'writing.mark_behind(did, "it was long not looked at, or events may have been lost")',
        "pass",
        "old_identity",
    ),
    Mutant("ingester", "settle(writing, did, now())", "pass", "while_it_is_followed"),
    # accounts
    Mutant("accounts", "if event.seq <= seq:", "if False:", "older_state"),
    Mutant("accounts", "hides if event.active else status)", "None if event.active else status)", "does_not_answer"),
    Mutant("accounts", "stated in _MODERATION and", "False and", "takes_an_account_down"),
    Mutant(
        "accounts",
        "stated in _MODERATION and Upstream(upstream, url).server not in hosts",
        "stated in _MODERATION",
        "former_server",
    ),
    Mutant(
        "accounts",
        'if status == "deleted" and any(stated == "deleted" for _, stated, _ in statements):',
        'if any(stated == "deleted" for _, stated, _ in statements):',
        "does_not_know_of",
    ),
    Mutant(
        "accounts",
        'if status == "deleted" and any(stated == "deleted" for _, stated, _ in statements):',
        "if False:",
        "purged_once",
    ),
    Mutant("accounts", 'return "takendown"\n', 'return "active"\n', "operator_decides"),
    Mutant("accounts", "if head.status != status:", "if False:", "not_active"),
    Mutant("ingester", "sql.run(_MARKED_AGAIN)", "pass", "while_events_are_lost"),
    # comparisons
    Mutant(
        "reconciling",
        "if writing.caught_up(mark.did, mark.marks):",
        "if writing.caught_up(mark.did, mark.marks) or True:",
        "news_meanwhile",
    ),
    Mutant(
        "reconciling", "good_until if writing.is_marked(mark.did, mark.marks) else 0", "good_until", "meanwhile_doubts"
    ),
    Mutant("reconciling", "forget_blocked(writing, mark.did, moment)", "pass", "nothing_is_kept"),
    Mutant("reconciling", "if did == identity.did:", "if True:", "leads_to_another"),
    Mutant(
        "reconciling",
        "if head.head is None and (mark.tries >= GIVEN_UP or mark.reason == ASKED):",
        "if False:",
        "is_forgotten",
    ),
    Mutant("reconciling", "and head.rev == hosted.rev:", "and True:", "gap_makes"),
    Mutant("reconciling", "self._followed.add(did)", "pass", "once_it_is_added"),
    Mutant("reconciling", "if proven.commit.rev > latest:", "if False:", "of_the_future"),
    Mutant("listing", "if cursor is None and collection:", "if False:", "relay_lists"),
    Mutant("listing", "if not with_all or self._has_ours(upstream, did):", "if True:", "one_by_one"),
    Mutant("reconciling", "may_go = is_first and", "may_go = False and", "turns_out_to_have_nothing"),
    Mutant("reconciling", "if error.what != TOMBSTONED:", "if True:", "identity_that_was_ended"),
    Mutant("reconciling", "writing.sql.run(gone, writing.head(mark.did).account)", "pass", "identity_that_was_ended"),
    Mutant("ingester", "self._prune(stopping)", "pass", "old_changes_go"),
    Mutant("rejected", 'sql.run("DELETE FROM ingest_rejected WHERE number <= ?", number - KEPT)', "pass", "is_bounded"),
]


def survives(mutant: Mutant, folder: Path) -> bool:
    """True if no test finds a mutant.

    Raises:
        ValueError: its words do not stand in the file exactly once.
    """
    shutil.copytree(SOURCE, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "src" / "atdata" / "appview" / "ingest" / f"{mutant.file}.py"
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file}: {text.count(mutant.old)} times: {mutant.old}")
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--fast", "appview", "-k", mutant.tests]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "src"), str(TESTS)]),
        "TEST_PATIENCE": "15",
    }
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode not in (0, 1):
        raise ValueError(f"{mutant.file}: the tests did not run: {done.stdout[-2000:]}")
    return done.returncode == 0


def main() -> int:
    """Plant one fault after the other, and say of each whether it was found."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--count", type=int, default=len(MUTANTS), help="how many")
    chosen, found, left = parser.parse_args(), 0, 0
    for number, mutant in list(enumerate(MUTANTS))[chosen.first :][: chosen.count]:
        with tempfile.TemporaryDirectory() as folder:
            lives = survives(mutant, Path(folder))
        found, left = found + (not lives), left + lives
        print(f"{number} {'SURVIVES' if lives else 'found'} {mutant.file}: {mutant.old[:70]!r}", flush=True)
    print(f"{found} found, {left} survive")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
