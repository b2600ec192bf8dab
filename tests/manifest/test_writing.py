"""Manifests that are written beside shards, and read back."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.errors import (
    DigestError,
    LimitError,
    MissingExtraError,
    ShardError,
    ShardNotFoundError,
    StorageError,
    UnverifiedError,
)
from atdata.files import atomic
from atdata.manifest import Manifest, ManifestBuilder, ManifestField, ManifestWriter, manifest_paths, parquet
from atdata.manifest.aggregates import MAX_TEXT
from atdata.manifest.build import BATCH, remove_manifest
from atdata.manifest.header import MAX_HEADER
from atdata.shards import Digest, Limits, ShardRef, cut_shards
from atdata.shards.transaction import recover

pytest.importorskip("pyarrow")


@atdata.packable
class Row:
    number: int
    real: float | None
    name: str
    tags: list[str]
    image: NDArray[np.uint8]


texts = st.text(st.characters(codec="utf-8"), max_size=20)
rows = st.builds(
    Row,
    st.integers(-(2**63), 2**63 - 1),
    st.floats() | st.none(),
    texts,
    st.lists(texts, max_size=3),
    st.integers(0, 2000).map(lambda n: np.arange(n, dtype=np.uint8)),
)


def write(folder: Path, samples: list[Any], **options: Any) -> list[tuple[ShardRef, Manifest]]:
    """The shards of some samples with their manifests."""
    atdata.write_samples(samples, folder / "%03d.tar", manifest=True, **options)
    shards = []
    for path in sorted(folder.glob("*.tar")):
        ref = ShardRef(str(path), Digest.of_file(path), path.stat().st_size)
        manifest = Manifest.find(ref)
        assert manifest is not None
        shards.append((ref, manifest))
    return shards


def few(count: int) -> list[Row]:
    return [Row(n, n / 2, f"row {n % 3}", ["a", "b"][: n % 3], np.zeros(n, np.uint8)) for n in range(count)]


@given(st.lists(rows, min_size=1, max_size=12), st.integers(1, 5))
def test_every_sample_is_found_and_is_what_the_manifest_says(tmp_path_factory, samples, maxcount):
    folder = tmp_path_factory.mktemp("written")
    shards = write(folder, samples, maxcount=maxcount)
    found = []
    for ref, manifest in shards:
        raw = Path(ref.url).read_bytes()
        assert manifest.header.shard.digest == Digest.sha256(raw)
        assert manifest.header.shard.size == len(raw)
        for offset, size, digest in zip(
            manifest.offsets.tolist(), manifest.sizes.tolist(), manifest.digests, strict=True
        ):
            packed = raw[offset : offset + size]
            assert hashlib.sha256(packed).digest() == digest.tobytes()
            found.append(Row.from_bytes(packed))
        here = found[-len(manifest) :]
        assert list(manifest.column("number")) == [row.number for row in here]
        assert list(manifest.column("name")) == [row.name for row in here]
        assert list(manifest.column("tags")) == [row.tags for row in here]
        assert all(
            a == b or (a != a and b != b) for a, b in zip(manifest.column("real"), (r.real for r in here), strict=True)
        )
        real = manifest.fields["real"]
        assert (real.count, real.nulls) == (sum(r.real is not None for r in here), sum(r.real is None for r in here))
        assert manifest.fields["number"].min == min(row.number for row in here)
        assert dict(manifest.fields["name"].counts or ()) == {
            row.name: sum(other.name == row.name for other in here) for row in here
        }
        assert set(manifest.fields["tags"].items or ()) == {tag for row in here for tag in row.tags}
    assert found == samples
    assert [key for _, manifest in shards for key in manifest.keys] == [f"{n:09d}" for n in range(len(samples))]


def test_equal_samples_give_equal_manifests(tmp_path):
    for folder in ("one", "other"):
        write(tmp_path / folder, few(30), maxcount=12)
    one, other = (sorted(tmp_path.glob(f"{folder}/*")) for folder in ("one", "other"))
    assert [path.name for path in one] == [
        f"{n:03d}{end}" for n in range(3) for end in (".manifest.json", ".manifest.parquet", ".tar")
    ]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_shards_are_the_same_with_and_without(tmp_path):
    write(tmp_path / "with", few(9), maxcount=4)
    atdata.write_samples(few(9), tmp_path / "without" / "%03d.tar", maxcount=4)
    for path in (tmp_path / "without").iterdir():
        assert path.suffix == ".tar"
        assert path.read_bytes() == (tmp_path / "with" / path.name).read_bytes()


def test_the_header_is_this(tmp_path):
    """Others read it: it changes only with its version."""
    ((ref, _),) = write(tmp_path, few(4))
    header = json.loads((tmp_path / "000.manifest.json").read_bytes())
    parquet_file = (tmp_path / "000.manifest.parquet").read_bytes()
    assert header.pop("provenance")["software"].startswith("atdata")
    assert header == {
        "version": 1,
        "shard": {"digest": {"algorithm": "sha256", "digest": ref.digest.hex}, "size": ref.size},
        "samples": 4,
        "rows": {
            "digest": {"algorithm": "sha256", "digest": hashlib.sha256(parquet_file).hexdigest()},
            "size": len(parquet_file),
        },
        "schema": {"type": "Row"},
        "fields": {
            "number": {"kind": "numeric", "type": "int", "count": 4, "nulls": 0, "min": 0, "max": 3, "mean": 1.5},
            "real": {
                "kind": "numeric",
                "type": "float",
                "count": 4,
                "nulls": 0,
                "nans": 0,
                "min": 0.0,
                "max": 1.5,
                "mean": 0.75,
            },
            "name": {
                "kind": "categorical",
                "type": "str",
                "count": 4,
                "nulls": 0,
                "counts": [["row 0", 2], ["row 1", 1], ["row 2", 1]],
            },
            "tags": {"kind": "set", "type": "str", "count": 4, "nulls": 0, "items": ["a", "b"]},
        },
    }


def test_the_rows_are_plain_parquet_with_real_types(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write(tmp_path, few(4))
    table = pq.read_table(tmp_path / "000.manifest.parquet")
    assert {field.name: field.type for field in table.schema} == {
        "__key__": pa.string(),
        "__offset__": pa.int64(),
        "__size__": pa.int64(),
        "__digest__": pa.binary(32),
        "number": pa.int64(),
        "real": pa.float64(),
        "name": pa.string(),
        "tags": pa.list_(pa.string()),
    }
    assert table.column("tags").to_pylist() == [[], ["a"], ["a", "b"], []]


def test_schema_and_provenance_are_kept(tmp_path):
    observer = ManifestWriter(
        Row, schema_uri="at://did:plc:x/c/r", schema_cid="bafy", provenance={"source": "a camera"}
    )
    packed = [(f"{n}", row.packed, row) for n, row in enumerate(few(3))]
    (ref,) = cut_shards(packed, Limits(), lambda _: tmp_path / "a.tar", observer)
    manifest = Manifest.find(ref)
    assert manifest is not None
    assert (manifest.header.schema.uri, manifest.header.schema.cid) == ("at://did:plc:x/c/r", "bafy")
    assert manifest.header.provenance["source"] == "a camera"


def test_many_samples_take_several_batches_and_large_ones_another_thread(tmp_path):
    count = BATCH + 10
    samples = [Row(n, None, "x", [], np.zeros(100_000 if n % 500 == 0 else 3, np.uint8)) for n in range(count)]
    ((ref, manifest),) = write(tmp_path, samples)
    assert manifest.column("number").tolist() == list(range(count))
    raw = Path(ref.url).read_bytes()
    for offset, size, digest in zip(manifest.offsets, manifest.sizes, manifest.digests, strict=True):
        assert hashlib.sha256(raw[offset : offset + size]).digest() == digest.tobytes()
    assert manifest.column("real") == [None] * count


def test_untyped_samples_have_places_only(tmp_path):
    ((_, manifest),) = write(tmp_path, [atdata.DictSample({"a": n}) for n in range(3)])
    assert (len(manifest), dict(manifest.fields), manifest.rows.fields) == (3, {}, ())
    with pytest.raises(KeyError):
        manifest.column("a")


@atdata.packable
class Texts:
    text: str
    words: list[str]
    chosen: Annotated[str, ManifestField("categorical")]


def test_long_text_is_indexed_only_where_it_is_asked_for(tmp_path):
    long = "x" * (MAX_TEXT + 1)
    ((_, manifest),) = write(tmp_path, [Texts("short", ["a"], "a"), Texts(long, ["a", long], long)])
    assert set(manifest.fields) == set(manifest.rows.fields) == {"chosen"}
    assert manifest.fields["chosen"].counts is None
    assert manifest.column("chosen") == ["a", long]


@atdata.packable
class Numbers:
    whole: int
    real: float
    flag: bool
    name: str
    tags: list[str]


def test_numpys_own_values_are_values_too(tmp_path):
    samples: list[Any] = [
        Numbers(np.int32(4), np.float32(0.5), np.bool_(True), np.str_("a"), [np.str_("b")]),
        Numbers(3, 2, False, "c", []),
    ]
    ((_, manifest),) = write(tmp_path, samples)
    assert manifest.column("whole").tolist() == [4, 3]
    assert manifest.column("real").tolist() == [0.5, 2.0]
    assert manifest.column("flag").tolist() == [True, False]
    assert manifest.fields["name"].counts == (("a", 1), ("c", 1))
    assert manifest.fields["whole"].mean == 3.5


def test_an_int_that_no_column_takes_is_in_the_header_only(tmp_path):
    samples = [Numbers(2**64 - 1, 0.0, False, "", []), Numbers(-1, 0.0, False, "", [])]
    ((_, manifest),) = write(tmp_path, samples)
    assert (manifest.fields["whole"].min, manifest.fields["whole"].max) == (-1, 2**64 - 1)
    assert "whole" not in manifest.rows.fields


def test_a_list_that_changes_after_it_was_written_does_not_matter(tmp_path):
    def changing() -> Any:
        tags: list[str] = []
        for n in range(4):
            tags.append(str(n))
            yield Row(n, None, "", tags, np.zeros(0, np.uint8))

    ((_, manifest),) = write(tmp_path, changing())  # type: ignore[arg-type]
    assert manifest.column("tags") == [["0"], ["0", "1"], ["0", "1", "2"], ["0", "1", "2", "3"]]


def test_infinite_and_missing_numbers(tmp_path):
    samples = [Row(0, value, "", [], np.zeros(0, np.uint8)) for value in (1.0, math.nan, math.inf, None)]
    ((_, manifest),) = write(tmp_path, samples)
    real = manifest.fields["real"]
    assert (real.count, real.nulls, real.nans, real.min, real.max, real.mean) == (3, 1, 1, 1.0, None, None)


def test_a_header_stays_within_what_an_entry_takes(tmp_path):
    names = [f"field{n}" for n in range(60)]
    wide = atdata.packable(type("Wide", (), {"__annotations__": dict.fromkeys(names, str)}))
    samples = [wide(**{name: f"{name}-{n}".ljust(200) for name in names}) for n in range(200)]
    ((_, manifest),) = write(tmp_path, samples)
    assert (tmp_path / "000.manifest.json").stat().st_size <= MAX_HEADER
    kept = [name for name in names if manifest.fields[name].counts is not None]
    assert 20 < len(kept) < 60
    many = {f"field{n}": manifest.fields["field0"] for n in range(20_000)}
    with pytest.raises(LimitError):
        replace(manifest.header, fields=many).encode()


def test_a_manifest_of_what_was_there_before_goes(tmp_path):
    write(tmp_path, few(4))
    atdata.write_samples(few(5), tmp_path / "%03d.tar", maxcount=9, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["000.tar"]


def test_without_pyarrow_the_extra_is_named_before_anything_is_written(tmp_path):
    script = """
        import sys
        from pathlib import Path
        sys.modules["pyarrow"] = None
        import atdata
        from atdata.errors import MissingExtraError

        @atdata.packable
        class Row:
            x: int

        target = Path(sys.argv[1]) / "a.tar"
        atdata.write_samples([Row(1)], target)
        try:
            atdata.write_samples([Row(2)], target.with_name("b.tar"), manifest=True)
        except MissingExtraError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "atdata[tables]" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


