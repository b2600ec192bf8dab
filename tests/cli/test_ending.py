"""How commands end: the exit code and what is said, for what people mistype, for faults of ours, and for Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.cli.ending import run
from atdata.local import LocalIndex
from atdata.samples import DictSample
from support.terminal import Screen, Terminal

pytestmark = pytest.mark.slow


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    atdata.write_samples([Row(np.zeros(2, np.float32), n) for n in range(3)], "s.tar")
    return Terminal(capsys, monkeypatch)


MISTYPED = [
    ("show",),
    ("show", "s.tar", "--nothing"),
    ("show", "s.tar", "more"),
    ("show", "s.tar", "--samples"),
    ("show", "s.tar", "--samples", "many"),
    ("show", "s.tar", "--samples", "-1"),
    ("show", "s.tar", "--samples", "1" + "0" * 30),
    ("search", "x", "--fresh", "nan"),
    ("serve", "--keep-changes", "nan"),
    ("import", "x", "--maxsize", "nan"),
    ("import", "x", "--dry-run", "--maxcount", "0"),
    ("view", "s.tar", "--no-open=1"),
    ("index", "ls", "--limit", "0"),
    ("index", "ls", "--limit", "1" + "0" * 30),
    ("schema", "nothing"),
    ("nothing",),
    ("promote", "--yes", "--to"),
    ("verify", "--keep"),
    ("index", "rm", "x", "--index"),
]


@pytest.mark.parametrize("arguments", MISTYPED, ids=" ".join)
def test_what_is_mistyped_is_said_in_words_and_in_json(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    assert terminal.run(*arguments) == 2
    assert terminal.out == ""
    lines = terminal.err.splitlines()
    assert lines[0].startswith("✗ ")
    assert lines[-1].startswith("See: atdata ")
    assert lines[-1].endswith("--help")
    assert terminal.run("--json", *arguments) == 2
    said = json.loads(terminal.out)
    assert (said["error"], said["exit"]) == ("UsageError", 2)
    assert terminal.err == ""


def test_who_wants_json_is_told_so_however_it_was_mistyped(terminal: Terminal) -> None:
    assert terminal.run("show", "s.tar", "--json=1") == 2
    said = json.loads(terminal.out)
    assert (said["error"], said["hint"]) == ("UsageError", "See: atdata show --help")
    assert terminal.err == ""


def test_help_is_no_error(terminal: Terminal) -> None:
    assert terminal.run("show", "--help") == 0
    assert "--samples" in terminal.out
    assert terminal.run("show", "s.tar", "--samples", "0") == 0


def test_who_does_not_agree_is_told_that_nothing_was_done(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index = LocalIndex()
    index.insert_dataset(atdata.Dataset[Row]("s.tar"), name="kept")
    screen = Screen(monkeypatch)
    assert screen.run("index", "rm", "kept", keys=b"n\n") == 1
    assert "nothing was done" in screen.text
    nobody = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
    done: Any = subprocess.run([sys.executable, "-m", "atdata", "index", "rm", "kept"], **nobody)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "✗ nothing was done: nobody agreed")
    assert index.get_dataset("kept").name == "kept"
    assert terminal.run("index", "rm", "kept", "--json") == 2
    assert json.loads(terminal.out)["hint"] == "Add --yes."


def test_who_gives_no_password_is_told_so() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "atdata", "login", "alice.test", "--server", "http://localhost:1"]
    asked = {"stdin": slave, "stderr": slave, "start_new_session": True}
    with subprocess.Popen(command, **asked, env={**os.environ, "ATDATA_ALLOW_LOOPBACK": "1"}) as process:
        os.close(slave)
        said = os.read(master, 1000)
        while b"password:" not in said:
            said += os.read(master, 1000)
        os.write(master, b"\x04")
        with suppress(OSError):  # so Linux says that nobody writes any more
            while piece := os.read(master, 1000):
                said += piece
        assert process.wait(60) == 5
    os.close(master)
    assert "✗ no app password was given" in said.decode()


def fault() -> Any:
    return [][len("a\x1b]0;root\x07\nb")]


def test_a_fault_is_one_line_and_a_file(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fault, False) == 70
    (line,) = capsys.readouterr().err.splitlines()
    kept = Path(os.environ["ATDATA_DATA"]) / "atdata-traceback.txt"
    assert line == f"✗ a fault in atdata: IndexError: list index out of range; its traceback is in {kept}"
    assert "in fault" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert run(fault, True) == 70
    said = json.loads(capsys.readouterr().out)
    assert (said["error"], said["exit"]) == ("Fault", 70)
    assert str(kept) in said["what"]


@pytest.mark.parametrize("text", ["a\x1b]0;root\x07\n✓ verified", "x" * 10_000, "\udc9b", ""])
def test_a_fault_says_nothing_raw(terminal: Terminal, capsys: pytest.CaptureFixture[str], text: str) -> None:
    def raising() -> None:
        raise RuntimeError(text)

    assert run(raising, False) == 70
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.rstrip("\n").isprintable()
    assert len(said) < 1000


def test_a_fault_that_cannot_be_kept_is_said_all_the_same(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("ATDATA_DATA", "file")
    assert run(fault, False) == 70
    assert "IndexError" in capsys.readouterr().err
    monkeypatch.setenv("ATDATA_ALLOW_LOOPBACK", "perhaps")
    assert run(fault, False) == 70


@pytest.fixture
def stalled() -> Iterator[str]:
    """A server that takes every connection and never says a word."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return
                asked.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.tar"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in kept:
        connection.close()


