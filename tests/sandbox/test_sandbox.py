"""Code in a sandbox can compute and answer, and do nothing else; where that cannot be had, it is not run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from atdata.errors import CodeError, SandboxError
from atdata.sandbox import Sandbox, SandboxLimits
from support.hostile import SECCOMP, can_lock

ENTRY = "support.hostile:run"
LIMITS = SandboxLimits(seconds=120, memory=1 << 29, answers=1 << 24)
HASTY = SandboxLimits(seconds=2, memory=1 << 29)
MODULES = (
    *("ctypes", "fcntl", "resource", "select", "socket", "subprocess", "threading", "tempfile", "mmap", "numpy"),
    *("datetime", "decimal", "json", "math", "re"),
)


_shared: list[Sandbox] = []


@pytest.fixture
def sandbox() -> Sandbox:
    """A sandbox, the same for all tests that leave it alive. Where the kernel has none, it is promised that there is none."""
    if not can_lock():
        with pytest.raises(SandboxError):
            Sandbox("the lens x", ENTRY)
        pytest.xfail("this kernel filters no system calls: the sandbox was refused, as it must be")
    if not _shared or not _shared[0].alive:
        _shared[:] = [Sandbox("the lens x", ENTRY, MODULES, LIMITS)]
    return _shared[0]


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    yield
    for made in _shared:
        made.close()


def run(sandbox: Sandbox, code: str, *sent: bytes) -> list[bytes]:
    return sandbox.call([[textwrap.dedent(code).encode(), *sent]])[0]


def state(process: int) -> str:
    """R: it runs, S: it waits (`man 5 proc`); Z where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def wait_until_gone(process: int) -> None:
    for _ in range(1500):
        if state(process) in "ZX":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {process} is left")


ADD = "def main(*sent): return [b'-'.join(sent)]"


def test_code_computes(sandbox: Sandbox) -> None:
    assert run(sandbox, ADD, b"a", b"b") == [b"a-b"]
    many = [[ADD.encode(), str(number).encode()] for number in range(5000)]
    assert sandbox.call(many) == [[str(number).encode()] for number in range(5000)]
    assert sandbox.call([]) == []
    big = os.urandom(1 << 23)
    assert run(sandbox, ADD, big) == [big]


@pytest.mark.usefixtures("many_files")
def test_code_computes_where_many_files_are_open() -> None:
    if not can_lock():
        return
    made = Sandbox("the lens x", ENTRY, MODULES, LIMITS)
    assert run(made, ADD, b"a", b"b") == [b"a-b"]
    made.close()


def test_numbers_and_texts_work(sandbox: Sandbox) -> None:
    code = """
        import json, math, re, decimal, datetime
        import numpy as np
        def main():
            x = np.linspace(0, 1, 1_000_000)
            found = np.linalg.solve(np.eye(50) * 2, np.ones(50)).sum(), math.pi, decimal.Decimal("0.1") * 3
            time = datetime.datetime.fromisoformat("2020-01-01").year
            return [json.dumps([float(found[0]), str(found[2]), float(x @ x) > 3e5, time, len(re.findall("a", "banana"))]).encode()]
    """
    assert run(sandbox, code) == [b'[25.0, "0.3", true, 2020, 3]']


