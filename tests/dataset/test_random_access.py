"""Random access over the network: only what was asked for is fetched, and nothing is given out that is not proved."""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.dataset import Dataset, write_samples
from atdata.dataset.verdict import read_for_verdict
from atdata.errors import DigestError, NetworkError, NotFoundError, SampleError, ShardError, ShardNotFoundError
from atdata.manifest import Manifest, manifest_paths
from atdata.manifest.build import ManifestBuilder
from atdata.samples import DictSample, packable
from atdata.shards import Digest, FileSource, ShardRef, write_shard
from atdata.shards.cache import ShardCache
from atdata.shards.http import HttpSource
from atdata.shards.index import ShardIndex
from atdata.shards.s3 import S3Source
from atdata.shards.verified_files import state_of
from atdata.transport import Transport
from support.rawhttp import FileServer, Request, answer

pytest.importorskip("pyarrow")

EACH = 20
SHARDS = 3


@packable
class Digit:
    image: NDArray[np.uint8]
    label: int


DIGITS = [Digit(np.full((20, 20 + n % 7), n, "u1"), n) for n in range(EACH * SHARDS)]


def no_pause(_seconds: float) -> None:
    """A try follows a try at once."""


class Web(FileServer):
    """Shards and their manifests on one server; `shards` are the references that an entry would give."""

    shards: tuple[ShardRef, ...]
    manifests: list[Manifest]

    def asked(self, end: str = ".tar") -> list[tuple[int, int] | None]:
        """The ranges asked of shards, in the order of their bytes; `None` for a whole one."""
        ranges = [request.headers.get("range") for request in self.requests if request.target.endswith(end)]
        found = [re.fullmatch(r"bytes=(\d+)-(\d+)", given) if given else None for given in ranges]
        return sorted(((int(m[1]), int(m[2]) + 1) if m else None for m in found), key=lambda r: r or (-1, -1))

    def part(self, number: int) -> tuple[int, int]:
        """The range of one sample."""
        manifest, place = self.manifests[number // EACH], number % EACH
        return int(manifest.offsets[place]), int(manifest.offsets[place] + manifest.sizes[place])

    def dataset(self, shards: tuple[ShardRef, ...] | None = None, **options: Any) -> Dataset[Digit]:
        transport = Transport(allow_loopback=True, sleep=no_pause)
        return Dataset[Digit](HttpSource(self.shards if shards is None else shards, transport), **options)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    made = write_samples(DIGITS, tmp_path / "d-%d.tar", maxcount=EACH, manifest=True)
    files = {f"/{path.name}": path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with Web(files=files) as server:
        server.manifests = [manifest for shard in made.shards if (manifest := Manifest.find(shard))]
        server.shards = tuple(pinned(server, ref) for ref in made.shards)
        yield server
    gc.collect()


def pinned(server: FileServer, ref: ShardRef) -> ShardRef:
    """A shard of the server's, with its manifest pinned."""
    paths = manifest_paths(Path(ref.url))
    files = tuple(ShardRef(f"{server.url}/{path.name}", Digest.of_file(path), path.stat().st_size) for path in paths)
    manifest = HttpSource(files, Transport(allow_loopback=True, sleep=no_pause))
    return ShardRef(f"{server.url}/{Path(ref.url).name}", ref.digest, manifest=manifest)


# --- what is fetched -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 7, 19, 20, 59, -1])
def test_one_sample_is_one_range_of_just_its_bytes(web: Web, number: int) -> None:
    assert web.dataset()[number] == DIGITS[number]
    assert web.asked() == [web.part(number % len(DIGITS))]


def test_what_is_here_is_not_asked_for_again(web: Web) -> None:
    data = web.dataset()
    for _ in range(3):
        assert data[7] == DIGITS[7]
        assert data[[7, 7, 7]].label == [7, 7, 7]
    assert web.asked() == [web.part(7)]
    assert len(web.asked(".json")) == len(web.asked(".parquet")) == 1


def test_manifests_are_had_once_per_machine(web: Web) -> None:
    assert [web.dataset()[7] == DIGITS[7] for _ in range(3)] == [True] * 3
    assert len(web.asked(".json")) == len(web.asked(".parquet")) == 1


def test_samples_side_by_side_are_one_range(web: Web) -> None:
    batch = web.dataset()[3:8]
    assert list(batch.samples) == DIGITS[3:8]
    assert web.asked() == [(web.part(3)[0], web.part(7)[1])]


def test_scattered_samples_come_in_the_order_asked_for(web: Web) -> None:
    wanted = [45, 3, 59, 3, 21, 4, -60, 46]
    batch = web.dataset()[wanted]
    assert list(batch.samples) == [DIGITS[n] for n in wanted]
    runs = [(0, 0), (3, 4), (21, 21), (45, 46), (59, 59)]
    assert web.asked() == sorted((web.part(a)[0], web.part(b)[1]) for a, b in runs)


def test_more_than_half_of_a_shard_is_the_whole_shard(web: Web) -> None:
    assert list(web.dataset()[: EACH - 2].samples) == DIGITS[: EACH - 2]
    assert web.asked() == [None]


def test_once_half_was_asked_for_bit_by_bit_the_shard_is_had_whole(web: Web) -> None:
    data = web.dataset()
    assert [data[n] for n in range(EACH)] == DIGITS[:EACH]
    asked = web.asked()
    assert asked[0] is None
    assert asked[1:] == [web.part(number) for number in range(EACH // 2)]
    assert list(data[:EACH].samples) == DIGITS[:EACH]
    assert web.asked() == asked


def test_a_view_of_a_few_samples_reads_them_alone(web: Web) -> None:
    few = [50, 1, 30, 31, 2]
    view = web.dataset().select(few)
    assert list(view) == [DIGITS[n] for n in few]
    assert [sample for batch in view.shuffled(batch_size=2, seed=3) for sample in batch.samples]
    runs = {(1, 2), (30, 31), (50, 50)}
    assert None not in web.asked()
    assert sum(b - a for a, b in web.asked()) <= sum(web.part(b)[1] - web.part(a)[0] for a, b in runs)  # type: ignore[misc]


def test_an_epoch_reads_whole_shards_and_looks_at_no_manifest(web: Web) -> None:
    assert [sample for sample in web.dataset()] == DIGITS  # noqa: C416  list() would ask for the length
    assert web.asked() == [None] * SHARDS
    assert web.asked(".json") == web.asked(".parquet") == []


def test_a_shuffled_epoch_learns_from_headers_how_long_it_is(web: Web) -> None:
    data = web.dataset()
    assert data.shuffled(batch_size=7).__len__() == 9
    assert web.asked() == web.asked(".parquet") == []
    assert {sample.label for sample in data.shuffled(seed=1)} == set(range(len(DIGITS)))
    assert web.asked() == [None] * SHARDS


def test_a_shard_in_the_cache_is_read_there(web: Web) -> None:
    list(web.dataset())
    web.requests.clear()
    data = web.dataset()
    assert data[33] == DIGITS[33]
    assert data.get("000000034") == DIGITS[34]
    assert web.requests == []


def test_a_large_run_is_cut_into_parts(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from atdata.dataset.reading import partial

    monkeypatch.setattr(partial, "MAX_PART", 1000)
    assert list(web.dataset()[3:8].samples) == DIGITS[3:8]
    asked = web.asked()
    assert len(asked) > 2
    assert all(stop - start <= 1000 for start, stop in asked)  # type: ignore[misc]


def test_a_dataset_that_was_sent_to_another_process_reads_by_itself(web: Web) -> None:
    data = web.dataset()
    assert data[7] == DIGITS[7]
    again = pickle.loads(pickle.dumps(data))
    assert again[7] == DIGITS[7]
    assert again[8] == DIGITS[8]


# --- without ranges, without pyarrow, without manifests -----------------------------------------------------------


def test_a_server_without_ranges_is_read_whole(web: Web) -> None:
    web.ranges = False
    data = web.dataset()
    assert data[7] == DIGITS[7]
    assert data[8] == DIGITS[8]
    assert len(web.asked()) == 2  # the range that it did not give, and the shard


def test_without_digests_of_samples_the_whole_shard_is_verified_first(web: Web) -> None:
    bare = tuple(replace(shard, manifest=None) for shard in web.shards)
    web.files["/d-0.tar"] = flipped(web, 3)
    with pytest.raises(DigestError):
        web.dataset(bare)[7]
    assert web.dataset(bare[1:])[7] == DIGITS[EACH + 7]


@pytest.mark.parametrize("kind", [".json", ".parquet"])
def test_a_manifest_that_cannot_be_had_costs_time_only(web: Web, kind: str) -> None:
    for name in [name for name in web.files if name.endswith(kind)]:
        del web.files[name]
    data = web.dataset()
    assert data[7] == DIGITS[7]
    assert data.get("000000034") == DIGITS[34]
    assert len(data) == len(DIGITS)
    assert None in web.asked()


def test_without_pyarrow_shards_are_read_whole_with_the_same_result(web: Web) -> None:
    shards = tuple(
        replace(shard, manifest=HttpSource(shard.manifest.shards, Transport(allow_loopback=True)))  # type: ignore
        for shard in web.shards
    )
    program = f"""
import pickle, sys
sys.modules["pyarrow"] = None
import numpy as np
from numpy.typing import NDArray
import atdata
@atdata.packable
class Digit:
    image: NDArray[np.uint8]
    label: int
source = pickle.loads({pickle.dumps(HttpSource(shards, Transport(allow_loopback=True)))!r})
data = atdata.Dataset[Digit](source)
assert [data[7].label, data.get("000000034").label, len(data), data[[1, 50]].label] == [7, 34, 60, [1, 50]]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert web.asked() == [None] * SHARDS


# --- lies ----------------------------------------------------------------------------------------------------------


def flipped(web: Web, number: int, at: int = -1) -> bytes:
    """A shard of which one byte of a sample is another."""
    body = bytearray(web.files[f"/d-{number // EACH}.tar"])
    start, stop = web.part(number)
    body[start if at == 0 else stop + at] ^= 1
    return bytes(body)


@pytest.mark.parametrize("at", [0, -1, -200])
def test_a_flipped_bit_gives_nothing_out(web: Web, at: int) -> None:
    honest = web.files["/d-0.tar"]
    web.files["/d-0.tar"] = flipped(web, 7, at)
    data = web.dataset()
    for ask in (lambda: data[7], lambda: data[[3, 7]], lambda: data[5:9], lambda: data.get("000000007")):
        with pytest.raises(DigestError) as caught:
            ask()
        assert caught.value.step == "sample digest"
        assert caught.value.uri == f"{web.url}/d-0.tar"
    assert data[3] == DIGITS[3]
    web.files["/d-0.tar"] = honest
    assert data[7] == DIGITS[7], "what was wrong is not kept"


def range_answer(change: Callable[[bytes, str], bytes | list[Any]]) -> Callable[[Web], None]:
    """Answers to ranges that are not what they should be."""

    def tell(web: Web) -> None:
        def script(request: Request) -> Any:
            given = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
            if not given or not request.target.endswith(".tar"):
                return web._file(request)
            body = web.files[request.target]
            start, stop = int(given[1]), int(given[2]) + 1
            return change(body[start:stop], f"bytes {start}-{stop - 1}/{len(body)}")

        web.script = script

    return tell


LIES: dict[str, tuple[Callable[[Web], None], type[Exception] | None]] = {
    "other bytes": (range_answer(lambda part, r: answer(206, bytes(len(part)), content_range=r)), DigestError),
    "a range cut short": (range_answer(lambda part, r: answer(206, part[:-1], content_range=r)), NetworkError),
    "a range too long": (range_answer(lambda part, r: answer(206, part + b"x", content_range=r)), None),
    "another range": (
        range_answer(lambda part, _: answer(206, part, content_range=f"bytes 0-{len(part) - 1}/*")),
        None,
    ),
    "no range named": (range_answer(lambda part, _: answer(206, part)), None),
    "the part as if it were all": (range_answer(lambda part, _: answer(200, part)), None),
    "not satisfiable": (range_answer(lambda _part, _: answer(416)), None),
    "gone": (range_answer(lambda _part, _: answer(404)), None),
    "forbidden": (range_answer(lambda _part, _: answer(403)), None),
    "always busy": (range_answer(lambda _part, _: answer(503)), NetworkError),
}


@pytest.mark.parametrize("lie", LIES)
def test_whatever_a_server_answers_no_wrong_sample_comes_out(web: Web, lie: str) -> None:
    tell, error = LIES[lie]
    tell(web)
    data = web.dataset()
    if error is None:  # the shard itself says
        assert data[7] == DIGITS[7]
        assert None in web.asked()
    else:
        with pytest.raises(error):
            data[7]


def test_cuts_are_not_seen(web: Web) -> None:
    data = web.dataset()
    assert data[7] == DIGITS[7]  # the manifest is here
    web.cuts = [1, -1, 100, None, 0]
    assert data[8] == DIGITS[8]
    assert list(data[[40, 50]].samples) == [DIGITS[40], DIGITS[50]]


def test_a_redirect_is_followed_with_the_range(web: Web) -> None:
    web.files["/moved/d-0.tar"] = web.files.pop("/d-0.tar")

    def script(request: Request) -> Any:
        if request.target == "/d-0.tar":
            return answer(302, location="/moved/d-0.tar")
        return web._file(request)

    web.script = script
    assert web.dataset()[7] == DIGITS[7]
    assert web.asked("/moved/d-0.tar") == [web.part(7)]


@pytest.mark.slow
def test_a_server_that_never_gets_on_is_left(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PATIENCE", "1")
    data = web.dataset()
    assert data[6] == DIGITS[6]
    web.script = lambda _: [answer(206, b"x" * 10, content_range="bytes 11264-11808/22528", content_length=545), 1.0]
    with pytest.raises(NetworkError):
        data[7]


def test_a_shard_that_is_gone_is_told(web: Web) -> None:
    del web.files["/d-1.tar"]
    with pytest.raises(ShardNotFoundError):
        web.dataset()[30]


@pytest.mark.parametrize("kind", [".manifest.json", ".manifest.parquet"])
@pytest.mark.parametrize("how", ["altered", "of another shard", "cut", "longer", "empty"])
def test_a_manifest_that_a_server_swaps_is_refused(web: Web, kind: str, how: str) -> None:
    honest = web.files[f"/d-0{kind}"]
    web.files[f"/d-0{kind}"] = {
        "altered": honest[:100] + bytes([honest[100] ^ 1]) + honest[101:],
        "of another shard": web.files[f"/d-1{kind}"],
        "cut": honest[:-1],
        "longer": honest + b" ",
        "empty": b"",
    }[how]
    with pytest.raises(DigestError) as caught:
        web.dataset()[7]
    assert caught.value.uri == f"{web.url}/d-0{kind}"
    assert web.asked() == []


def test_the_manifest_of_another_shard_is_refused(web: Web) -> None:
    swapped = (replace(web.shards[0], manifest=web.shards[1].manifest), *web.shards[1:])
    for ask in (lambda data: data[7], lambda data: data.get("000000007"), lambda data: data.shuffled(2).__len__()):
        with pytest.raises(DigestError):
            ask(web.dataset(swapped))
    assert web.asked() == []


def forged(web: Web, rows: list[tuple[str, int, int, bytes]]) -> tuple[ShardRef, ...]:
    """The shards, the first with a manifest that its publisher made to lie."""
    builder = ManifestBuilder(Digit)
    for (key, offset, size, digest), sample in zip(rows, DIGITS, strict=False):
        builder.add(key, offset, size, sample)
        builder.add_digest(digest)
    shard = web.shards[0]
    assert shard.digest is not None
    header, body = builder.finish(shard.digest, len(web.files["/d-0.tar"]))
    web.files["/forged.json"], web.files["/forged.parquet"] = header, body
    files = tuple(
        ShardRef(f"{web.url}/forged{end}", Digest.sha256(web.files[f"/forged{end}"])) for end in (".json", ".parquet")
    )
    source = HttpSource(files, Transport(allow_loopback=True, sleep=no_pause))
    return (replace(shard, manifest=source), *web.shards[1:])


def rows_of(web: Web) -> list[tuple[str, int, int, bytes]]:
    first = web.manifests[0]
    columns = zip(first.keys, first.offsets.tolist(), first.sizes.tolist(), first.digests, strict=True)
    return [(key, offset, size, digest.tobytes()) for key, offset, size, digest in columns]


def test_rows_that_point_elsewhere_in_the_shard_are_refused(web: Web) -> None:
    rows = rows_of(web)
    key, offset, size, digest = rows[7]
    rows[7] = key, offset - 512 + 512, size - 1, digest
    with pytest.raises(DigestError, match="sample"):
        web.dataset(forged(web, rows))[7]


def test_a_manifest_that_leaves_samples_out_is_refused_once_the_shard_is_here(web: Web) -> None:
    data = web.dataset(forged(web, rows_of(web)[:-1]))
    assert data[7] == DIGITS[7], "a manifest may leave samples out"
    with pytest.raises(ShardError, match="samples"):
        list(data)


def test_a_manifest_with_places_of_its_own_is_refused_once_the_shard_is_here(web: Web) -> None:
    rows = rows_of(web)
    inner = web.files["/d-0.tar"][rows[3][1] : rows[3][1] + 100]
    rows[3] = rows[3][0], rows[3][1], 100, Digest.sha256(inner).hex and bytes.fromhex(Digest.sha256(inner).hex)
    data = web.dataset(forged(web, rows))
    assert data[7] == DIGITS[7]
    with pytest.raises(SampleError) as caught:  # what is there is no whole sample
        data[3]
    assert "000000003" in str(caught.value)
    with pytest.raises(ShardError, match="elsewhere than its manifest says"):
        list(data)


def test_a_verdict_holds_every_manifest_against_its_shard(web: Web) -> None:
    found = read_for_verdict(web.dataset(samples=60).view)
    size = sum(len(web.files[f"/d-{n}.tar"]) for n in range(SHARDS))
    assert (found.shards, found.bytes, found.samples, found.manifests) == (SHARDS, size, 60, SHARDS)
    with pytest.raises(ShardError, match="other samples than"):
        read_for_verdict(web.dataset(samples=59).view)
    rows = rows_of(web)
    lies = {
        "a sample left out": rows[:-1],
        "another digest": [*rows[:3], (*rows[3][:3], bytes(32)), *rows[4:]],
        "another key": [*rows[:3], ("x", *rows[3][1:]), *rows[4:]],
        "another place": [*rows[:3], (rows[3][0], rows[3][1], 100, rows[3][3]), *rows[4:]],
    }
    for what, lie in lies.items():
        with pytest.raises((ShardError, DigestError), match="manifest"):
            read_for_verdict(web.dataset(forged(web, lie)).view)
        assert what
    swapped = (replace(web.shards[0], manifest=web.shards[1].manifest), *web.shards[1:])
    with pytest.raises(DigestError):
        read_for_verdict(web.dataset(swapped).view)


def test_a_verdict_looks_at_what_the_cache_holds_and_fetches_anew(web: Web, tmp_path: Path) -> None:
    """Each file is altered where it is kept, and the machine believes all to be well."""
    data = web.dataset(cache=tmp_path / "cache")
    read_for_verdict(data.view)
    cache = ShardCache(tmp_path / "cache")
    for file in list(cache.files()):
        content = bytearray(file.path.read_bytes())
        content[-1] ^= 1
        file.path.write_bytes(content)
        cache.verified.record(
            state_of(file.path.stat()),
            Digest("sha256", file.path.stem),
            ShardIndex(np.zeros(0, np.int64), np.zeros(0, np.int64)),
            time.time_ns() + 10**9,
        )
    web.requests.clear()
    assert read_for_verdict(data.view).samples == 60
    assert len(web.requests) == 3 * SHARDS, "each shard and both files of its manifest"
    web.files["/d-1.tar"] = web.files["/d-0.tar"]
    cache.path(web.shards[1].digest).write_bytes(b"?")
    with pytest.raises(DigestError):
        read_for_verdict(data.view)


# --- how many, and by key -----------------------------------------------------------------------------------------


def test_a_claimed_length_is_given_at_once_and_refused_where_it_proves_false(web: Web) -> None:
    true, false, unasked = (web.dataset(samples=count) for count in (60, 59, 59))
    assert (len(true), len(false)) == (60, 59)
    assert web.requests == []
    assert list(true) == DIGITS
    with pytest.raises(ShardError, match="other samples than"):
        list(false)
    with pytest.raises(ShardError, match="other samples than"):
        next(iter(false.shuffled(seed=1)))
    assert [sample for sample in unasked] == DIGITS  # noqa: C416  list() would ask for the length
    assert len(unasked) == 60, "what is known goes before what is claimed"


def test_an_order_never_takes_anybodys_word(web: Web) -> None:
    data = web.dataset(samples=5)
    assert len({sample.label for sample in data.shuffled(seed=1)}) == 60
    assert data.view.extent == 60


def test_a_key_is_found_with_manifests_and_one_range(web: Web) -> None:
    data = web.dataset()
    assert data.get("000000034") == DIGITS[34]
    assert web.asked() == [web.part(34)]
    looked = len(web.requests)
    assert data.get("000000034") == DIGITS[34]
    assert data.get("000000003") == DIGITS[3]
    assert len(web.requests) == looked + 1
    with pytest.raises(NotFoundError):
        data.get("000000060")


def test_a_sample_of_another_type_is_named_by_its_key(web: Web) -> None:
    @packable
    class Other:
        image: str
        label: int

    data = Dataset[Other](HttpSource(web.shards, Transport(allow_loopback=True)))
    with pytest.raises(SampleError) as caught:
        data[7]
    assert "000000007" in str(caught.value)
    assert web.asked() == [web.part(7)]


# --- S3 ------------------------------------------------------------------------------------------------------------


def test_objects_in_a_bucket_are_read_by_range(web: Web) -> None:
    pytest.importorskip("boto3")
    for number in range(SHARDS):
        web.files[f"/bucket/d-{number}.tar"] = web.files[f"/d-{number}.tar"]
    shards = tuple(replace(shard, url=f"s3://bucket/d-{number}.tar") for number, shard in enumerate(web.shards))
    source = S3Source(shards, endpoint_url=web.url, region="us-east-1", credentials=("key", "secret"))
    data = Dataset[Digit](source)
    assert data[7] == DIGITS[7]
    assert list(data[[45, 3, 21]].samples) == [DIGITS[45], DIGITS[3], DIGITS[21]]
    assert web.asked() == sorted(web.part(number) for number in (7, 45, 3, 21))
    web.files["/bucket/d-0.tar"] = flipped(web, 9)
    with pytest.raises(DigestError):
        data[9]
    web.ranges = False
    assert data[50] == DIGITS[50]


def test_a_file_beside_is_no_remote_shard(tmp_path: Path) -> None:
    made = write_samples(DIGITS, tmp_path / "d-%d.tar", maxcount=EACH, manifest=True)
    assert isinstance(made.view.source, FileSource)
    assert made[7] == DIGITS[7]


# --- processes and threads -----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a server runs in a thread
def test_a_forked_process_reads_by_itself(web: Web) -> None:
    data = web.dataset()
    assert data[7] == DIGITS[7]
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int([data[7], data[8], data.get("000000045")] != [DIGITS[7], DIGITS[8], DIGITS[45]])
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [data[7], data[9]] == [DIGITS[7], DIGITS[9]]


def test_threads_may_pick_from_one_dataset(web: Web) -> None:
    data = web.dataset()
    wanted = [(number * 37) % len(DIGITS) for number in range(200)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(data.__getitem__, wanted)) == [DIGITS[number] for number in wanted]
    assert len(web.asked()) <= len(DIGITS) + SHARDS


def test_a_key_is_looked_for_in_what_a_view_has(web: Web) -> None:
    view = web.dataset().select([5, 33])
    assert view.get("000000033") == DIGITS[33]
    with pytest.raises(NotFoundError, match="not in this view"):
        view.get("000000006")
    assert web.asked() == [web.part(33)]


@pytest.mark.parametrize("count", [-1, 1 << 40, 1 << 62, 1 << 80])
def test_a_count_that_no_shard_holds_is_refused(web: Web, count: int) -> None:
    """Else it would decide how long an epoch is before any shard was looked at."""
    header = json.loads(web.files["/d-0.manifest.json"])
    web.files["/many.json"] = json.dumps({**header, "samples": count}).encode()
    file = ShardRef(f"{web.url}/many.json", Digest.sha256(web.files["/many.json"]))
    manifest = HttpSource((file,), Transport(allow_loopback=True, sleep=no_pause))
    data = web.dataset((replace(web.shards[0], manifest=manifest), *web.shards[1:]))
    for ask in (lambda: data.view.extent, lambda: data[-1], lambda: data[7]):
        with pytest.raises(ShardError, match="header"):
            ask()
    assert web.asked() == []


def test_one_key_in_two_shards_is_that_of_the_first(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 10)):
        write_shard(tmp_path / f"{name}.tar", ((f"k{n}", DIGITS[first + n].packed) for n in range(5)))
    assert Dataset[Digit]([tmp_path / "a.tar", tmp_path / "b.tar"]).get("k3") == DIGITS[3]
    assert Dataset[Digit]([tmp_path / "b.tar", tmp_path / "a.tar"]).get("k3") == DIGITS[13]


@pytest.mark.slow
def test_threads_may_read_one_dataset_whose_shards_nobody_has_counted(tmp_path: Path) -> None:
    """Where each shard begins is found out by all of them at once."""
    numbers = list(range(600))

    def read(data: Dataset[DictSample], seed: int) -> list[int]:
        match seed % 3:
            case 0:
                return sorted(row["n"] for batch in data.shuffled(batch_size=50, seed=seed) for row in batch)
            case 1:
                return [row["n"] for row in data]
            case _:
                return [data[number]["n"] for number in numbers]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for attempt in range(3):
            samples = (DictSample({"n": number, "attempt": attempt}) for number in numbers)
            write_samples(samples, tmp_path / str(attempt) / "d-%03d.tar", maxcount=3)
            data = Dataset(f"{tmp_path}/{attempt}/*.tar")
            with ThreadPoolExecutor(12) as pool:
                assert list(pool.map(partial(read, data), range(12))) == [numbers] * 12
            assert len(data) == len(numbers)
    finally:
        sys.setswitchinterval(interval)
