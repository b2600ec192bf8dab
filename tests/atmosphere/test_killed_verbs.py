"""Appending and retracting that are killed at any request: the same command once more makes it whole, and nothing twice.

With ATDATA_TEST_MANY=1 a command is killed at each request that changes something, and the first of each kind; otherwise
at some of them. The checker is the server's
own `listRecords`. A kill that never came fails its test.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from support.networks import Network, fresh_handle, list_records
from support.trials import Trial, killed_at_moment, moments

pytestmark = pytest.mark.slow
pytest.importorskip("pyarrow")

NEW = 3  # blobs of a new shard: itself, and the two files of its manifest


@atdata.packable
class Row:
    n: int


def rows(folder: Path, *numbers: int) -> Any:
    name = folder / f"rows-{'-'.join(map(str, numbers))}.tar"
    return atdata.write_samples([Row(n) for n in numbers], name, overwrite=True)


@pytest.fixture
def trial(network: Network, tmp_path: Path) -> Callable[[], Trial]:
    """Accounts with a version of a dataset, each on a machine of its own."""

    def begin() -> Trial:
        handle = fresh_handle()
        made = Trial(network, network.create_account(handle), tmp_path / handle)
        made.login()
        client = made.client()
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        index.insert_dataset(rows(made.folder, 1, 2), name="rows", version="1.0.0")
        rows(made.folder, 3)
        return made

    return begin


def appending(trial: Trial) -> list[str]:
    return ["index", "append", f"@{trial.account.handle}/rows", str(trial.folder / "rows-3.tar")]


def retracting(trial: Trial) -> list[str]:
    return ["retract", f"@{trial.account.handle}/rows", "--reason", "wrong", "--yes"]


def written(trial: Trial) -> list[int]:
    trial.watch(None)
    return trial.records()


@pytest.mark.parametrize("after", [False, True], ids=["before it is carried out", "after it was carried out"])
def test_appending(trial: Callable[[], Trial], after: bool) -> None:
    control = trial()
    control.watch(None)
    assert control.run(*appending(control)) == 0
    requests = list(control.sent)
    assert control.uploads() == NEW
    assert written(control) == [1, 2, 2]
    for moment in moments(requests, int(after)):
        victim = trial()
        uploads, fired = killed_at_moment(victim, appending(victim), moment, after=after)
        assert fired == 1, f"no kill at {moment}"
        assert written(victim) == [1, 2, 2], f"killed at {moment}"
        assert uploads <= NEW + 1, f"killed at {moment}: more than one blob was sent again"
        assert not list((victim.folder / "data" / "publications").glob("*.json")), "the journal is done with"
        (newest, _) = list_records(victim.account.pds_url, victim.account.did, "science.alt.dataset.label")
        assert newest["value"]["version"] == "1.1.0"


@pytest.mark.parametrize("after", [False, True], ids=["before it is carried out", "after it was carried out"])
def test_retracting(trial: Callable[[], Trial], after: bool) -> None:
    control = trial()
    control.watch(None)
    assert control.run(*retracting(control)) == 0
    requests = list(control.sent)
    assert written(control) == [1, 0, 1]
    for moment in moments(requests, int(after)):
        victim = trial()
        _, fired = killed_at_moment(victim, retracting(victim), moment, after=after)
        assert fired == 1, f"no kill at {moment}"
        assert written(victim) == [1, 0, 1], f"killed at {moment}"
        (label,) = list_records(victim.account.pds_url, victim.account.did, "science.alt.dataset.label")
        assert label["value"]["retraction"]["reason"] == "wrong"
