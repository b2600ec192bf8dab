"""Ray as its users know it, on a cluster of this machine: work on shards, Ray Data both ways, and Ray Train.

They are skipped where it is not installed.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import find
from numpy.typing import NDArray

import atdata
from atdata import Dataset
from atdata.errors import ConflictError, DigestError, FailedShardsError, SampleError, UsageError
from atdata.manifest import proved_files
from support import mapped
from support.kinds import TABLE, Everything, bits
from support.mapped import Length, Word
from support.optional import Later, need

need("ray")
ray: Any = Later("ray")

ROOT = Path(__file__).parents[2]
SHARDS, EACH = 6, 50

pytestmark = [
    pytest.mark.filterwarnings("default"),  # Ray's own
    pytest.mark.slow,
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster of this machine, which nobody else can reach."""
    paths = [str(Path(atdata.__file__).parents[1]), str(ROOT / "tests")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # elsewhere too it stands for the loopback address
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1",
            include_dashboard=False,
            num_cpus=2,
            object_store_memory=200_000_000,
            log_to_driver=False,
        )
        importlib.import_module("ray.data").DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.fixture
def words(tmp_path: Path) -> Dataset[Word]:
    rows = (Word(f"word {n}", n) for n in range(SHARDS * EACH))
    return atdata.write_samples(rows, tmp_path / "words-%06d.tar", maxcount=EACH)


def places(dataset: Any) -> list[int]:
    return [sample.place for sample in dataset]


def in_sight(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("[!.]*")}


EVERY = list(range(SHARDS * EACH))


# --- map_shards


def tell(home: Path, what: str) -> None:
    (home / "seen").write_text("")
    (home / "told").write_text(what)


