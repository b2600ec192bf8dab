"""The end of a command: with its exit code, whatever happens, and at once on Ctrl-C."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO, cast

import click

from atdata.cli.output import Output, OutputError, explain, fail
from atdata.errors import AtdataError, UsageError
from atdata.files import atomic_file, write_all
from atdata.plain import plain
from atdata.redaction import redacted
from atdata.settings import Settings

USAGE, NOT_AGREED, OUTPUT, FAULT, INTERRUPTED = 2, 1, 1, 70, 130
GRACE = 1.0
"""Seconds that an interrupted command has to clean up."""


def run(command: Callable[[], int], as_json: bool) -> int:
    """Run a command, print its error if it fails, and give its exit code.

    Args:
        command: gives its exit code.
        as_json: whether to print errors as JSON.
    """
    try:
        with _checked_output():
            return _run(command, as_json)
    except OutputError as error:
        with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # else buffered output is written again at exit
        gone = isinstance(error.__cause__, BrokenPipeError)  # such as `head`, once it has its lines
        return OUTPUT if gone else fail("OutputError", f"standard output cannot be written: {error}", OUTPUT, False)


def _run(command: Callable[[], int], as_json: bool) -> int:
    interrupted = threading.Event()
    try:
        with _interruptible(interrupted):
            return command()
    except AtdataError as error:
        return explain(error, as_json)
    except OutputError:
        raise
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "atdata")
        known = "an option; what is none and begins with a minus stands after --"
        expected = known if isinstance(error, click.NoSuchOption) else None
        said = UsageError(error.format_message(), expected=expected, hint=f"See: {path} --help")
        return explain(said, as_json)
    except click.Abort:
        if interrupted.is_set():
            return fail("KeyboardInterrupt", "interrupted", INTERRUPTED, as_json)
        return fail("Abort", "nothing was done: nobody agreed", NOT_AGREED, as_json)
    except KeyboardInterrupt:
        return fail("KeyboardInterrupt", "interrupted", INTERRUPTED, as_json)
    except Exception as error:  # noqa: BLE001  a fault of ours, kept to be reported
        summary = plain(f"{type(error).__name__}: {error}", 300)
        return fail("Fault", f"a fault in atdata: {summary}; {_save_traceback(error)}", FAULT, as_json)


@contextmanager
def _checked_output() -> Iterator[None]:
    stream, checked = sys.stdout, Output(sys.stdout)
    sys.stdout = cast(TextIO, checked)
    try:
        yield
        checked.flush()
    finally:
        sys.stdout = stream


def leave(code: int) -> NoReturn:
    """End the process. An interrupted one does not wait for threads that wait for a server."""
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if code == INTERRUPTED and not all(thread.daemon for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


@contextmanager
def _interruptible(interrupted: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set an event and raise `KeyboardInterrupt`, and end the process if that takes longer than `GRACE`."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
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


@contextmanager
def told_to_end(ended: threading.Event) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C set an event, in a command that goes on until then."""

    def tell(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = {each: signal.signal(each, tell) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _end() -> None:
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # a bar hides the cursor
    os._exit(INTERRUPTED)


def _save_traceback(error: BaseException) -> str:
    """Write the traceback of an error to a file that only its user can read, and tell where."""
    import traceback  # of most commands there is none

    try:
        path = Settings.of().data / "atdata-traceback.txt"
        write_private(path, redacted("".join(traceback.format_exception(error))))
    except (AtdataError, OSError, ValueError):
        return "its traceback could not be kept"
    return f"its traceback is in {path}"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its user can read."""
    with atomic_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        write_all(file, text.encode("utf-8", "backslashreplace"), path)
