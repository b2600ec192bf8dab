"""Lenses whose functions are somebody's text: they give what they would give here, and run elsewhere."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata.errors import CodeError, LensError, SampleError, SandboxError
from atdata.lens import CodeLens, FunctionCode, register
from atdata.sandbox import SandboxLimits
from support.hostile import can_lock


@atdata.packable
class Full:
    label: str
    score: float
    image: NDArray[np.float32]


@atdata.packable
class Simple:
    label: str
    mean: float


FILE = '''
"""A file as its author wrote it: with classes of his own, and a lens that is one for him too."""
import dataclasses

import numpy as np
from numpy.typing import NDArray

import atdata

@atdata.packable
class Picture:
    label: str
    score: float
    image: NDArray[np.float32]

class Shown(atdata.PackableSample):
    label: str
    mean: float

@dataclasses.dataclass
class Kept:
    number: int = 0

calls = Kept()

@atdata.lens
def simplify(source: Picture) -> Shown:
    calls.number += 1
    return Shown(source.label.upper(), float(source.image.mean()))

@simplify.putter
def restore(view: Shown, source: Picture) -> Picture:
    return Picture(view.label.lower(), source.score, source.image - source.image.mean() + np.float32(view.mean))

def plain(source):
    return {"label": source.label.upper(), "mean": float(source["image"].mean())}

class Ways:
    @staticmethod
    def there(source: Picture) -> Shown:
        return simplify.get(source)

def wrong(source: Picture):
    return {"label": 3, "mean": 1.0}

def lacking(source: Picture):
    return {"label": source.label}

def none(source: Picture):
    return None

def text(source: Picture):
    return "x"

def raises(source: Picture):
    raise ValueError(f"not {source.label}")

def leaves(source: Picture):
    import os
    os._exit(3)

def leaves_at_times(source: Picture):
    if source.label == "leave":
        leaves(source)
    return simplify.get(source)

def loops(source: Picture):
    while True:
        pass

def fills(source: Picture):
    return {"label": "x" * (1 << 31), "mean": 0.0}

def kills(source: Picture):
    import os
    os.kill(os.getppid(), 9)

def looks(source: Picture):
    return {"label": open("/etc/passwd").read(), "mean": 0.0}

def imports(source: Picture):
    import sqlite3
'''


def code(function: str, text: str = FILE) -> FunctionCode:
    return FunctionCode("lenses/vision.py", function, text.encode())


def lens_of(getter: str, putter: str | None = None, **limits: Any) -> CodeLens[Full, Simple]:
    back = None if putter is None else code(putter)
    allowed = SandboxLimits(**{"seconds": 120, **limits})
    return CodeLens(code(getter), back, source_type=Full, view_type=Simple, name="simplify", limits=allowed)


@pytest.fixture(autouse=True)
def sandbox_or_refusal() -> None:
    """Where the kernel has no sandbox, it is promised that the code is refused."""
    if not can_lock():
        with pytest.raises(SandboxError):
            lens_of("simplify").get(SAMPLES[0])
        pytest.xfail("this kernel filters no system calls: the code was refused, as it must be")


@pytest.fixture
def simplify() -> Iterator[CodeLens[Full, Simple]]:
    made = lens_of("simplify", "restore")
    yield made
    made.close()


SAMPLES = [Full(f"cat {n}", n / 2, np.full((2, 3), n, np.float32)) for n in range(40)]
VIEWS = [Simple(f"CAT {n}", float(n)) for n in range(40)]


def test_it_gives_what_its_author_meant(simplify: CodeLens[Full, Simple]) -> None:
    assert simplify.get(SAMPLES[3]) == simplify(SAMPLES[3]) == VIEWS[3]
    assert simplify.get_many(SAMPLES) == VIEWS
    assert simplify.get_many([]) == []
    changed = Simple("DOG", 7.0)
    assert simplify.put(changed, SAMPLES[1]) == Full("dog", 0.5, np.full((2, 3), 7, np.float32))
    assert simplify.put_many(VIEWS, SAMPLES) == SAMPLES
    simplify.check_laws(SAMPLES[:3])


@pytest.mark.parametrize("getter", ["plain", "Ways.there"])
def test_functions_of_other_forms(getter: str) -> None:
    made = lens_of(getter)
    assert made.get_many(SAMPLES[:3]) == VIEWS[:3]
    made.close()
    with pytest.raises(LensError, match="no putter"):
        made.put(VIEWS[0], SAMPLES[0])


def test_many_samples_cross_in_pieces(simplify: CodeLens[Full, Simple], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["atdata.lens.code"], "_SENT", 1000)
    assert simplify.get_many(SAMPLES) == VIEWS


def test_datasets_are_read_through_it(simplify: CodeLens[Full, Simple], tmp_path: Path) -> None:
    dataset = atdata.write_samples(SAMPLES, tmp_path / "full.tar")
    register(simplify)
    seen = dataset.as_type(Simple)
    assert list(seen.ordered()) == VIEWS
    assert [label for batch in seen.ordered(16) for label in batch["label"]] == [view.label for view in VIEWS]
    assert seen.to_arrow().column("mean").to_pylist() == [view.mean for view in VIEWS]


FAILS = {
    "wrong": ("answer", "no Simple"),
    "lacking": ("answer", "no Simple"),
    "none": ("exception", "NoneType"),
    "text": ("exception", "str, not a sample"),
    "raises": ("exception", "ValueError: not cat 0"),
    "leaves": ("crash", "status 3"),
    "fills": ("memory", "more memory"),
    "kills": ("exception", "Operation not permitted"),
    "looks": ("exception", "Operation not permitted"),
    "imports": ("exception", "sqlite3"),
}


@pytest.mark.parametrize("getter", FAILS)
def test_what_it_does_wrong_is_an_error_that_names_it(getter: str) -> None:
    reason, said = FAILS[getter]
    made = lens_of(getter)
    with pytest.raises(CodeError, match="the lens simplify") as caught:
        made.get(SAMPLES[0])
    assert caught.value.reason == reason
    assert said in str(caught.value)
    with pytest.raises(CodeError):  # in another process, if that one has ended
        made.get(SAMPLES[0])
    made.close()


def test_a_loop_ends() -> None:
    made = lens_of("loops", seconds=1)
    with pytest.raises(CodeError) as caught:
        made.get(SAMPLES[0])
    assert caught.value.reason == "time"


@pytest.mark.parametrize(
    ("text", "function", "said"),
    [
        ("def get(:", "get", "SyntaxError"),
        ("x = 1", "get", "AttributeError"),
        ("import nowhere", "get", "nowhere"),
        ("def get(): pass", "get", "takes 0 values"),
        ("def get(a, b): pass", "get", "takes 2 values"),
        ("raise SystemExit", "get", "SystemExit"),
        ("import os; os._exit(0)", "get", "status 0"),
        ("import os; os.listdir()", "get", "Operation not permitted"),
        ("get = 3", "get", "int"),
    ],
)
def test_a_file_that_cannot_be_loaded(text: str, function: str, said: str) -> None:
    made = CodeLens[Full, Simple](code(function, text), source_type=Full, view_type=Simple, name="simplify")
    with pytest.raises(CodeError, match="the lens simplify") as caught:
        made.get(SAMPLES[0])
    assert said in str(caught.value)


def test_what_does_not_fit_its_type_is_not_sent(simplify: CodeLens[Full, Simple]) -> None:
    with pytest.raises(SampleError):
        simplify.get(Full(3, 1.0, np.zeros(1, np.float32)))  # type: ignore[arg-type]
    with pytest.raises(SampleError):
        simplify.get("x")  # type: ignore[arg-type]
    assert simplify.get(SAMPLES[0]) == VIEWS[0]


def test_it_pickles_and_is_another_process_there(simplify: CodeLens[Full, Simple]) -> None:
    simplify.get(SAMPLES[0])
    again = pickle.loads(pickle.dumps(simplify))
    assert again.get(SAMPLES[0]) == VIEWS[0]
    assert again.put(VIEWS[0], SAMPLES[0]) == SAMPLES[0]
    assert again.name == "simplify"
    again.close()


def through(made: CodeLens[Full, Simple], results: Any) -> None:
    results.put([made.get(sample).label for sample in SAMPLES[:2]])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_have_processes_of_their_own(simplify: CodeLens[Full, Simple], method: str) -> None:
    simplify.get(SAMPLES[0])
    context = multiprocessing.get_context(method)
    results = context.Queue()
    worker = context.Process(target=through, args=(simplify, results))
    worker.start()
    assert results.get(timeout=120) == ["CAT 0", "CAT 1"]
    worker.join()
    assert simplify.get(SAMPLES[0]) == VIEWS[0]


def test_threads_may_use_it(simplify: CodeLens[Full, Simple]) -> None:
    found: list[list[Simple]] = []
    threads = [threading.Thread(target=lambda: found.append([simplify.get(s) for s in SAMPLES])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [VIEWS] * 4


def test_what_ends_the_process_of_one_thread_is_not_another_s_failure() -> None:
    made, found = lens_of("leaves_at_times"), list[list[Simple]]()

    def fail() -> None:
        for _ in range(3):
            with pytest.raises(CodeError, match="status 3"):
                made.get(Full("leave", 0.0, SAMPLES[0].image))

    threads = [threading.Thread(target=fail)]
    threads += [threading.Thread(target=lambda: found.append([made.get(s) for s in SAMPLES])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close()
    assert found == [VIEWS] * 2


def test_its_text_is_neither_compiled_nor_run_here(simplify: CodeLens[Full, Simple]) -> None:
    events: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in ("compile", "exec", "import", "pickle.find_class", "marshal.loads"):
            events.append(f"{event} {arguments}")

    lens_of("plain").get(SAMPLES[0])  # what is imported once, is now
    sys.addaudithook(watch)
    assert simplify.get_many(SAMPLES) == VIEWS
    assert simplify.put_many(VIEWS, SAMPLES) == SAMPLES
    watching = False
    assert [event for event in events if not event.startswith("import")] == []
    assert not [event for event in events if "vision" in event or "code_" in event]


def test_nothing_is_started_before_it_is_used() -> None:
    started = []
    watching = True

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if watching and event.startswith(("subprocess", "os.exec", "os.fork", "os.posix_spawn")):
            started.append(event)

    sys.addaudithook(watch)
    made = lens_of("simplify", "restore")
    repr(made), pickle.dumps(made), made.reads(), made.close()
    watching = False
    assert started == []
    assert os.getpid() not in made._started