DENIED = {
    "IPv4": "import socket\ndef main(*_): socket.socket().connect(('127.0.0.1', int(sent[0])))",
    "IPv6": "import socket\ndef main(*_): socket.socket(socket.AF_INET6)",
    "UDP": "import socket\ndef main(*_): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))",
    "unix": "import socket\ndef main(*_): socket.socket(socket.AF_UNIX).connect('\\0x')",
    "netlink": "import socket\ndef main(*_): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "packet": "import socket\ndef main(*_): socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "vsock": "import socket\ndef main(*_): socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "socketpair": "import socket\ndef main(*_): socket.socketpair()",
    "reads": "def main(*_): open('/etc/passwd').read()",
    "reads itself": "def main(*_): open('/proc/self/environ').read()",
    "reads memory": "import os\ndef main(*_): open(f'/proc/{os.getpid()}/mem', 'rb')",
    "writes": "def main(*_): open('/tmp/left', 'w')",
    "appends": "import sys\ndef main(*_): open(sys.executable, 'ab')",
    "lists": "import os\ndef main(*_): os.listdir('/')",
    "looks": "import os\ndef main(*_): os.stat('/etc/passwd')",
    "removes": "import os\ndef main(*_): os.unlink('/tmp/left')",
    "links": "import os\ndef main(*_): os.symlink('/', '/tmp/left')",
    "makes a folder": "import os\ndef main(*_): os.mkdir('/tmp/left')",
    "makes a pipe": "import os\ndef main(*_): os.pipe()",
    "makes memory with a name": "import os\ndef main(*_): os.memfd_create('x')",
    "duplicates": "import os\ndef main(*_): os.dup2(1, 0)",
    "closes": "import os\ndef main(*_): os.close(1)",
    "fork": "import os\ndef main(*_): os.fork()",
    "fork bomb": "import os\ndef main(*_):\n while True: os.fork()",
    "starts a program": "import os\ndef main(*_): os.execv('/bin/sh', ['sh', '-c', 'touch /tmp/left'])",
    "spawns": "import os\ndef main(*_): os.posix_spawn('/bin/sh', ['sh'], {})",
    "kills its parent": "import os\ndef main(*_): os.kill(os.getpid() and int(sent[1]), 9)",
    "kills all": "import os\ndef main(*_): os.kill(-1, 9)",
    "stops its group": "import os\ndef main(*_): os.killpg(int(sent[1]), 19)",
    "raises its limits": "import resource\ndef main(*_): resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "another's limits": "import resource\ndef main(*_): resource.prlimit(int(sent[1]), resource.RLIMIT_CPU, (0, 0))",
    "ignores its time": "import signal\ndef main(*_): signal.signal(signal.SIGXCPU, signal.SIG_IGN)",
    "blocks its time": "import signal\ndef main(*_): signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXCPU])",
    "changes user": "import os\ndef main(*_): os.setuid(0)",
    "niceness": "import os\ndef main(*_): os.nice(-5)",
    "another's affinity": "import os\ndef main(*_): os.sched_setaffinity(int(sent[1]), {0})",
    "sends descriptors": "import fcntl\ndef main(*_): fcntl.fcntl(0, fcntl.F_SETOWN, int(sent[1]))",
    "types into a terminal": "import fcntl\ndef main(*_): fcntl.ioctl(0, 0x5412, b'x')",
}
MACHINE = os.uname().machine
NUMBERS = (321, 250, 323) if MACHINE == "x86_64" else (280, 219, 282)
RAW = {  # what Python has no function for; by number where libc has none either
    "ptrace": "libc.ptrace(16, {parent}, 0, 0)",
    "process_vm_readv": "libc.process_vm_readv({parent}, buffer, 1, buffer, 1, 0)",
    "io_uring": "libc.syscall(425, 8, buffer)",
    "clone3": "libc.syscall(435, buffer, 64)",
    "bpf": f"libc.syscall({NUMBERS[0]}, 0, buffer, 64)",
    "keys": f"libc.syscall({NUMBERS[1]}, 0, -3, 0)",
    "unshare": "libc.unshare(0x10000000)",
    "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "pidfd": "libc.syscall(434, {parent}, 0)",
    "userfaultfd": f"libc.syscall({NUMBERS[2]}, 0)",
    "loosens the parent's end": "libc.prctl(1, 0, 0, 0, 0)",
    "a filter of its own": "libc.prctl(22, 2, buffer, 0, 0)",
    "executable memory": "(libc.mmap(None, 4096, 7, 0x22, -1, 0))",
    "makes memory executable": "libc.mprotect(ctypes.c_void_p(ctypes.addressof(buffer) & ~4095), 4096, 7)",
    "sockets under another number": "libc.syscall(0x40000000 | 41, 2, 1, 0)",
}


