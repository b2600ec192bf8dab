"""The rows of manifests as other engines read them: with statistics to prune by, compressed; and those of before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest

import atdata
from atdata.errors import LimitError
from atdata.manifest import Manifest, ManifestBuilder, ManifestField, parquet
from atdata.manifest.pages import MAX_FOOTER, check_pages
from atdata.manifest.parquet import GROUP
from atdata.shards import Digest, ShardRef

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")

BEFORE = Path(__file__).parent.parent / "vectors" / "manifest-v1" / "readings.tar"


@atdata.packable
class Reading:
    number: int
    real: float | None
    label: Annotated[str, ManifestField("categorical")]
    flag: bool
    tags: list[str]


def reading(n: int) -> Reading:
    return Reading(n, None if n % 5 == 0 else n / 4, f"label {n % 3}", n % 2 == 0, ["a", "b"][: n % 3])


def written(count: int, sample: Any = reading) -> tuple[bytes, bytes]:
    builder = ManifestBuilder(type(sample(0)))
    for n in range(count):
        builder.add(f"{n:09d}", 512 + 1024 * n, 100, sample(n))
        builder.add_digest(n.to_bytes(32, "big"))
    return builder.finish(Digest.sha256(b"shard"), 1024 * (count + 2))


def test_a_manifest_written_before_is_read_as_it_was() -> None:
    manifest = Manifest.find(ShardRef(str(BEFORE), Digest.of_file(BEFORE)))
    assert manifest is not None
    metadata = pq.read_metadata(BEFORE.with_suffix(".manifest.parquet"))
    assert not metadata.row_group(0).column(0).is_stats_set
    assert list(manifest.column("number")) == list(range(50))
    assert manifest.column("tags") == [reading(n).tags for n in range(50)]
    assert list(atdata.Dataset[Reading](str(BEFORE))) == [reading(n) for n in range(50)]


def test_every_chunk_has_statistics_a_checksum_and_zstd() -> None:
    _, rows = written(3 * GROUP - 7)
    metadata = pq.read_metadata(pa.BufferReader(rows))
    assert [metadata.row_group(n).num_rows for n in range(3)] == [GROUP, GROUP, GROUP - 7]
    for group in range(3):
        samples = [reading(n) for n in range(group * GROUP, min((group + 1) * GROUP, 3 * GROUP - 7))]
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            assert (chunk.compression, chunk.is_stats_set, chunk.statistics.has_min_max) == ("ZSTD", True, True)
            name = chunk.path_in_schema
            if name in ("number", "real", "label", "flag"):
                values = [value for sample in samples if (value := getattr(sample, name)) is not None]
                assert (chunk.statistics.min, chunk.statistics.max) == (min(values), max(values))
                assert chunk.statistics.null_count == len(samples) - len(values)
    assert len(check_pages(rows, "rows")) == 3


def test_other_engines_read_only_the_groups_that_may_match(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(written(5 * GROUP)[1])
    wanted = (ds.field("number") >= 3 * GROUP) & (ds.field("number") < 3 * GROUP + 10)
    (fragment,) = ds.dataset(path).get_fragments()
    assert len(fragment.split_by_row_group()) == 5
    assert len(fragment.split_by_row_group(wanted)) == 1
    polars = pytest.importorskip("polars")
    number = polars.col("number")
    found = polars.scan_parquet(path).filter((number >= 3 * GROUP) & (number < 3 * GROUP + 10)).collect()
    assert found["number"].to_list() == list(range(3 * GROUP, 3 * GROUP + 10))
    assert found["real"].to_list() == [reading(n).real for n in range(3 * GROUP, 3 * GROUP + 10)]


def test_rows_are_smaller_than_their_bytes() -> None:
    _, rows = written(2 * GROUP)
    metadata = pq.read_metadata(pa.BufferReader(rows))
    assert len(rows) < sum(metadata.row_group(n).total_byte_size for n in range(2)) * 0.8


@atdata.packable
class Wordy:
    a: Annotated[str, ManifestField("categorical")]
    b: Annotated[str, ManifestField("categorical")]


def test_groups_grow_where_the_footer_would_be_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP", 8)
    header, rows = written(4000, lambda n: Wordy(f"{n:0500d}", "b" * 500))
    assert int.from_bytes(rows[-8:-4], "little") <= MAX_FOOTER
    assert 8 < pq.read_metadata(pa.BufferReader(rows)).row_group(0).num_rows < 4000
    assert Manifest.read(header, rows).column("a")[7] == f"{7:0500d}"


def test_a_manifest_that_readers_would_refuse_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_FILE", 60_000)
    with pytest.raises(LimitError, match="too large for an entry"):
        written(1000)


@pytest.mark.parametrize("value", [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1.5])
def test_statistics_of_any_float_are_taken(value: float) -> None:
    @atdata.packable
    class Real:
        real: float

    for count in (1, 5):
        header, rows = written(count, lambda n: Real(value if n % 2 == 0 else -0.0))
        assert len(Manifest.read(header, rows)) == count
