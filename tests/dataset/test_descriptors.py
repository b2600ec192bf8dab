"""However few files a process may open, all its datasets together read with that."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import atdata
from atdata.errors import SampleError
from atdata.samples import DictSample

pytestmark = pytest.mark.slow

SCRIPT = """
    import os, resource, sys, threading
    import atdata
    from atdata.errors import LimitError

    files = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    pattern, kept = sys.argv[1] + "/d-*.tar", []

    def opened():
        return len(os.listdir("/proc/self/fd"))

    expected = list(range(600))
    one = atdata.Dataset(pattern)
    assert [sample.n for sample in one] == expected
    assert sorted(sample.n for sample in one.shuffled(seed=1)) == expected
    assert [one[n].n for n in range(600)] == expected
    many = [atdata.Dataset(pattern) for _ in range(6)]
    for number, dataset in enumerate(many):  # all stay, with what they have open
        kept.append(dataset.shuffled(16, seed=number))
        assert sorted(n for batch in kept[-1] for n in batch.columns["n"]) == expected
        assert dataset[599].n == 599
    for samples in zip(*(dataset.shuffled(seed=n) for n, dataset in enumerate(many))):
        assert len(samples) == 6
    single = [atdata.Dataset(f"{sys.argv[1]}/d-{n:03d}.tar") for n in range(300)]
    assert [dataset[1].n for dataset in single] == expected[1::2]
    assert opened() < files * 3 // 4

    failed = []
    def read(dataset, seed):
        try:
            assert sorted(sample.n for sample in dataset.shuffled(seed=seed)) == expected
        except BaseException as error:
            failed.append(error)
    threads = [threading.Thread(target=read, args=(many[n], n)) for n in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed, failed

    others = []
    try:
        while True:
            others.append(open("/dev/null"))
    except OSError:
        pass
    [other.close() for other in others[:4]]
    assert single[0][0].n == 0  # others let go of theirs
    try:
        while True:
            others.append(open("/dev/null"))
    except OSError:
        pass
    try:
        list(atdata.Dataset(f"{sys.argv[1]}/d-000.tar"))
        print("read")
    except LimitError as error:
        print(error.hint)
"""


@pytest.mark.parametrize("files", [64, 256])
def test_three_hundred_shards_and_more_datasets_under_a_low_limit(tmp_path, files):
    atdata.write_samples((DictSample({"n": n}) for n in range(600)), tmp_path / "d-%03d.tar", maxcount=2)
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT), str(tmp_path), str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "read" or "ulimit -n" in done.stdout


def test_what_is_no_sample_is_told(tmp_path):
    with pytest.raises(SampleError, match="only samples") as caught:
        atdata.write_samples([{"n": 1}], tmp_path / "d.tar")  # type: ignore[type-var]
    assert caught.value.path == "sample 0"
    assert "DictSample" in (caught.value.hint or "")
    with pytest.raises(SampleError, match="only samples") as caught:
        atdata.write_samples([DictSample({"n": 1}), None], tmp_path / "d.tar")  # type: ignore[list-item]
    assert caught.value.path == "sample 1"
    assert list(tmp_path.iterdir()) == []


MIXED = """
    import os, resource, sys
    import atdata

    @atdata.packable
    class Row:
        source: int
        number: int
        padding: bytes

    for source in range(40):
        rows = (Row(source, number, bytes(2000)) for number in range(100))
        atdata.write_samples(rows, f"{sys.argv[1]}/m{source}-%03d.tar", maxcount=10)
    sources = [atdata.Dataset[Row](f"{sys.argv[1]}/m{source}-*.tar") for source in range(40)]
    expected = sorted((source, number) for source in range(40) for number in range(100))
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    mixture = atdata.mix([(source, 1 + n % 3) for n, source in enumerate(sources)], stop="all")
    for whole in (mixture, atdata.concat(*sources)):
        found = []
        for batch in whole.shuffled(64, seed=1):
            assert len(os.listdir("/proc/self/fd")) < 96
            found += zip(batch["source"], batch["number"], strict=True)
        assert sorted(found) == expected
"""


def test_the_datasets_of_a_mixture_read_with_few_files_together(tmp_path):
    program = [sys.executable, "-c", textwrap.dedent(MIXED), str(tmp_path)]
    subprocess.run(program, check=True, timeout=300)