asked = threading.Event()


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ATDATA_ALLOW_LOOPBACK": "1",
        "ATDATA_CACHE": str(tmp_path / "cache"),
        "ATDATA_DATA": str(tmp_path / "data"),
    }


@pytest.mark.parametrize("verb", ["verify", "show"])
@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_what_waits_for_a_server(stalled: str, tmp_path: Path, verb: str, as_json: bool) -> None:
    asked.clear()
    command = [sys.executable, "-m", "atdata", verb, stalled, *(["--json"] if as_json else [])]
    with subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)  # the server would be waited for much longer
        assert process.returncode == 130
    if as_json:
        assert json.loads(out) == {"error": "KeyboardInterrupt", "what": "interrupted", "exit": 130}
    else:
        assert err == "✗ interrupted\n"


def test_ctrl_c_ends_what_does_not_heed_it(tmp_path: Path) -> None:
    script = """
        import sys, time
        from concurrent.futures import ThreadPoolExecutor
        from atdata.cli.ending import leave, run

        def stubborn():
            with ThreadPoolExecutor(1) as pool:
                pool.submit(time.sleep, 600)
                print("waiting", flush=True)
                pool.shutdown()

        leave(run(stubborn, False))
    """
    import textwrap

    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 130


def test_a_reader_that_has_gone_is_no_fault(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "atdata", "index", "ls"],
            env=environment(tmp_path),
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""
    assert not (tmp_path / "data" / "atdata-traceback.txt").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "s.tar"),
        ("show", "s.tar", "--json"),
        ("--version",),
        ("show", "--help"),
        ("show", "absent.tar", "--json"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_full_is_named(
    terminal: Terminal, tmp_path: Path, arguments: tuple[str, ...], unbuffered: str
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "atdata", *arguments],
            env={**environment(tmp_path), "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.stderr.splitlines()[-1] == "✗ standard output cannot be written: No space left on device"
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1
    assert not (tmp_path / "data" / "atdata-traceback.txt").exists()


def _heed_ctrl_c() -> None:
    """A process that a shell has put into the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_at_a_question_ends_the_command_and_does_nothing(tmp_path: Path) -> None:
    known = environment(tmp_path)
    atdata.write_samples([DictSample(n=1)], tmp_path / "s.tar")
    add = [sys.executable, "-m", "atdata", "index", "add", str(tmp_path / "s.tar"), "--name", "kept"]
    subprocess.run(add, env=known, check=True, capture_output=True)
    command = [sys.executable, "-m", "atdata", "index", "rm", "kept"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=known, preexec_fn=_heed_ctrl_c, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Take kept out of the index?")
        assert process.stdout.read(13) == "Go on? [y/N]:"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (130, "✗ interrupted\n")
    listed = subprocess.run([*command[:4], "ls", "--json"], env=known, capture_output=True, text=True, check=True)
    assert [item["name"] for item in json.loads(listed.stdout)] == ["kept"]


@pytest.mark.parametrize("module", ["click", "atdata.cli.output"])
def test_ctrl_c_while_modules_are_imported_shows_no_traceback(tmp_path: Path, module: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "atdata", "up"]
    with subprocess.Popen(
        command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c
    ) as process:
        assert process.stderr is not None
        assert any(line.split("|")[-1].strip() == module for line in process.stderr)
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in rest


def test_samples_without_a_type_are_shown_whatever_fields_each_has(terminal: Terminal, tmp_path: Path) -> None:
    rows = [{"keys": "k", "n": 1}, {"_id": 7, "n": "one", "items": [1]}, {"picture": np.zeros((8, 8), np.uint8)}]
    atdata.write_samples(map(DictSample, rows), tmp_path / "mixed.tar")
    assert terminal.run("show", "mixed.tar") == 0
    assert terminal.json("show", "mixed.tar")["first"] == [
        {"keys": "k", "n": "1"},
        {"_id": "7", "n": "one", "items": "[1]"},
        {"picture": "uint8[8, 8]"},
    ]
    assert terminal.json("show", "mixed.tar")["fields"] == {
        "keys": "str",
        "n": "int | str",
        "_id": "int",
        "items": "list",
        "picture": "ndarray",
    }


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["login a.test", "show s.tar --json"])
def test_streams_that_are_closed_are_no_fault(terminal: Terminal, tmp_path: Path, command: str, closed: str) -> None:
    environment = {**os.environ, "ATDATA_DATA": str(tmp_path / "data"), "ATDATA_PLC_URL": "http://127.0.0.1:9"}
    script = f"{sys.executable} -m atdata {command} {closed}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False, env=environment, timeout=60)
    assert done.returncode in (0, 2, 4, 5), done
    assert not (tmp_path / "data" / "atdata-traceback.txt").exists(), done


@pytest.mark.parametrize("columns", ["0", "many"])
def test_a_terminal_that_does_not_know_its_width_shows_everything(
    tmp_path: Path, columns: str, terminal: Terminal
) -> None:
    command = [sys.executable, "-m", "atdata", "show", "s.tar", "--samples", "1"]
    environment = {**os.environ, "COLUMNS": columns, "LINES": columns}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert (done.returncode, "ndarray" in done.stdout) == (0, True), done
