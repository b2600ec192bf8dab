"""Keys of a shard's samples: the same from all headers at once and from the careful reader."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.shards import keys as module
from atdata.shards import write_shard
from atdata.shards.cache import ShardCache
from atdata.shards.keys import Keys, keys_of
from atdata.shards.opening import open_shard
from atdata.shards.ports import ShardRef
from atdata.shards.source import FileSource

KEY = st.text(st.characters(exclude_characters="./\0", exclude_categories=["Cs"]), min_size=1, max_size=120)


def keys_in(path: Path, cache: Path) -> Keys:
    source = FileSource((ShardRef(str(path)),))
    shard = open_shard(source, source.shards[0], ShardCache(cache))
    with shard.file:
        return keys_of(shard)


def tar_of(path: Path, names: list[str], form: int, **facts: object) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(f"{name}.msgpack")
            info.size, info.mtime = number % 600, 0
            for fact, value in facts.items():
                setattr(info, fact, value)
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return path


@given(st.lists(KEY, min_size=1, max_size=12, unique=True))
def test_every_key_is_found_where_it_is(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("keys")
    write_shard(folder / "a.tar", ((name, bytes(number)) for number, name in enumerate(names)))
    keys = keys_in(folder / "a.tar", folder / "cache")
    assert [keys[number] for number in range(len(keys))] == names
    assert [keys.find(name) for name in names] == list(range(len(names)))
    for other in ("", "nothing here", names[0] + "\0", names[0] + ".", names[-1][:-1] + "\udc80"):
        assert keys.find(other) is None


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("facts", [{}, {"mtime": 1.5}, {"pax_headers": {"comment": "x"}}])
@pytest.mark.parametrize(
    "names",
    [
        [f"{number:09d}" for number in range(300)],
        [f"{number * 7919 % 300:03d}" for number in range(300)],
        ["short", "x" * 150, "zwölf", "a"],
        ["folder/a", "folder/b"],
        ["x" * 92, "y" * 91, "z"],
    ],
)
def test_shards_of_other_tools(tmp_path: Path, names: list[str], form: int, facts: dict[str, object]) -> None:
    if form == tarfile.USTAR_FORMAT:  # there is no room for more in its header
        names = [name[:92] for name in names]
    keys = keys_in(tar_of(tmp_path / "a.tar", names, form, **facts), tmp_path / "cache")
    assert [keys[number] for number in range(len(keys))] == names
    assert [keys.find(name) for name in names] == list(range(len(names)))
    assert keys.find("none") is None


def test_a_name_in_an_extended_header_is_the_one_that_counts(tmp_path: Path) -> None:
    """The header itself then holds something else that looks like a name."""
    names = ["plain", "zwölf", "another"]
    path = tar_of(tmp_path / "a.tar", names, tarfile.PAX_FORMAT)
    assert b"zw?lf" not in path.read_bytes() or keys_in(path, tmp_path / "cache").find("zw?lf") is None
    assert keys_in(path, tmp_path / "cache").find("zwölf") == 1


def test_the_common_form_is_not_read_header_by_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:06d}" for number in range(5000)]
    write_shard(tmp_path / "a.tar", ((name, b"x" * 40) for name in names))
    tar_of(tmp_path / "b.tar", names[:2000], tarfile.PAX_FORMAT, mtime=1.5)
    monkeypatch.setattr(module, "_AT_ONCE", 1024)
    monkeypatch.delattr(module, "scan_rows")
    assert keys_in(tmp_path / "a.tar", tmp_path / "cache").find("004321") == 4321
    assert keys_in(tmp_path / "b.tar", tmp_path / "cache").find("001999") == 1999


def test_one_long_key_does_not_make_all_long() -> None:
    keys = Keys([*(f"{number}" for number in range(1000)), "x" * 1_000_000])
    assert keys.nbytes < 3_000_000
    assert keys.find("x" * 1_000_000) == 1000
    assert keys.find("7") == 7