def seen(home: Path) -> Counter[int]:
    """The shards that were begun, each as often as it was."""
    return Counter(int(line) // EACH for line in (home / "seen").read_text().split())


def test_the_cluster_writes_what_processes_write(words: Dataset[Word], tmp_path: Path) -> None:
    made = words.map_shards(mapped.measured, tmp_path / "ray" / "made-%d.tar", engine="ray")
    words.map_shards(mapped.measured, tmp_path / "own" / "made-%d.tar", engine="processes")
    assert in_sight(tmp_path / "ray") == in_sight(tmp_path / "own")
    for name in in_sight(tmp_path / "own"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()
    assert list(made) == [Length(n, len(f"word {n}")) for n in EVERY]


def test_a_function_needs_no_module(words: Dataset[Word], tmp_path: Path) -> None:
    made = words.map_shards(lambda some: (Length(w.place, -1) for w in some), tmp_path / "made-%d.tar", engine="ray",
                            sample_type=Length)  # fmt: skip
    assert [length.length for length in made] == [-1] * len(EVERY)


def test_a_worker_killed_five_times_loses_and_doubles_nothing(words: Dataset[Word], tmp_path: Path) -> None:
    tell(tmp_path, "die 125 5")
    made = words.map_shards(partial(mapped.told, tmp_path), tmp_path / "out" / "made-%d.tar", engine="ray")
    assert len((tmp_path / "deaths").read_text().split()) == 5
    assert places(made) == EVERY
    assert seen(tmp_path) == {**dict.fromkeys(range(SHARDS), 1), 2: 6}
    for shard in made.shards:
        proved_files(made.view.source, shard)


def test_a_run_that_goes_on_does_only_what_is_left(words: Dataset[Word], tmp_path: Path) -> None:
    told, out = partial(mapped.told, tmp_path), tmp_path / "out" / "made-%d.tar"
    tell(tmp_path, "fail 125")
    with pytest.raises(FailedShardsError, match="1 of 6 shards failed: 2") as raised:
        words.map_shards(told, out, engine="ray")
    assert (raised.value.uri, raised.value.path) == (words.shards[2].url, "sample 000000125")
    assert in_sight(tmp_path / "out") == set()
    tell(tmp_path, "nothing")
    assert places(words.map_shards(told, out, engine="ray")) == EVERY
    assert seen(tmp_path) == {2: 1}
    tell(tmp_path, "nothing")
    assert places(words.map_shards(told, out, engine="processes")) == EVERY  # whichever engine began
    assert seen(tmp_path) == {}


def test_a_driver_that_is_killed_leaves_nothing_in_sight_and_what_is_done_is_kept(
    words: Dataset[Word], tmp_path: Path
) -> None:
    tell(tmp_path, "sleep 0.02")
    address = ray.get_runtime_context().gcs_address
    program = (
        "import sys, ray, atdata; from functools import partial; from pathlib import Path; from support import mapped\n"
        f"ray.init(address={address!r}, log_to_driver=False)\n"
        f"told, home = partial(mapped.told, Path({str(tmp_path)!r})), {str(tmp_path)!r}\n"
        "words = atdata.Dataset[mapped.Word](home + '/words-*.tar')\n"
        "words.map_shards(told, home + '/out/made-%d.tar', engine='ray', workers=2)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 120
    while not list(tmp_path.glob("out/.atdata-*.work/*.manifest.json")):
        assert time.monotonic() < end
        assert job.poll() is None
        time.sleep(0.01)
    job.kill()
    job.wait()
    time.sleep(3)  # in which Ray ends its workers
    done = len(list(tmp_path.glob("out/.atdata-*.work/*.manifest.json")))
    assert 1 <= done < SHARDS
    assert in_sight(tmp_path / "out") == set()
    tell(tmp_path, "nothing")
    assert (
        places(words.map_shards(partial(mapped.told, tmp_path), tmp_path / "out" / "made-%d.tar", engine="ray"))
        == EVERY
    )
    assert sum(seen(tmp_path).values()) == SHARDS - done


def test_a_shard_that_kills_each_worker_is_named(words: Dataset[Word], tmp_path: Path) -> None:
    tell(tmp_path, "die 125 100")
    with pytest.raises(FailedShardsError, match="1 of 6 shards failed: 2") as raised:
        words.map_shards(partial(mapped.told, tmp_path), tmp_path / "made-%d.tar", engine="ray")
    assert raised.value.actual is not None
    assert raised.value.actual.startswith("WorkerCrashedError")


# --- reading with Ray Data


@atdata.packable
class Reading:
    signal: Annotated[NDArray[np.float32], atdata.Shape(4)]
    picture: Annotated[NDArray[np.uint8], atdata.Shape(2, 3)]
    ragged: NDArray[np.int16]
    name: str
    count: int | None


@pytest.fixture
def readings(tmp_path: Path) -> Dataset[Reading]:
    rows = (
        Reading(np.full(4, n, np.float32), np.full((2, 3), n, np.uint8), np.arange(n % 3, dtype=np.int16), str(n),
                None if n % 2 else n)
        for n in range(100)
    )  # fmt: skip
    return atdata.write_samples(rows, tmp_path / "readings-%d.tar", maxcount=30)


def read_dataset(*given: Any, **options: Any) -> Any:
    from atdata.integrations.ray import read_dataset

    return read_dataset(*given, **options)


def write_dataset(*given: Any, **options: Any) -> Any:
    from atdata.integrations.ray import write_dataset

    return write_dataset(*given, **options)


def test_each_row_is_read_once_as_its_type_says(readings: Dataset[Reading]) -> None:
    rows = sorted(read_dataset(readings).take_all(), key=lambda row: int(row["name"]))
    assert [row["name"] for row in rows] == [sample.name for sample in readings]
    for row, sample in zip(rows, readings, strict=True):
        for name in ("signal", "picture"):
            assert row[name].dtype == getattr(sample, name).dtype
            np.testing.assert_array_equal(row[name], getattr(sample, name))
        assert list(row["ragged"]) == sample.ragged.tolist()
        assert row["count"] == sample.count


def test_batches_are_arrays(readings: Dataset[Reading]) -> None:
    batch = next(iter(read_dataset(readings).iter_batches(batch_size=8)))
    assert (batch["signal"].shape, batch["signal"].dtype) == ((8, 4), np.float32)
    assert (batch["picture"].shape, batch["picture"].dtype) == ((8, 2, 3), np.uint8)


def test_what_is_known_is_known_without_reading(words: Dataset[Word]) -> None:
    for shard in words.shards:  # none of them can be read
        Path(shard.url).write_bytes(b"")
    read = read_dataset(words)
    assert read.schema().names == ["text", "place"]
    assert read.count() == len(EVERY)
    assert read.size_bytes() == sum(shard.size or 0 for shard in words.shards)
    assert sorted(read.input_files()) == [shard.url for shard in words.shards]


def test_some_columns_of_a_reference(words: Dataset[Word], tmp_path: Path) -> None:
    read = read_dataset(str(tmp_path / "words-*.tar"), ["place"], concurrency=1)
    assert sorted(row["place"] for row in read.take_all()) == EVERY
    assert read.schema().names == ["place"]


def test_a_view_is_read_as_it_is_seen(words: Dataset[Word]) -> None:
    seen = words.filter(mapped.is_even).map(mapped.shouted)
    rows = sorted(read_dataset(seen).take_all(), key=lambda row: row["place"])
    assert [row["text"] for row in rows] == [f"WORD {n}" for n in EVERY if n % 2 == 0]


def test_altered_bytes_are_refused(words: Dataset[Word]) -> None:
    altered = Path(words.shards[3].url)
    altered.write_bytes(altered.read_bytes().replace(b"word 151", b"word 051"))
    with pytest.raises(ray.exceptions.RayTaskError) as raised:
        read_dataset(words).take_all()
    assert isinstance(raised.value.as_instanceof_cause(), DigestError)


def test_selected_samples_are_refused(words: Dataset[Word]) -> None:
    with pytest.raises(UsageError, match="Ray reads all samples of each shard"):
        read_dataset(words.take(3))


# --- writing with Ray Data


def test_rows_become_shards_with_digests_and_manifests(words: Dataset[Word], tmp_path: Path) -> None:
    made = write_dataset(read_dataset(words), tmp_path / "out" / "made-%d.tar", Word)
    assert sorted(places(made)) == EVERY
    assert sorted(places(Dataset[Word](f"{tmp_path}/out/made-*.tar"))) == EVERY
    for shard in made.shards:
        proved_files(made.view.source, shard)
    assert not list((tmp_path / "out").glob(".*"))


def test_every_kind_of_field_there_and_back(tmp_path: Path) -> None:
    values = {f"f{number}": find(row.values, lambda _: True) for number, row in enumerate(TABLE.values())}
    ds = atdata.write_samples([Everything(**values)], tmp_path / "a.tar")
    (back,) = write_dataset(read_dataset(ds), tmp_path / "b-%d.tar", Everything)
    assert {name: bits(getattr(back, name)) for name in values} == {name: bits(of) for name, of in values.items()}


def test_rows_without_a_type_are_mappings(words: Dataset[Word], tmp_path: Path) -> None:
    doubled = read_dataset(words).map(lambda row: {"twice": 2 * row["place"]})
    made = write_dataset(doubled, tmp_path / "made-%d.tar", maxcount=20)
    assert sorted(sample["twice"] for sample in made) == [2 * n for n in EVERY]
    assert max(shard.samples for shard in made.shards) == 20


def killed_now_and_then(home: Path, batch: dict[str, Any]) -> dict[str, Any]:
    with (home / "deaths").open("a+") as deaths:
        deaths.seek(0)
        if 125 in batch["place"] and len(deaths.readlines()) < 5:
            deaths.write("x\n")
            deaths.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return batch


def test_tasks_killed_five_times_write_each_row_once(words: Dataset[Word], tmp_path: Path) -> None:
    rows = read_dataset(words).map_batches(partial(killed_now_and_then, tmp_path), batch_size=10)
    made = write_dataset(rows, tmp_path / "out" / "made-%d.tar", Word)
    assert len((tmp_path / "deaths").read_text().split()) == 5
    assert sorted(places(made)) == EVERY
    assert sorted(places(Dataset[Word](f"{tmp_path}/out/made-*.tar"))) == EVERY


def test_of_a_write_that_fails_nothing_is_in_sight(words: Dataset[Word], tmp_path: Path) -> None:
    def fail(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "place": "none"} if row["place"] == 250 else row

    with pytest.raises(ray.exceptions.RayTaskError) as raised:
        write_dataset(read_dataset(words).map(fail), tmp_path / "out" / "made-%d.tar", Word)
    assert isinstance(raised.value.as_instanceof_cause(), SampleError | ray.exceptions.RayTaskError)
    assert list((tmp_path / "out").iterdir()) == []


def test_shards_are_replaced_only_on_demand(words: Dataset[Word], tmp_path: Path) -> None:
    write_dataset(read_dataset(words), tmp_path / "made-%d.tar", Word)
    with pytest.raises(ConflictError, match="exist already"):
        write_dataset(read_dataset(words), tmp_path / "made-%d.tar", Word)
    one = read_dataset(words).filter(lambda row: row["place"] == 7)
    made = write_dataset(one, tmp_path / "made-%d.tar", Word, overwrite=True)
    assert places(made) == places(Dataset[Word](f"{tmp_path}/made-*.tar")) == [7]


def test_no_rows_are_an_error(words: Dataset[Word], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no rows to write"):
        write_dataset(read_dataset(words).filter(lambda row: False), tmp_path / "out" / "made-%d.tar", Word)
    assert in_sight(tmp_path / "out") == set()


# --- Ray Train


def train(config: dict[str, Any]) -> None:
    """Some epochs, of which the last may be left in the middle; notes what each step had."""
    import json

    dataset = Dataset[Word](f"{config['home']}/words-*.tar")
    loader = dataset.loader(batch_size=8, shuffle="global", seed=1)
    if config["state"]:
        loader.load_state_dict(json.loads(Path(config["state"]).read_text()))
    noted: list[list[int]] = []
    for left in reversed(range(config["epochs"])):
        for step, batch in enumerate(loader, 1):
            noted.append([loader.epoch, *batch.place])
            if not left and step == config["stop"]:
                break
    rank = loader.rank
    (Path(config["home"]) / f"{config['name']}-{rank.rank}-of-{rank.world_size}").write_text(
        json.dumps({"noted": noted, "state": loader.state_dict()})
    )


def trained(home: Path, name: str, workers: int, **config: Any) -> tuple[dict[int, list[int]], Path]:
    """The samples of each epoch that the ranks of a run took together, and a state that one of them saved."""
    import json

    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    DataParallelTrainer(
        train,
        train_loop_config={"home": str(home), "name": name, "state": None, "stop": None, "epochs": 1, **config},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(storage_path=str(home / "results")),
    ).fit()
    files = [home / f"{name}-{rank}-of-{workers}" for rank in range(workers)]
    epochs: dict[int, list[int]] = {}
    for file in files:
        for epoch, *taken in json.loads(file.read_text())["noted"]:
            epochs.setdefault(epoch, []).extend(taken)
    state = home / f"{name}-state"
    state.write_text(json.dumps(json.loads(files[0].read_text())["state"]))
    return epochs, state


def test_ranks_share_each_epoch_and_go_on_with_another_number(words: Dataset[Word], tmp_path: Path) -> None:
    begun, state = trained(tmp_path, "begun", 2, epochs=2, stop=5)
    assert sorted(begun[0]) == EVERY
    assert len(begun[1]) == 2 * 5 * 8
    assert begun[1] != begun[0][: 2 * 5 * 8]
    ended, _ = trained(tmp_path, "ended", 1, state=str(state))
    assert [*ended] == [1]
    assert sorted(begun[1] + ended[1]) == EVERY


def test_outside_of_its_workers_ray_train_says_nothing(words: Dataset[Word]) -> None:
    importlib.import_module("ray.train")
    assert str(words.loader(batch_size=8).rank) == "rank 0 of 1"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "ray.md").read_text("utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```py\n")[1:]]
    assert sum(bool(line.strip()) for block in blocks for line in block.splitlines()) <= 15
    atdata.write_samples((Word(f"word {n}", n) for n in range(100)), "words-%06d.tar", maxcount=20)
    namespace = {"__name__": "page", "atdata": atdata, "Word": Word, "measured": mapped.measured}
    for block in blocks:
        if "TorchTrainer" in block:
            pytest.importorskip("torch", reason="the last part of the page needs PyTorch")
            namespace |= {name: getattr(importlib.import_module("ray.train"), name) for name in ("ScalingConfig",)}
            namespace["TorchTrainer"] = importlib.import_module("ray.train.torch").TorchTrainer
            code = block.replace("/data/", f"{tmp_path}/")
        else:
            code = block
        exec(compile(code, "docs/ray.md", "exec", dont_inherit=True), namespace)
    assert len(Dataset[Length]("lengths-*.tar")) == 100
    assert sorted(word.text for word in Dataset[Word]("shouted-*.tar")) == sorted(f"WORD {n}" for n in range(100))
