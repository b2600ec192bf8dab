"""Lenses that a service knows: it is a hint, and each lens is proven from its publisher's own server, and tried, as any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.appview.opening import open_appview
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, RateLimit
from atdata.atmosphere import AtmosphereIndex, LensPublisher, PDSBlobStore, SchemaPublisher
from atdata.atproto.syntax import AtUri
from atdata.errors import CompatibilityError
from atdata.lens import Program
from atdata.replica import Replica
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer, HttpServer, Request
from support.appviews import Asker, follow
from support.networks import fresh_handle
from support.terminal import Terminal


@atdata.packable
class Celsius:
    degrees: float


@atdata.packable
class Warmth:
    warmth: float


RENAME = Program.of({"op": "rename", "field": "degrees", "to": "warmth"})


@dataclass
class Scene:
    """A dataset of one account, a type of another, and a lens of a third, which nobody finds who does not know of it."""

    net: Devnet
    replica: Replica
    front: HttpServer
    ref: str
    lens: AtUri
    third: DevAccount

    def load(self, **options: Any) -> Any:
        client = self.net.client()
        return atdata.load_dataset(self.ref, Warmth, split="train", client=client, **options)


@pytest.fixture
def scene(devnet: Devnet, tmp_path: Path) -> Iterator[Scene]:
    one, other, third = (devnet.create_account(fresh_handle()) for _ in range(3))
    index = AtmosphereIndex(devnet.client(one), data_store=PDSBlobStore(devnet.client(one)))
    rows = atdata.write_samples([Celsius(float(n)) for n in range(3)], tmp_path / "rows.tar")
    entry = index.insert_dataset(rows, name="weather")
    target = SchemaPublisher(devnet.client(other)).publish(Warmth)
    ends = {"source_schema": str(entry.schema_ref), "target_schema": str(target)}
    lens = LensPublisher(devnet.client(third)).publish(name="as warmth", program=RENAME, **ends)
    replica = open_appview(tmp_path / "appview.db")
    follow(replica, devnet, one.did, other.did, third.did)
    with AppViewServer(AppViewService(replica, limit=RateLimit(per_second=0))) as server:
        asker = Asker(server.url)

        def forward(request: Request) -> Answer:
            return Answer((said := asker.send(request.method, request.target)).status, said.body)

        with HttpServer(forward) as front:
            yield Scene(devnet, replica, front, f"@{one.handle}/weather", lens, third)
        asker.close()
    replica.close()


def test_a_lens_of_a_stranger_is_found_by_a_service(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompatibilityError):
        scene.load()
    loaded = scene.load(lenses=[scene.front.url])
    assert [row.warmth for row in loaded] == [0.0, 1.0, 2.0]
    monkeypatch.setenv("ATDATA_APPVIEW_URL", scene.front.url)
    assert [row.warmth for row in scene.load()] == [0.0, 1.0, 2.0]


def test_what_a_service_shows_is_not_used_but_what_the_publisher_has_now(scene: Scene) -> None:
    third = scene.net.client(scene.third)
    LensPublisher(third).update(
        str(scene.lens), program=Program.of({"op": "scale", "field": "degrees", "factor": "2"}) | RENAME
    )
    assert [row.warmth for row in scene.load(lenses=[scene.front.url])] == [0.0, 2.0, 4.0]
    third.records.delete(scene.lens)
    with pytest.raises(CompatibilityError) as error:
        scene.load(lenses=[scene.front.url])
    assert str(scene.lens) in str(error.value)


def test_a_lie_about_a_lens_and_a_service_that_is_gone_stop_nobody(scene: Scene) -> None:
    def forged(_: Request, answer: Answer) -> Answer:
        said = json.loads(answer.body)
        for view in said.get("lenses", []):
            view["name"] = "forged"
        return Answer.json(said)

    scene.front.tamper = forged
    with pytest.raises(CompatibilityError) as error:
        scene.load(lenses=[scene.front.url])
    assert "not in the record" in str(error.value)
    with pytest.raises(CompatibilityError):
        scene.load(lenses=["http://localhost:1"])
    scene.front.tamper = None
    assert len(scene.load(lenses=["http://localhost:1", scene.front.url])) == 3


def test_the_command_line_finds_lenses_by_a_service(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in scene.net.environment.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal(capsys, monkeypatch)
    found = terminal.json("lens", "find", "--service", scene.front.url)
    assert [lens["uri"] for lens in found] == [str(scene.lens)]
    source = found[0]["sourceSchema"]
    assert len(terminal.json("lens", "find", "--service", scene.front.url, "--from", source)) == 1
    assert terminal.json("lens", "find", "--service", scene.front.url, "--from", found[0]["targetSchema"]) == []
