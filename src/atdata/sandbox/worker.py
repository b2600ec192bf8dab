"""The program of a sandbox's process: it loads what it will need, locks itself, proves it, and answers calls."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module

from atdata.errors import SandboxError
from atdata.sandbox.lockdown import check_locked, end_with, lock
from atdata.sandbox.messages import receive, send, to_bytes

Entry = Callable[[Sequence[bytes]], Sequence[bytes]]
"""One call: the parts of its request to those of its answer."""

MOST_TEXT = 2000


def main() -> None:
    """Serve calls until nobody asks any more. The arguments of the process say how."""
    said = json.loads(sys.argv[2])
    requests, answers = said["requests"], said["answers"]
    try:
        end_with(said["parent"])
        _keep_open(requests, answers)
        for name in said["modules"]:
            import_module(name)
        module, _, function = said["entry"].partition(":")
        entry: Entry = getattr(import_module(module), function)
        lock(said["memory"])
        check_locked(said["memory"])
    except SandboxError as error:
        send(answers, to_bytes([b"refused", str(error.step).encode(), str(error.actual).encode()]))
        return
    send(answers, to_bytes([b"ready"]))
    while (request := receive(requests)) is not None:
        send(answers, _answer(entry, request))
    os._exit(0)  # what the end of an interpreter does is refused


def _answer(entry: Entry, request: Sequence[bytes]) -> bytes:
    try:
        return to_bytes([b"done", *entry(request)])
    except MemoryError:
        return to_bytes([b"failed", b"memory", b"it needs more memory than it may have"])
    except BaseException as error:  # noqa: BLE001  whatever the code raises is its failure
        try:
            said = "".join(traceback.format_exception_only(error)).strip()[-MOST_TEXT:] + _line(error)
        except BaseException:  # noqa: BLE001  its text is the code's too
            said = "an exception that says nothing"
        return to_bytes([b"failed", b"exception", said.encode("utf-8", "replace"), type(error).__name__.encode()])


def _line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f" (line {frames[-1].lineno} of {frames[-1].filename})" if frames else ""


def _keep_open(*wanted: int) -> None:
    """Close all that is open but the standard streams and what is wanted."""
    before = 2
    for number in sorted(wanted):
        os.closerange(before + 1, number)
        before = number
    os.closerange(before + 1, 256)  # whoever started us left no other open: what came since has low numbers
