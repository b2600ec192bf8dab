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
from atdata.atmosphere import PDSBlobStore
from atdata.local import LocalIndex
from atdata.promote import promote_to_atmosphere
from support.networks import Devnet, fresh_handle
from support.rawhttp import FileServer

SRC = Path(atdata.__file__).parent

LARGE_FACES = {
    "Entry": 13,  # all that a dataset says of itself
    "Dataset": 29,  # the verbs of users
    "View": 13,  # all that iteration, loaders and tables ask of one
    "ShardView": 14,
    "RecordIndex": 13,
    "VersionedIndex": 13,  # likewise
    "LocalRecords": 15,  # a port, and what a database finds more easily than a repository
    "Database": 16,  # a port, and what implements it
    "MemoryDatabase": 16,
    "RedisDatabase": 17,
    "SqlDatabase": 16,
    "Derived": 14,  # all that there is to say of a kind of field
    "SampleOf": 13,
    "TupleOf": 14,
}
LONG_FILES = {  # the reasons are in decision 27
    "dataset/dataset.py",
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


def test_each_public_class_has_a_name_of_its_own() -> None:
    counts = Counter(name for name, _ in classes() if not name.startswith("_"))
    assert [name for name, count in counts.items() if count > 1] == []


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


def walk(work: Any) -> Counter[tuple[str, str, str]]:
    """The functions of atdata that some work enters in this thread: the file that calls, its own file, and its name.

    A generator is entered once.
    """
    calls: Counter[tuple[str, str, str]] = Counter()
    entered: list[FrameType] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        code: CodeType = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(SRC)) or code.co_name.endswith(("comp>", "expr>")):
            return
        if any(frame is known for known in entered):
            return
        entered.append(frame)
        back = frame.f_back
        while back is not None and not back.f_code.co_filename.startswith(str(SRC)):
            back = back.f_back
        caller = "" if back is None else back.f_code.co_filename
        calls[caller.removeprefix(f"{SRC}/"), code.co_filename.removeprefix(f"{SRC}/"), code.co_qualname] += 1

    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def first_batch(folder: str) -> str:
    """The calls and the files of a first batch, as text."""
    rows = (Row(np.zeros(4, np.float32), number) for number in range(60))
    atdata.write_samples(rows, f"{folder}/a-%d.tar", maxcount=30)
    next(iter(atdata.Dataset[Row](f"{folder}/a-{{0..1}}.tar").ordered(10)))  # what a machine learns once
    batches = iter(atdata.Dataset[Row](f"{folder}/a-{{0..1}}.tar").ordered(10))
    calls = walk(lambda: next(batches))
    return json.dumps([calls.total(), list(dict.fromkeys(file for _, file, _ in calls))])


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
    assert len(files) <= 19  # the index of a shard, and the forms of columns, each stand below two rooms


@pytest.mark.parametrize("to", ["blobs", "where they are"])
def test_a_promotion_enters_each_module_once(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    """From `promote.py`: what an index, a publisher or a planner does is asked of it once."""
    dataset = atdata.write_samples((Row(np.zeros(4, np.float32), n) for n in range(60)), tmp_path / "rows.tar")
    index, client = LocalIndex(tmp_path / "team.sqlite"), devnet.client(devnet.create_account(fresh_handle()))
    with FileServer(files={"/rows.tar": (tmp_path / "rows.tar").read_bytes()}) as web:
        if to == "blobs":
            entry, store = index.insert_dataset(dataset, name="rows"), PDSBlobStore(client)
        else:
            entry, store = index.insert_dataset(atdata.Dataset[Row](f"{web.url}/rows.tar"), name="rows"), None
        calls = walk(lambda: promote_to_atmosphere(entry, index, client, data_store=store))
    rooms = ("local/", "atmosphere/")
    entered = {
        (file, name): count
        for (caller, file, name), count in calls.items()
        if caller == "promote.py" and file.startswith(rooms)
    }
    with capsys.disabled():
        print(f"\n{calls.total()} calls; promote.py: {', '.join(f'{file} {name}' for file, name in entered)}")
    assert set(entered.values()) == {1}
    assert len({name for file, name in entered if file == "atmosphere/publishing.py"} - {"Packed.of_blobs"}) == 1


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
