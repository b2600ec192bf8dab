"""`atdata view`: the page of a dataset on this machine, and its samples, in a process of its own and a real browser."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Doc
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.local import LocalIndex
from support.appviews import Asker, Said
from support.browsers import browser, opened, violations
from support.networks import Devnet, fresh_handle


@atdata.packable
class Leaf:
    number: int
    width: Annotated[float | None, Doc("at its <b>widest</b>")]
    photo: atdata.Image
    spectrum: NDArray[np.float32]


def leaf(number: int) -> Leaf:
    pixels = np.zeros((12, 16, 3), np.uint8)
    pixels[..., number % 3] = 255
    return Leaf(
        number, None if number % 7 == 0 else number / 2, atdata.Image(pixels), np.sin(np.arange(40, dtype="f4"))
    )


def tar(path: Path, samples: list[bytes]) -> str:
    with tarfile.open(path, "w") as made:
        for number, data in enumerate(samples):
            member = tarfile.TarInfo(f"{number:06}.msgpack")
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return str(path)


@contextmanager
def viewed(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[tuple[Asker, Any]]:
    command = [sys.executable, "-m", "atdata", "view", *arguments, "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line, process.communicate()[1]
        asker = Asker(json.loads(line)["url"])
        yield asker, process
        asker.close()
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("leaves")
    atdata.write_samples(map(leaf, range(120)), made / "train-%06d.tar", maxcount=50, manifest=True)
    return made


@pytest.fixture(scope="module")
def leaves(folder: Path) -> Iterator[Asker]:
    with viewed(str(folder)) as (asker, _):
        yield asker


def page(asker: Asker, path: str = "/", status: int = 200, **headers: str) -> str:
    said: Said = asker.send("GET", path, **headers)
    assert said.status == status
    if status != 421:
        assert "default-src 'none'" in said.headers["content-security-policy"]
    return said.body.decode()


def test_the_page_of_a_folder(leaves: Asker, folder: Path):
    shown = page(leaves)
    assert f"<bdi>{folder.name}</bdi>" in shown
    assert "120 samples" in shown
    assert shown.count("data:image/png;base64,") == 8
    assert "As the manifests of all 3 shards say" in shown
    assert "by <a" not in shown


def test_what_it_says_loads_the_dataset(leaves: Asker):
    found = re.search(r"<code>(import atdata.*?)</code>", page(leaves), re.DOTALL)
    assert found is not None
    text = found[1].replace("&#34;", '"').replace(": ...", ": last = len(batch)")
    assert len(text.splitlines()) == 3
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["last"] == 120 % 32


def test_samples_are_paged(leaves: Asker):
    shown = page(leaves, "/samples?from=100")
    assert "Sample 100<" in shown
    assert "Sample 119<" in shown
    assert 'rel="prev" href="/samples?from=76"' in shown
    assert 'rel="next"' not in shown
    assert 'rel="next" href="/samples?from=24"' in page(leaves, "/samples")
    one = page(leaves, "/samples/100")
    assert ">100<" in one
    assert 'href="/samples/99"' in one
    assert 'href="/samples/101"' in one
    assert 'href="/samples/120"' not in page(leaves, "/samples/119")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/samples/120", 404),
        ("/samples/99999999999", 404),
        ("/samples/-1", 400),
        ("/samples/%D9%A3", 400),
        ("/samples?from=1e3", 400),
        ("/samples?from=" + "9" * 5000, 400),
        ("/samples?from=100000", 200),
        ("/nothing", 404),
        ("/search", 404),
    ],
)
def test_what_is_not_there_is_said(leaves: Asker, path: str, status: int):
    page(leaves, path, status)


def test_it_answers_to_names_of_this_machine_alone(leaves: Asker):
    port = leaves.url.rpartition(":")[2]
    page(leaves, host=f"localhost:{port}")
    for host in ("rebound.example", f"rebound.example:{port}", "127.0.0.1", f"127.0.0.1.example:{port}", ""):
        assert "Sample" not in page(leaves, "/samples", 421, host=host)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told(folder: Path, number: int):
    with viewed(str(folder / "train-{000000..000001}.tar")) as (asker, process):
        assert "100 samples" in page(asker)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere.tar"], 4),
        (["@local/none"], 4),
        (["{folder}", "--split", "test"], 4),
        (["{folder}", "--host", "0.0.0.0"], 2),
        (["{folder}", "--host", "192.0.2.1"], 2),
        (["{folder}", "--host", "example.org"], 2),
    ],
)
def test_what_cannot_be_shown_is_said_before(folder: Path, arguments: list[str], code: int):
    command = [argument.format(folder=folder) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "atdata", "view", *command, "--json"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert json.loads(done.stdout)["hint"]


def test_shards_that_are_none_have_a_page_that_says_so(tmp_path: Path):
    (tmp_path / "bad.tar").write_bytes(b"junk" * 1000)
    with viewed(str(tmp_path / "bad.tar")) as (asker, _):
        assert "No samples can be shown" in page(asker)
        assert "No samples can be shown" in page(asker, "/samples")
    with viewed(tar(tmp_path / "odd.tar", [b"\x80", b"\x81\xa1a\xa0", b"\xc1"])) as (asker, _):
        shown = page(asker, "/samples")
        assert ">empty<" in shown
        assert "not valid msgpack" in shown
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    with viewed(str(tmp_path / "empty.tar")) as (asker, _):
        assert "It has no samples." in page(asker)


def test_every_split_is_shown(folder: Path, tmp_path: Path):
    for name, count in (("train", 3), ("test & more", 5)):
        atdata.write_samples(map(leaf, range(count)), tmp_path / name / "a-%06d.tar")
    with viewed(str(tmp_path), "--split", "train") as (asker, _):
        first = page(asker)
        assert "3 samples" in first
        (other,) = re.findall(r'href="(/splits/[^"/]*)"', first)
        shown = page(asker, other)
        assert "5 samples" in shown
        assert "test &amp; more" in shown
        assert f'href="{other}/samples/4"' in shown
        assert 'href="/"' in shown
        assert f'action="{other}/samples"' in page(asker, f"{other}/samples")
        page(asker, f"{other}/samples/5", 404)
        page(asker, "/splits/none", 404)
        page(asker, "/splits/none/samples", 404)


def test_a_dataset_of_ones_own_index_is_shown_with_its_type(folder: Path, tmp_path: Path):
    index = LocalIndex(tmp_path / "index.sqlite")
    index.insert_dataset(
        atdata.Dataset[Leaf](folder / "train-000000.tar"), name="leaves", license="MIT", tags=["green"]
    )
    with viewed("@local/leaves", environment={"ATDATA_INDEX_URL": str(tmp_path / "index.sqlite")}) as (asker, _):
        shown = page(asker)
        assert "at its &lt;b&gt;widest&lt;/b&gt;" in shown
        assert "MIT" in shown
        assert "green" in shown
        assert "50 samples" in shown
        assert "load_dataset(&#34;@local/leaves&#34;, split=&#34;train&#34;)" in shown


def test_a_published_dataset_is_verified_and_shown(devnet: Devnet, folder: Path):
    client = devnet.client(devnet.create_account(fresh_handle()))
    data = atdata.Dataset[Leaf](folder / "train-000000.tar")
    entry = AtmosphereIndex(client, data_store=PDSBlobStore(client)).insert_dataset(data, name="leaves")
    for ref in (f"@{client.handle}/leaves", str(entry.uri)):
        with viewed(ref, environment=devnet.environment) as (asker, _):
            shown = page(asker)
            assert f"@{client.handle}" in shown
            assert "Each was verified" in shown
            assert shown.count("data:image/png;base64,") == 8
            assert 'href="/at/' not in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(leaves: Asker, scheme: str):
    with browser() as chromium, opened(chromium, leaves.url, color_scheme=scheme, bypass_csp=True) as tab:
        for path in ("/", "/samples?from=24", "/samples/1"):
            tab.goto(leaves.url + path)
            assert violations(tab) == []


def test_people_look_at_pictures_and_go_through_samples(leaves: Asker):
    with browser() as chromium, opened(chromium, leaves.url, java_script_enabled=False) as tab:
        picture = tab.locator("img").first
        assert picture.evaluate("image => image.naturalWidth") == 16
        assert picture.bounding_box()["width"] >= 64
        assert tab.locator("svg.line").count() == 8
        tab.get_by_role("link", name="All samples, page by page").click()
        tab.get_by_role("link", name="Samples after").click()
        assert tab.get_by_role("heading", level=1).inner_text() == "Samples from 24"
        tab.get_by_label("From sample").fill("110")
        tab.get_by_role("button", name="Go").click()
        assert tab.locator("ol.cards > li").count() == 10
        tab.get_by_role("link", name="Sample 111").click()
        assert tab.get_by_role("heading", level=1).inner_text() == "Sample 111"
        tab.get_by_role("link", name="Sample after").click()
        assert tab.get_by_role("heading", level=1).inner_text() == "Sample 112"
        tab.set_viewport_size({"width": 340, "height": 700})
        for path in ("/", "/samples", "/samples/3"):
            tab.goto(leaves.url + path)
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
