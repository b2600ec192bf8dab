"""The house stays one that a newcomer can walk: small faces, small files, a short way to a first batch."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
import support

SRC = Path(atdata.__file__).parent

LARGE_FACES = {
    "Dataset": 22,  # the verbs of users
    "RecordIndex": 18,
    "LocalIndex": 15,
    "AtmosphereClient": 17,  # a store of records, an account, and the way to both
    "Database": 15,  # a port, and what implements it
    "MemoryDatabase": 15,
    "RedisDatabase": 16,
    "SqlDatabase": 14,
}
LONG_FILES = {  # the reasons are in decision 27
    "dataset/dataset.py",
    "index/index.py",
    "shards/s3_client.py",
    "testing/devnet/pds.py",
}


def classes() -> Iterator[tuple[str, int]]:
    """Yields each class with the number of public methods and properties that it defines itself."""
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.endswith("Suite"):
                names = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                yield node.name, sum(not name.startswith("_") for name in names)


def test_what_a_dataset_offers_is_for_users(tmp_path: Path) -> None:
    dataset = atdata.write_samples([atdata.DictSample({"x": 1})], tmp_path / "a.tar")
    assert len([name for name in dir(dataset) if not name.startswith("_")]) <= LARGE_FACES["Dataset"]


def test_faces_are_small() -> None:
    assert {name: count for name, count in classes() if count > LARGE_FACES.get(name, 12)} == {}


def test_files_are_short() -> None:
    long = {str(path.relative_to(SRC)) for path in SRC.rglob("*.py") if len(path.read_text().splitlines()) > 400}
    assert long == LONG_FILES


def test_between_the_tests_lie_tests_only() -> None:
    """What they are made with is in `tests/support`, whose face names each module."""
    files = [path for path in Path(__file__).parent.rglob("*.py") if not {"node_modules", "typing"} & {*path.parts}]
    others = {path for path in files if not path.name.startswith(("test_", "conftest"))}
    assert {path.parent.name for path in others} == {"support"}
    named = {line.split()[0] for line in str(support.__doc__).splitlines() if line.startswith("    ")}
    assert named == {path.stem for path in others} - {"__init__"}


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


def walk(work: Any) -> tuple[Counter[str], Counter[str]]:
    """The functions of atdata that some work enters in this thread, and their files. A generator is entered once."""
    functions: Counter[str] = Counter()
    files: Counter[str] = Counter()
    entered: list[FrameType] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        code: CodeType = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(SRC)) or code.co_name.endswith(("comp>", "expr>")):
            return
        if any(frame is known for known in entered):
            return
        entered.append(frame)
        files[str(Path(code.co_filename).relative_to(SRC))] += 1
        functions[code.co_qualname] += 1

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return functions, files


def first_batch(folder: str) -> str:
    """The calls and the files of a first batch, as text."""
    rows = (Row(np.zeros(4, np.float32), number) for number in range(60))
    atdata.write_samples(rows, f"{folder}/a-%d.tar", maxcount=30)
    next(iter(atdata.Dataset[Row](f"{folder}/a-{{0..1}}.tar").ordered(10)))  # what a machine learns once
    batches = iter(atdata.Dataset[Row](f"{folder}/a-{{0..1}}.tar").ordered(10))
    functions, files = walk(lambda: next(batches))
    return json.dumps([functions.total(), list(files)])


def test_the_walk_of_a_first_batch_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own: what others have open is looked at on the way."""
    program = "import sys, test_house; print(test_house.first_batch(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(SRC.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    calls, files = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n{calls} calls in {len(files)} files: {', '.join(files)}")
    assert calls <= 120
    assert len(files) <= 17


EVASIVE = re.compile(
    r"(As|At|By|For|From|How|If|In|Meanwhile|Not|Of|On|Over|So|That|There|These|This|Those|Under|What|Whatever|When|Where"
    r"|Whether|Which|While|Who|Whoever|Whose|Why|With|Without)\b"
)


def docstrings() -> Iterator[tuple[str, str]]:
    """Yields the place and text of each docstring, those below constants and attributes among them."""
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield str(path.relative_to(SRC)), ast.get_docstring(node) or ""
            for before, item in pairwise(
                getattr(node, "body", ()) if isinstance(node, ast.Module | ast.ClassDef) else ()
            ):
                match before, item:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                        yield str(path.relative_to(SRC)), text


def test_docstrings_begin_with_what_they_define() -> None:
    assert [(path, text) for path, text in docstrings() if EVASIVE.match(text)] == []
