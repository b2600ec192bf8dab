"""References: names in an index of the caller's own, and every address of a dataset on the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.dataset import DatasetDict
from atdata.errors import AtdataError, IdentifierError, NotFoundError, UsageError
from atdata.loading import NameIndex
from atdata.loading.references import parts_of
from atdata.records import Entry
from atdata.shards import FileSource
from atdata.testing import DevAccount
from support.networks import Network


@atdata.packable
class Row:
    n: int


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *numbers: int) -> atdata.Dataset[Row]:
    return atdata.write_samples([Row(number) for number in numbers], f"{name}.tar", overwrite=True)


@dataclass
class Shelf:
    """An index of datasets in memory."""

    held: dict[tuple[str, str], dict[str, atdata.Dataset[Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def load(self, name: str, version: str | None = None, **wanted: Any) -> DatasetDict[Any]:
        self.asked.append(wanted)
        versions = [known for held, known in self.held if held == name and version in (None, known)]
        if not versions:
            raise NotFoundError(f"there is no dataset {name}")
        splits = self.held[name, max(versions)]
        return DatasetDict(splits)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(
        {
            ("mnist", "1.0.0"): {"train": write("old", 1)},
            ("mnist", "1.1.0"): {"train": write("new", 1, 2), "validation": write("val", 3)},
            ("team/a b@c", "1.0.0"): {"train": write("odd", 4)},
        }
    )


def rows(loaded: Any) -> Any:
    if isinstance(loaded, dict):
        return {name: rows(dataset) for name, dataset in loaded.items()}
    return [row.n for row in loaded]


# --- an index of one's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("@local/mnist", {"train": [1, 2], "validation": [3]}),
        ("@local/mnist@1.0.0", {"train": [1]}),
        ("atdata://local/dataset/mnist", {"train": [1, 2], "validation": [3]}),
        ("atdata://local/dataset/mnist@1.0.0", {"train": [1]}),
        ("atdata://local/dataset/team%2Fa%20b%40c", {"train": [4]}),
        ("mnist", {"train": [1, 2], "validation": [3]}),
        ("mnist@1.0.0", {"train": [1]}),
    ],
)
def test_a_name_in_an_own_index(shelf: Shelf, ref: str, expected: Any) -> None:
    assert isinstance(shelf, NameIndex)
    loaded = atdata.load_dataset(ref, index=shelf)
    assert isinstance(loaded, DatasetDict)
    assert rows(loaded) == expected
    assert rows(atdata.load_dataset(ref, split="train", index=shelf)) == expected["train"]
    assert rows(atdata.load_dataset(ref, split="train", index=shelf, streaming=False)) == expected["train"]


def test_what_is_asked_for_reaches_the_index(shelf: Shelf) -> None:
    atdata.load_dataset("@local/mnist", Row, split="train", index=shelf, allow_unverified=True)
    (wanted,) = shelf.asked
    assert wanted == {"sample_type": Row, "allow_unverified": True}


def test_a_split_of_an_own_dataset_goes_by_all_its_names(shelf: Shelf) -> None:
    assert rows(atdata.load_dataset("@local/mnist", split="val", index=shelf)) == [3]
    with pytest.raises(ValueError, match="no split 'test'") as caught:
        atdata.load_dataset("@local/mnist", split="test", index=shelf)
    assert "train, validation" in str(caught.value)


def test_what_an_own_index_has_not(shelf: Shelf) -> None:
    for ref in ("@local/fashion", "@local/mnist@2.0.0", "atdata://local/dataset/fashion", "fashion", "mnist@3.0.0"):
        with pytest.raises(KeyError, match="no dataset"):
            atdata.load_dataset(ref, index=shelf)
    with pytest.raises(FileNotFoundError):
        atdata.load_dataset("fashion.tar", index=shelf)
    with pytest.raises(FileNotFoundError, match="Did you mean '@local/mnist'"):
        atdata.load_dataset("local/mnist")


def test_a_path_that_is_there_wins_over_a_name(shelf: Shelf) -> None:
    Path("mnist").mkdir()
    write("mnist/test-0", 9)
    assert rows(atdata.load_dataset("mnist", Row, index=shelf)) == {"test": [9]}
    assert rows(atdata.load_dataset("@local/mnist", index=shelf))["train"] == [1, 2]
    assert not [wanted for wanted in shelf.asked if wanted["sample_type"]]


def test_an_index_that_finds_nothing_by_name_is_refused(shelf: Shelf) -> None:
    with pytest.raises(UsageError, match="no method load"):
        atdata.load_dataset("@local/mnist", index=object())
    with pytest.raises(UsageError, match="source="):
        atdata.load_dataset("@local/mnist", index=shelf, source=FileSource.of(["new.tar"]))


def test_without_an_index_the_one_of_the_settings_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        atdata.load_dataset("@local/mnist")
    entry = atdata.LocalIndex().insert_dataset(write("one", 1), name="mnist", version="1.0.0")
    atdata.LocalIndex("team.sqlite").insert_dataset(write("two", 2), name="mnist", version="2.0.0")
    forms = ("@local/mnist", "@local/mnist@1.0.0", "atdata://local/dataset/mnist@1.0.0", str(entry.uri))
    for form in forms:
        assert rows(atdata.load_dataset(form)) == {"train": [1]}
    monkeypatch.setenv("ATDATA_INDEX_URL", "team.sqlite")
    assert rows(atdata.load_dataset("@local/mnist", split="train")) == [2]
    with pytest.raises(KeyError):
        atdata.load_dataset("@local/mnist@1.0.0")


# --- what is no dataset ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("atdata://local/schema/Row@1.0.0", "address of a schema"),
        ("atdata://local/sampleSchema/Row", "address of a schema"),
        ("atdata://alice.test/lens/x", "address of a lens"),
        ("local://schemas/my.module.Row@1.0.0", "address of a schema"),
    ],
)
def test_the_address_of_something_else_says_of_what(ref: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        atdata.load_dataset(ref)
    assert "Loader" in str(caught.value)


@pytest.mark.parametrize(
    "ref",
    [
        "https://bsky.app/profile/alice.test",
        "https://bsky.app/profile/did:plc:ewvi7nxzyoun6zhxrhs64oiz/",
        "at://alice.test",
        "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/",
        "at://alice.test/app.bsky.actor.profile/self",
        "at://alice.test/science.alt.dataset.entry",
        "  at://alice.test\u202c",
    ],
)
def test_the_address_of_an_account_says_that_it_is_one(ref: str) -> None:
    with pytest.raises(UsageError, match="address of an account, not of a dataset") as caught:
        atdata.load_dataset(ref)
    assert "'@" in str(caught.value)


def test_what_was_copied_along_with_a_reference_is_left_out(shelf: Shelf) -> None:
    for ref in (
        "@local/mnist@1.0.0 ",
        "\u202a@local/mnist@1.0.0\u202c",
        "\ufeff@local/mnist@1.0.0\n",
        " atdata://local/dataset/mnist@1.0.0",
    ):
        assert [row.n for row in atdata.load_dataset(ref, index=shelf, split="train")] == [1]


@pytest.mark.parametrize("ref", ["@", "@local", "@local/", "@/x", "@alice.test", "@alice.test/", "@alice.test/@1.0.0"])
def test_a_reference_without_a_name_is_refused(ref: str) -> None:
    with pytest.raises(UsageError, match="names no dataset"):
        atdata.load_dataset(ref)


@pytest.mark.parametrize("ref", ["atdata://", "atdata://local/datasets/x", "local://x", "atdata://local/dataset/x@new"])
def test_an_address_that_is_none_is_refused(ref: str) -> None:
    with pytest.raises(IdentifierError):
        atdata.load_dataset(ref)


@given(st.sampled_from(["@", "atdata://", "atdata://local/dataset/", "local://schemas/", ""]), st.text())
def test_no_reference_is_too_strange(start: str, rest: str) -> None:
    try:
        owner, name, _ = parts_of(start + rest)
    except AtdataError:
        return
    assert owner
    assert name


# --- the network -----------------------------------------------------------------------------------------------------


def publish(network: Network, owner: DevAccount, name: str, **facts: Any) -> Entry:
    client = network.client(owner)
    dataset = write(name.replace("/", "-"), *range(4))
    return AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(dataset, name=name, **facts)


def test_every_address_of_a_published_dataset(network: Network, alice: DevAccount) -> None:
    first = publish(network, alice, "rows", version="1.0.0")
    reader = network.client()
    for owner in (alice.handle, alice.did):
        for ref in (f"@{owner}/rows", f"atdata://{owner}/dataset/rows", f"atdata://{owner}/dataset/rows@1.0.0"):
            loaded = atdata.load_dataset(ref, Row, split="train", client=reader)
            assert rows(loaded) == [0, 1, 2, 3]
            assert loaded.entry is not None
            assert loaded.entry.uri.rkey == first.located.rkey  # type: ignore[attr-defined]
    settings = {
        "cache": "elsewhere",
        **{name.removeprefix("ATDATA_").lower(): value for name, value in network.environment.items()},
    }
    settings["allow_loopback"] = True
    assert rows(atdata.load_dataset(f"@{alice.handle}/rows", Row, streaming=False, **settings)) == {
        "train": [0, 1, 2, 3]
    }
    assert len(list(Path("elsewhere").rglob("*.tar"))) == 1


def test_an_odd_name_has_an_address_too(network: Network, alice: DevAccount) -> None:
    publish(network, alice, "my rows@home")
    ref = f"atdata://{alice.handle}/dataset/{quote('my rows@home', safe='')}"
    assert rows(atdata.load_dataset(ref, Row, split="train", client=network.client())) == [0, 1, 2, 3]


def test_a_published_split_goes_by_all_its_names(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    dataset = atdata.write_samples([Row(n) for n in range(4)], "s-%d.tar", maxcount=2)
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    index.insert_dataset(dataset, name="split", metadata={"splits": {"train": [0], "val": [1]}})
    ref, reader = f"@{alice.handle}/split", network.client()
    for name in ("val", "validation", "dev"):
        assert rows(atdata.load_dataset(ref, Row, split=name, client=reader)) == [2, 3]
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        atdata.load_dataset(ref, Row, split="tran", client=reader)


def test_a_name_that_was_mistyped_is_answered(network: Network, alice: DevAccount) -> None:
    publish(network, alice, "fashion-mnist", version="1.0.0")
    reader = network.client()
    with pytest.raises(KeyError, match="Did you mean 'fashion-mnist'"):
        atdata.load_dataset(f"@{alice.handle}/fashon-mnist", client=reader)
    with pytest.raises(KeyError, match=r"1\.0\.0"):
        atdata.load_dataset(f"@{alice.handle}/fashion-mnist@2.0.0", client=reader)
