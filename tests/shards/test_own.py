"""Only our own files are removed: those whose names have a form of ours, in folders that are reached without a link."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.files.own import (
    SCRATCH,
    STALE,
    TEMPORARY,
    OwnFile,
    discard,
    make_folder,
    own_files,
    remove_folder,
    scratch_name,
    temporary_name,
)
from atdata.shards import Digest, ShardRef, write_shard
from atdata.shards.cache import ShardCache

LONG_AGO = 1_000_000_000.0
SIXTEEN = "0123456789abcdef"
ALMOST_OURS = [
    "results.csv",
    "atdata.tar",
    "atdata-notes.tar",
    f"atdata-{SIXTEEN}",
    f"atdata-{SIXTEEN}.csv",
    f"atdata-{SIXTEEN}.tar.gz",
    f"atdata-{SIXTEEN}0.tar",
    f"atdata-{SIXTEEN[1:]}.tar",
    f"atdata-{SIXTEEN.upper()}.tar",
    f"atdata-{SIXTEEN}.tar\n",
    f"x-atdata-{SIXTEEN}.tar",
    f".atdata-{SIXTEEN}.tmp~",
    f"atdata-{SIXTEEN}.tmp",
    f".atdata-{SIXTEEN}.tar",
    f".notes.{SIXTEEN[:8]}.tmp",
    f".{SIXTEEN * 4}.tar.{SIXTEEN[:8]}.tmp",
    f"{SIXTEEN}-0.tar",
    "my-notes",
]


def aged(path: Path, content: bytes = b"mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def sweep(root: Path, *folders: str | re.Pattern[str], deep: bool = True) -> set[str]:
    found = [left for form in (SCRATCH, TEMPORARY) for left in own_files(root, folders, form, deep=deep, age=STALE)]
    for left in found:
        left.remove()
    return {str(left.path.relative_to(root)) for left in found}


def test_names_of_ours_have_the_forms_of_ours():
    assert TEMPORARY.fullmatch(temporary_name())
    assert all(SCRATCH.fullmatch(scratch_name(suffix)) for suffix in (".tar", ".sqlite"))
    assert SCRATCH.fullmatch(Path(scratch_name()).with_suffix(".manifest.parquet").name)
    assert len({temporary_name() for _ in range(100)} | {scratch_name() for _ in range(100)}) == 200


def test_what_is_swept_is_ours(tmp_path):
    theirs = [aged(tmp_path / "scratch" / name) for name in ALMOST_OURS]
    theirs += [aged(tmp_path / "scratch" / "experiments" / "results.csv"), aged(tmp_path / scratch_name())]
    ours = [aged(tmp_path / "scratch" / scratch_name()), aged(tmp_path / "scratch" / "s" / temporary_name())]
    (tmp_path / "scratch" / scratch_name()).mkdir()
    assert sweep(tmp_path, "scratch") == {str(path.relative_to(tmp_path)) for path in ours}
    assert not any(path.exists() for path in ours)
    assert all(path.read_bytes() == b"mine" for path in theirs)


def test_what_was_just_written_stays(tmp_path):
    path = aged(tmp_path / "scratch" / scratch_name())
    os.utime(path, (time.time() - STALE + 60,) * 2)
    assert sweep(tmp_path, "scratch") == set()
    assert path.exists()


@pytest.mark.parametrize("where", ["the folder", "a folder in it", "a file"])
def test_nothing_is_removed_through_a_link(tmp_path, where):
    theirs = tmp_path / "theirs"
    files = [aged(theirs / scratch_name()), aged(theirs / "deep" / temporary_name()), aged(theirs / "results.csv")]
    root = tmp_path / "cache"
    if where == "the folder":
        root.mkdir()
        (root / "scratch").symlink_to(theirs)
    else:
        (root / "scratch").mkdir(parents=True)
        target = theirs if where == "a folder in it" else files[0]
        (root / "scratch" / scratch_name()).symlink_to(target)
    assert sweep(root, "scratch") == set()
    assert all(path.read_bytes() == b"mine" for path in files)


def test_a_folder_that_became_a_link_meanwhile_is_not_entered(tmp_path):
    mine, name = aged(tmp_path / "theirs" / scratch_name()), scratch_name()
    aged(tmp_path / "theirs" / name)
    aged(tmp_path / "cache" / "scratch" / name)
    (left,) = own_files(tmp_path / "cache", ("scratch",), SCRATCH)
    (tmp_path / "cache" / "scratch").rename(tmp_path / "cache" / "away")
    (tmp_path / "cache" / "scratch").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="scratch"):
        left.remove()
    assert mine.exists()
    assert (tmp_path / "theirs" / name).exists()


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path):
    ours = aged(tmp_path / "large-disk" / "scratch" / scratch_name())
    (tmp_path / "cache").symlink_to(tmp_path / "large-disk")
    assert sweep(tmp_path / "cache", "scratch")
    assert not ours.exists()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert sweep(tmp_path / "none", "scratch") == set()
    aged(tmp_path / "file")
    assert sweep(tmp_path / "file") == set()
    assert sweep(tmp_path, "file") == set()


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_no_other_name_is_discarded(name):
    if not (SCRATCH.fullmatch(name) or TEMPORARY.fullmatch(name)):
        with pytest.raises(ValueError, match="not a file of ours"):
            discard(Path("/nowhere") / name)


# --- the cache makes room for itself alone ---------------------------------------------------------------------------


def stored(cache: ShardCache, number: int) -> Path:
    scratch = cache.scratch()
    ref = write_shard(scratch, [("a", bytes([number]) * 1000)])
    cache.add(scratch, ref.digest)
    return cache.path(ref.digest)


def test_a_cache_removes_nothing_but_shards_under_their_own_digests(tmp_path):
    digest = Digest.sha256(b"somebody's")
    theirs = [
        aged(tmp_path / "shards" / "sha256" / "zz" / f"{digest.hex}.tar"),
        aged(tmp_path / "shards" / "sha256" / ("00" if digest.hex[:2] != "00" else "01") / f"{digest.hex}.tar"),
        aged(tmp_path / "shards" / "sha256" / f"{digest.hex}.tar"),
        aged(tmp_path / "shards" / "sha256" / digest.hex[:2] / f"{digest.hex}.tar.bak"),
        aged(tmp_path / "shards" / "mine" / digest.hex[:2] / f"{digest.hex}.tar"),
        aged(tmp_path / "shards" / "sha256" / digest.hex[:2] / ".notes.tmp"),
    ]
    cache = ShardCache(tmp_path, limit=1)
    ours = stored(cache, 1)
    assert not ours.exists()
    assert all(path.read_bytes() == b"mine" for path in theirs)


@pytest.mark.parametrize("linked", ["shards", "shards/sha256"])
def test_a_cache_makes_no_room_through_a_link(tmp_path, linked):
    elsewhere = ShardCache(tmp_path / "elsewhere")
    theirs = stored(elsewhere, 1)
    place = tmp_path / "cache" / linked
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere" / linked)
    cache = ShardCache(tmp_path / "cache", limit=1)
    stored(cache, 2)
    assert theirs.exists()
    theirs.write_bytes(b"altered")
    ref = ShardRef("x", Digest("sha256", theirs.stem))
    assert cache.open(ref.digest) is None
    assert theirs.read_bytes() == b"altered", "not ours to remove"


# --- whole folders ---------------------------------------------------------------------------------------------------


def test_a_folder_is_ours_where_we_made_it(tmp_path):
    assert make_folder(tmp_path / "a" / "ours")
    assert make_folder(tmp_path / "a" / "ours")
    aged(tmp_path / "a" / "ours" / "data" / "x")
    outside = aged(tmp_path / "outside" / "x")
    (tmp_path / "a" / "ours" / "data" / "link").symlink_to(outside.parent)
    remove_folder(tmp_path / "a" / "ours", "data", "nothing")
    assert [path.name for path in (tmp_path / "a" / "ours").iterdir()] == [".atdata-folder"]
    remove_folder(tmp_path / "a" / "ours")
    assert not (tmp_path / "a" / "ours").exists()
    assert outside.exists()


def test_a_folder_that_somebody_made_is_not_removed(tmp_path):
    theirs = aged(tmp_path / "theirs" / "results.csv")
    assert not make_folder(theirs.parent)
    (tmp_path / "linked").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    assert not make_folder(tmp_path / "linked")
    make_folder(tmp_path / "real")
    (tmp_path / "to-ours").symlink_to(tmp_path / "real")
    for folder in (theirs.parent, tmp_path / "linked", tmp_path / "to-ours", tmp_path / "none"):
        with pytest.raises(ValueError, match="not a folder of ours"):
            remove_folder(folder)
        with pytest.raises(ValueError, match="not a folder of ours"):
            remove_folder(folder, "x")
    assert theirs.exists()
    assert OwnFile(tmp_path, ("real",), ".atdata-folder").path.exists()


# --- nobody else removes anything ------------------------------------------------------------------------------------

REMOVING = re.compile(r"\.(unlink|rmdir|removedirs|rmtree)\b|\bos\.remove\b")
WHAT_ELSE = {
    "files/own.py": "the one place",
    "shards/verified_files.py": "its own database, which has a name of ours, where it is damaged",
    "shards/transaction.py": "what somebody has replaced, known by size and time; and what we wrote in the folder of a set",
    "manifest/build.py": "a manifest that was read as one",
    "atmosphere/publishing.py": "a journal, by the process that has written it and holds its lock",
    "cli/account.py": "a login that was read as one",
    "databases/sqlite.py": "a database that its owner says can be had again, where it is damaged",
    "testing/services/home.py": "a file in a folder that `make_folder` made",
    "testing/devnet/devnet.py": "a temporary folder that it has just made",
}


def test_whatever_removes_files_is_known():
    source = Path(atdata.__file__).parent
    found = {str(path.relative_to(source)) for path in source.rglob("*.py") if REMOVING.search(path.read_text("utf-8"))}
    assert found == set(WHAT_ELSE), "let atdata.files.own remove it, or say here why it may"
