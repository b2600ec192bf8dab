"""The end of a command: with its exit code, whatever happens, and at once where somebody presses Ctrl-C."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

import typer

from atdata.cli.output import Output, OutputError, explain, fail
from atdata.errors import AtdataError, UsageError
from atdata.files import atomic_file, write_all
from atdata.plain import plain
from atdata.redaction import redacted
from atdata.settings import Settings

USAGE, NOT_AGREED, OUTPUT, FAULT, INTERRUPTED = 2, 1, 1, 70, 130
GRACE = 1.0
"""Seconds that an interrupted command has to put things away."""

# What the parser of the command line raises; each release of typer has it elsewhere.
_Refused: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def run(command: Callable[[], Any], as_json: bool) -> int:
    """Run a command, say how it failed if it does, and give its exit code.

    Args:
        command: gives its exit code, or nothing.
        as_json: whether to say it in JSON.
    """
    try:
        with _checked_output():
            return _run(command, as_json)
    except OutputError as error:
        _discard_output()
        gone = isinstance(error.__cause__, BrokenPipeError)  # as `head` is once it has its lines: nobody asks why
        return OUTPUT if gone else fail("OutputError", f"standard output cannot be written: {error}", OUTPUT, False)


def _run(command: Callable[[], Any], as_json: bool) -> int:
    try:
        with _interruptible():
            code = int(command() or 0)
        if code == INTERRUPTED:  # so the parser of the command line passes on what was pressed
            raise KeyboardInterrupt
        return code
    except AtdataError as error:
        return explain(error, as_json)
    except OutputError:
        raise
    except _Refused as error:
        if not error.format_message():  # the help was shown in its place
            return USAGE
        hint = f"atdata {' '.join(_path(error))} --help".replace("  ", " ")
        return explain(UsageError(error.format_message(), hint=f"See: {hint}"), as_json)
    except typer.Abort:
        return fail("Abort", "nothing was done: nobody agreed", NOT_AGREED, as_json)
    except KeyboardInterrupt:
        return fail("KeyboardInterrupt", "interrupted", INTERRUPTED, as_json)
    except Exception as error:  # noqa: BLE001  what is left: a fault of ours, kept to be told
        said = plain(f"{type(error).__name__}: {error}", 300)
        return fail("Fault", f"a fault in atdata: {said}; {_kept(error)}", FAULT, as_json)


@contextmanager
def _checked_output() -> Iterator[None]:
    stream, checked = sys.stdout, Output(sys.stdout)
    sys.stdout = cast(TextIO, checked)
    try:
        yield
        checked.flush()
    finally:
        sys.stdout = stream


def _discard_output() -> None:
    """Has nothing of what could not be written tried again when the process ends."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def leave(code: int) -> NoReturn:
    """End the process. Who is interrupted does not wait for threads that wait for a server."""
    if code == INTERRUPTED and any(_holds(thread) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _holds(thread: threading.Thread) -> bool:
    return not thread.daemon and thread is not threading.main_thread()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt`, and end the process where that is not heeded in time."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        watchdog = threading.Timer(GRACE, _end)
        watchdog.daemon = True
        watchdog.start()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end() -> None:
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # a bar hides the cursor
    os._exit(INTERRUPTED)


def _path(error: Any) -> list[str]:
    """The names of the command that was refused, without the program's own."""
    context = getattr(error, "ctx", None)
    return [] if context is None else str(context.command_path).split()[1:]


def _kept(error: BaseException) -> str:
    """Keep the traceback of an error, and say where."""
    try:
        path = Settings.of().data / "atdata-traceback.txt"
        _write_private(path, redacted("".join(traceback.format_exception(error))))
    except (AtdataError, OSError, ValueError):
        return "its traceback could not be kept"
    return f"its traceback is in {path}"


def _write_private(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        write_all(file, text.encode("utf-8", "backslashreplace"), path)