@pytest.mark.parametrize("name", DENIED)
def test_what_looks_outside_is_denied(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    code = DENIED[name].replace("/tmp/left", str(left))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(CodeError, match="the lens x") as caught:
            run(sandbox, code, str(server.getsockname()[1]).encode(), str(os.getpid()).encode())
        with pytest.raises(BlockingIOError):
            server.accept()
    assert caught.value.reason == "exception", caught.value
    assert re.search("Operation not permitted|not allowed", str(caught.value)), caught.value
    assert not left.exists()
    assert run(sandbox, ADD, b"still here") == [b"still here"]


@pytest.mark.parametrize("name", RAW)
def test_what_the_kernel_offers_beside_is_denied(sandbox: Sandbox, name: str) -> None:
    code = f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(8192)
        def main():
            result = {RAW[name].format(parent=os.getpid())}
            return [f"{{result}} {{ctypes.get_errno()}}".encode()]
    """
    assert run(sandbox, code) == [b"-1 1"]


ENDS = {
    "leaves": ("crash", "import os\ndef main(): os._exit(7)", "status 7"),
    "crashes": ("crash", "import ctypes\ndef main(): ctypes.string_at(0)", "SIGSEGV"),
    "aborts": ("crash", "import os\ndef main(): os.abort()", "killed by"),
    "loops": ("time", "def main():\n while True: pass", "2 seconds"),
    "sleeps": ("time", "import time\ndef main(): time.sleep(1000)", "2 seconds"),
    "waits for ever": ("time", "import threading\ndef main(): threading.Event().wait()", "2 seconds"),
    "loops in its exception": (
        "time",
        "class E(Exception):\n def __str__(self):\n  while True: pass\ndef main(): raise E",
        "2 seconds",
    ),
    "fills memory": ("memory", "def main(): return [b'x' * (1 << 30)]", "more memory"),
    "fills memory in pieces": (
        "memory",
        "def main():\n kept = []\n while True: kept.append(b'x' * 9999)",
        "more memory",
    ),
    "fills memory with numpy": ("memory", "import numpy\ndef main(): return [numpy.ones(1 << 28)]", "more memory"),
    "says nothing of itself": (
        "exception",
        "class E(Exception):\n def __str__(self): raise SystemExit\ndef main(): raise E",
        "exception",
    ),
    "raises a long text": ("exception", "def main(): raise ValueError('x' * 10_000_000)", "xxx"),
    "raises control characters": ("exception", "def main(): raise ValueError('\\x1b[2J\\u202e')", "ValueError"),
    "leaves politely": ("exception", "def main(): raise SystemExit(0)", "SystemExit"),
    "interrupts": ("exception", "def main(): raise KeyboardInterrupt", "KeyboardInterrupt"),
    "recurses": ("exception", "def main(): main()", "RecursionError"),
    "no syntax": ("exception", "def main(:", "SyntaxError"),
    "no main": ("exception", "x = 1", "KeyError"),
    "starts a thread": ("exception", "import threading\ndef main(): threading.Thread(target=print).start()", "thread"),
    "answers too much": ("answer", "def main(): return [bytes(1 << 25)]", "message of"),
    "answers no bytes": ("exception", "def main(): return [3]", "TypeError"),
    "answers too many parts": ("answer", "def main(): return [b''] * 100", "no message"),
}


@pytest.mark.parametrize("name", ENDS)
def test_whatever_it_does_is_one_typed_error(sandbox: Sandbox, name: str) -> None:
    reason, code, said = ENDS[name]
    if reason == "time":
        sandbox = Sandbox("the lens x", ENTRY, MODULES, HASTY)
    with pytest.raises(CodeError) as caught:
        run(sandbox, code)
    assert (caught.value.reason, caught.value.step) == (reason, reason), caught.value
    assert said in str(caught.value)
    assert len(str(caught.value)) < 3000
    assert str(caught.value).isprintable() or "\n" in str(caught.value)
    assert not {"\x1b", "\u202e"} & set(str(caught.value))
    if reason in ("crash", "time", "answer"):
        assert not sandbox.alive
        wait_until_gone(sandbox.process)
        with pytest.raises(CodeError, match="ended before"):
            run(sandbox, ADD, b"a")
    else:
        assert run(sandbox, ADD, b"a") == [b"a"]


GARBAGE = {
    "noise": "os.write(fd, b'noise' * 100)",
    "a long message": "os.write(fd, (1 << 62).to_bytes(8, 'little') + bytes(8))",
    "many parts": "os.write(fd, (1 << 10).to_bytes(8, 'little') + (1 << 60).to_bytes(8, 'little'))",
    "lengths that do not add up": "os.write(fd, (16).to_bytes(8, 'little') * 4)",
    "an answer that is none": "os.write(fd, bytes(16))",
    "an unasked answer": "os.write(fd, b''.join(n.to_bytes(8, 'little') for n in (12, 1, 4)) + b'done') and None",
    "a failure with no reason": "os.write(fd, b''.join(n.to_bytes(8, 'little') for n in (14, 1, 6)) + b'failed')",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_written_beside_the_protocol_is_an_error(sandbox: Sandbox, name: str) -> None:
    code = f"""
        import os
        def main():
            for fd in range(3, 1 << 16):  # its numbers are those of a process that may have many files open
                try:
                    {GARBAGE[name]}
                except OSError:
                    pass
            return [b'x']
    """
    with pytest.raises(CodeError) as caught:
        for _ in range(2):  # what comes after an answer is found before the next
            run(sandbox, code)
            time.sleep(1.0)  # all numbers have to be tried before the answer comes that was asked for
    assert caught.value.reason == "answer"
    assert not sandbox.alive


def test_what_is_printed_is_bounded_and_shown_of_a_crash(sandbox: Sandbox) -> None:
    code = "import os, sys\ndef main():\n for n in range(50): os.write(1, b'o' * 99_999), os.write(2, b'e' * 99_999)\n return [b'ok']"
    assert run(sandbox, code) == [b"ok"]
    with pytest.raises(CodeError, match=r"it printed: .*last words"):
        run(sandbox, "import os\ndef main(): os.write(2, b'last words\\n'), os._exit(1)")


def test_printing_without_end_takes_no_longer_than_a_call_may() -> None:
    if not can_lock():
        return
    sandbox = Sandbox("the lens x", ENTRY, MODULES, HASTY)
    with pytest.raises(CodeError) as caught:
        run(sandbox, "import os\ndef main():\n while True: os.write(1, b'x' * 65536)")
    assert caught.value.reason == "time"


def test_nothing_of_this_process_is_open_in_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Also what was opened to be inherited: writing to every number there is changes nothing."""
    path = tmp_path / "file"
    number = os.open(path, os.O_RDWR | os.O_CREAT)
    os.set_inheritable(number, True)
    try:
        made = Sandbox("the lens x", ENTRY, MODULES, LIMITS)
        code = f"import os\ndef main(): os.write({number}, b'x') if {number} > 10 else os.write(99, b'x')"
        with pytest.raises(CodeError) as caught:
            run(made, code)
        made.close()
    finally:
        os.close(number)
    assert caught.value.reason in ("exception", "answer")
    assert path.read_bytes() == b""


def test_it_has_no_environment_and_no_arguments_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_INDEX_URL", "postgresql://me:hunter2@host/db")
    if not can_lock():
        return
    with_secret = Sandbox("the lens x", ENTRY, MODULES, LIMITS)
    said = run(
        with_secret, "import os, sys\ndef main(): return [repr((dict(os.environ), sys.argv, sys.orig_argv)).encode()]"
    )
    with_secret.close()
    assert b"hunter2" not in said[0]
    assert b"PYTHONHASHSEED" in said[0]


def test_answers_after_an_exception_are_nobody_elses(sandbox: Sandbox) -> None:
    requests = [[ADD.encode(), b"a"], [b"def main(): raise ValueError('second')"], [ADD.encode(), b"c"]]
    with pytest.raises(CodeError, match="second"):
        sandbox.call(requests)
    assert run(sandbox, ADD, b"d") == [b"d"]
    wrong: list[object] = []

    def ask(number: int) -> None:
        for _ in range(30):
            if run(sandbox, ADD, str(number).encode()) != [str(number).encode()]:
                wrong.append(number)

    def fail() -> None:
        for _ in range(30):
            with suppress(CodeError):
                wrong.append(sandbox.call(requests))

    threads = [threading.Thread(target=fail), *(threading.Thread(target=ask, args=(number,)) for number in range(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closing_tells_whoever_waits(sandbox: Sandbox) -> None:
    made = Sandbox("the lens x", ENTRY, MODULES, LIMITS)
    found: list[str] = []

    def wait() -> None:
        try:
            run(made, "import time\ndef main(): time.sleep(100)")
        except CodeError as error:
            found.append(error.reason)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    made.close()
    thread.join(20)
    assert found in (["crash"], ["closed"])
    assert not made.alive


def test_each_request_has_its_own_time() -> None:
    if not can_lock():
        return
    sandbox = Sandbox("the lens x", ENTRY, MODULES, HASTY)
    slow = b"import time\ndef main(): time.sleep(0.5); return []"
    assert sandbox.call([[slow]] * 5) == [[]] * 5
    sandbox.close()


def test_threads_take_turns(sandbox: Sandbox) -> None:
    wrong = []

    def ask(number: int) -> None:
        for _ in range(50):
            if run(sandbox, ADD, str(number).encode()) != [str(number).encode()]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_outlives_the_thread_that_asked_for_it() -> None:
    if not can_lock():
        return
    made: list[Sandbox] = []
    thread = threading.Thread(target=lambda: made.append(Sandbox("the lens x", ENTRY, (), LIMITS)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert run(made[0], ADD, b"a") == [b"a"]
    process = made[0].process
    made.clear()  # nobody has it any more
    wait_until_gone(process)


KEEPER = """
import os, sys
from atdata.sandbox import Sandbox
made = Sandbox("the lens x", "support.hostile:run", ("time",))
print(made.process, flush=True)
made.call([[b"import time\\ndef main():\\n while True: time.sleep(100)"]])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_parent(how: signal.Signals) -> None:
    if not can_lock():
        return
    with subprocess.Popen([sys.executable, "-c", KEEPER], stdout=subprocess.PIPE, env=environment()) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        time.sleep(0.2)
        assert state(process) not in "ZX"
        parent.send_signal(how)
        parent.wait()
    wait_until_gone(process)


def test_the_kernel_bounds_the_processors_time(sandbox: Sandbox) -> None:
    """Also if nobody looks at the clock: it stands still for the program that waits."""
    program = """
import time, types
from atdata.errors import CodeError
from atdata.sandbox import Sandbox, SandboxLimits, process
process.time = types.SimpleNamespace(monotonic=lambda: 0.0, clock_gettime=time.clock_gettime)
made = Sandbox("the lens x", "support.hostile:run", (), SandboxLimits(seconds=1))
try:
    made.call([[b"def main():\\n while True: pass"]])
except CodeError as error:
    print(error.reason, "processor" in str(error))
"""
    assert outcome(program) == ["time", "True"]


def test_a_fork_leaves_the_process_to_its_parent(sandbox: Sandbox) -> None:
    child = os.fork()
    if child == 0:
        alive = sandbox.alive
        sandbox.close()
        os._exit(int(alive))
    assert os.waitpid(child, 0)[1] == 0
    assert run(sandbox, ADD, b"a") == [b"a"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def outcome(program: str) -> list[str]:
    """The lines that a program of its own prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


ASK = """
from atdata.errors import SandboxError
from atdata.sandbox import Sandbox
try:
    Sandbox("the lens x", "support.hostile:run")
except SandboxError as error:
    print(error.step.replace(" ", "_"))
else:
    print("had")
"""


def test_where_system_calls_cannot_be_filtered_code_is_refused() -> None:
    number = SECCOMP.get(os.uname().machine, 0)
    if not can_lock():
        assert outcome(ASK) != ["had"]
        return
    assert outcome(ASK) == ["had"]
    assert outcome(f"from support.hostile import refuse; refuse({number})\n{ASK}") == ["system_calls"]


def test_bounds_that_are_narrower_already_stay(sandbox: Sandbox) -> None:
    """The address space that whoever started us may have is less than we allow: no more is taken, and no less than that."""
    narrow = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
    wide = ASK.replace('run")', 'run", (), SandboxLimits(memory=1 << 34))')
    wide = wide.replace("sandbox import Sandbox", "sandbox import Sandbox, SandboxLimits")
    assert outcome(narrow + wide) == ["had"]


@pytest.mark.parametrize("number", [157, 302] if MACHINE == "x86_64" else [167, 261])
def test_where_another_restriction_cannot_be_had_code_is_refused(sandbox: Sandbox, number: int) -> None:
    """prctl, prlimit64."""
    assert outcome(f"from support.hostile import refuse; refuse({number})\n{ASK}") != ["had"]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SandboxError) as caught:
        Sandbox("the lens x", ENTRY)
    assert caught.value.step == "platform"


def test_what_is_not_locked_is_found_out() -> None:
    program = """
from atdata.errors import SandboxError
from atdata.sandbox.lockdown import check_locked
try:
    check_locked(1 << 60)
except SandboxError as error:
    print(error.step)
"""
    assert outcome(program) == ["network"]


def test_a_python_that_cannot_be_found_or_started_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("", "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(SandboxError) as caught:
            Sandbox("the lens x", ENTRY)
        assert caught.value.step == "start"


def test_an_entry_that_cannot_be_loaded_is_a_refusal() -> None:
    with pytest.raises(SandboxError) as caught:
        Sandbox("the lens x", "nowhere.at_all:run")
    assert caught.value.step == "start"
    assert "nowhere" in str(caught.value)