# --- faults ----------------------------------------------------------------------------------------------------------


def test_where_a_manifest_cannot_be_written_its_whole_set_is_there_or_none_of_it(tmp_path, monkeypatch):
    """Each write, and each fsync, fails in its turn."""
    whole = tmp_path / "whole"
    write(whole, few(7), maxcount=3)
    expected = {path.name: path.read_bytes() for path in whole.iterdir()}
    failing, calls = -1, 0

    def strike() -> None:
        nonlocal calls
        calls += 1
        if calls - 1 == failing:
            raise OSError(28, "No space left on device")

    class File(atomic.FileIO):
        def write(self, data: Any) -> int:
            strike()
            return super().write(data)

    fsync = atomic.os.fsync
    monkeypatch.setattr(atomic, "FileIO", File)
    monkeypatch.setattr(atomic.os, "fsync", lambda fd: (strike(), fsync(fd)))
    write(tmp_path / "counted", few(7), maxcount=3)
    total = calls
    assert total >= 3 * 3 * 3
    for failing in range(total):
        calls = 0
        folder = tmp_path / str(failing)
        with pytest.raises(StorageError):
            write(folder, few(7), maxcount=3)
        recover(folder)
        left = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert left in ({}, expected)


def test_a_watcher_is_left_when_its_shard_fails(tmp_path):
    def failing() -> Any:
        yield "a", few(1)[0].packed, few(1)[0]
        raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        list(cut_shards(failing(), Limits(), lambda _: tmp_path / "a.tar", ManifestWriter(Row)))
    assert list(tmp_path.iterdir()) == []


# --- binding ---------------------------------------------------------------------------------------------------------


def test_a_manifest_is_of_its_own_shard_only(tmp_path):
    (one, manifest), (other, _) = write(tmp_path, few(6), maxcount=3)
    manifest.bind(one)
    for path in manifest_paths(Path(one.url)):
        path.rename(str(path).replace("000.", "001."))
    with pytest.raises(DigestError):
        Manifest.find(other)
    assert Manifest.find(one) is None
    with pytest.raises(UnverifiedError):
        manifest.bind(ShardRef(one.url))
    with pytest.raises(UnverifiedError):
        manifest.bind(ShardRef(one.url, Digest("sha512", "0" * 128)))
    with pytest.raises(ShardError):
        manifest.bind(ShardRef(one.url, one.digest, one.size, samples=4))
    with pytest.raises(ShardError):
        manifest.bind(ShardRef(one.url, one.digest, 5))


def test_half_a_manifest_is_told(tmp_path):
    ((ref, _),) = write(tmp_path, few(2))
    (tmp_path / "000.manifest.parquet").unlink()
    with pytest.raises(ShardNotFoundError):
        Manifest.find(ref)


def test_rows_of_another_manifest_are_told(tmp_path):
    write(tmp_path / "one", few(3))
    write(tmp_path / "other", few(3)[::-1])
    header = (tmp_path / "one" / "000.manifest.json").read_bytes()
    rows = (tmp_path / "other" / "000.manifest.parquet").read_bytes()
    with pytest.raises((DigestError, ShardError)):
        Manifest.read(header, rows)


def test_a_missing_extra_is_told_on_reading_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    parquet._arrow.cache_clear()
    with pytest.raises(MissingExtraError, match="tables"):
        ManifestBuilder(Row)


def test_a_file_of_somebodys_where_a_manifest_would_be_is_not_removed(tmp_path):
    header, rows = manifest_paths(tmp_path / "a.tar")
    for path in (header, rows):
        path.write_text('{"mine": true}')
    atdata.write_samples(few(3), tmp_path / "a.tar")
    assert (header.read_text(), rows.read_text()) == ('{"mine": true}',) * 2
    atdata.write_samples(few(4), tmp_path / "a.tar", overwrite=True)
    assert (header.read_text(), rows.read_text()) == ('{"mine": true}',) * 2
    atdata.write_samples(few(3), tmp_path / "b.tar", manifest=True)
    assert all(path.exists() for path in manifest_paths(tmp_path / "b.tar"))
    remove_manifest(tmp_path / "b.tar")
    assert not any(path.exists() for path in manifest_paths(tmp_path / "b.tar"))
