"""A service with something to look at, over a network of its own, and a browser to look with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

import atdata
from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.appview.previews import PublishedPreviews
from atdata.appview.server import AppViewServer
from atdata.appview.xrpc import AppViewService, RateLimit
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, LensPublisher, PDSBlobStore, VerificationPublisher
from atdata.lens import Program
from atdata.preview import FetchLimits
from atdata.records.nsids import ENTRY, LABEL, LENS_VERIFICATION, SCHEMA
from atdata.replica import Replica
from atdata.samples import Doc, Shape, Unit
from atdata.testing import Devnet
from atdata.trust.reading import LabelerReader
from support.absent import CHROMIUM
from support.ingesting import ingesting, settings_of


@atdata.packable
class RetinaScan:
    image: Annotated[NDArray[np.uint8], Shape(64, 64, names=["y", "x"]), Doc("The scan, in grey.")]
    depth: Annotated[float, Unit("mm"), Doc("How deep below the surface.")]
    eye: str


@atdata.packable
class RetinaScan2:
    image: Annotated[NDArray[np.uint8], Shape(64, 64, names=["y", "x"]), Doc("The scan, in grey.")]
    depth: Annotated[float, Unit("um"), Doc("How deep below the surface.")]
    eye: str
    age: Annotated[int | None, Unit("a"), Doc("Of the person.")]


@atdata.packable
class Slice:
    picture: Annotated[NDArray[np.uint8], Shape(64, 64, names=["y", "x"])]
    depth: Annotated[float, Unit("mm")]
    eye: str


DESCRIPTION = """Scans of the retina of volunteers, by optical coherence tomography.

Taken at three clinics with one protocol: https://example.org/protocol. Faces cannot be told from them."""


@dataclass(frozen=True)
class Site:
    """A service that shows what some accounts of a network published.

    Attributes:
        url: where it is.
        dids: the accounts, by name.
        lens: the address of a lens.
        newest: the address of the second version of a dataset.
        schema: that of the first, of which there are lenses.
        replica: what it shows.
    """

    url: str
    dids: dict[str, str]
    lens: str
    newest: str
    schema: str
    replica: Replica


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A service over a Devnet, with datasets, schemas, lenses, verifications, and records of somebody hostile."""
    replica = open_appview(folder / "appview.db")
    with Devnet() as net:
        upstream = net.pds_servers[0].url.replace("http", "ws", 1)
        with ingesting(replica, net, upstream):
            dids, found = _published(net, folder)
            _waited(lambda: _shown(replica) == _EXPECTED)
            operator.trust_verifier(replica, dids["carol"], "She runs our clinic's tests.", ["automatedTest"])
        labeler = net.create_labeler()
        operator.follow_labeler(replica, labeler.did, "It looks at data.")
        labeler.label(found["newest"], "reviewed")
        LabelerReader(replica, settings_of(net)).read(labeler.did)
        previews = PublishedPreviews(net.client(), FetchLimits())
        service = AppViewService(replica, limit=RateLimit(0), contact="https://example.org/contact", previews=previews)
        with AppViewServer(service) as server:
            yield Site(server.url, dids, **found, replica=replica)
    replica.close()


@contextmanager
def browsing() -> Iterator[Browser]:
    """The browser that is installed."""
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


_EXPECTED = 9


def _published(net: Devnet, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    clients = {name: net.client(net.create_account(f"{name}.test")) for name in ("alice", "bob", "carol", "mallory")}
    dids = {name: str(client.account.session.did) for name, client in clients.items()}
    index = AtmosphereIndex(clients["alice"], data_store=PDSBlobStore(clients["alice"]))
    facts: dict[str, Any] = {
        "description": DESCRIPTION,
        "license": "CC-BY-4.0",
        "tags": ["retina", "optical coherence"],
    }
    rng = np.random.default_rng(7)

    def samples(kind: Any, **more: Any) -> list[Any]:
        return [
            kind(
                image=rng.integers(0, 255, (64, 64), np.uint8), depth=float(n), eye="left" if n % 2 else "right", **more
            )
            for n in range(20)
        ]

    def insert(kind: Any, version: str, **more: Any) -> Any:
        rows = atdata.write_samples(samples(kind, **more), folder / f"{version}.tar")
        return index.insert_dataset(rows, name="retina-scans", version=version, **facts)

    first, second = insert(RetinaScan, "1.0.0"), insert(RetinaScan2, "2.0.0", age=40)
    _little(clients["bob"], folder)
    slices = _little(clients["bob"], folder, "slices", Slice)
    steps = [{"op": "rename", "field": "image", "to": "picture"}]
    lens = LensPublisher(clients["bob"]).publish(
        name="scans as slices",
        source_schema=str(first.schema_ref),
        target_schema=str(slices.schema_ref),
        program=Program.of(*steps),
        description="Shows scans as others call them.",
    )
    for who, verdict in (("carol", "holds"), ("alice", "holds"), ("mallory", "fails")):
        VerificationPublisher(clients[who]).publish(lens, method="automatedTest", verdict=verdict)
    net.host(dids["mallory"]).write(dids["mallory"], hostile(dids["mallory"]))
    return dids, {"lens": str(lens), "newest": str(second.uri), "schema": str(first.schema_ref)}


def _little(client: AtmosphereClient, folder: Path, name: str = "points", kind: Any = None) -> Any:
    index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
    picture = np.zeros((64, 64), np.uint8)
    rows = (
        [atdata.DictSample({"x": n, "y": float(n)}) for n in range(5)] if kind is None else [kind(picture, 1.0, "left")]
    )
    if kind is None:
        return index.insert_dataset(_points(folder), name=name, description="Points in a plane.", license="MIT")
    return index.insert_dataset(atdata.write_samples(rows, folder / f"{name}.tar"), name=name, license="ISC")


@atdata.packable
class PlanePoint:
    x: int
    y: float


def _points(folder: Path) -> Any:
    return atdata.write_samples([PlanePoint(n, float(n)) for n in range(5)], folder / "points.tar")


TRAPS = (
    "<script>window.caught = 1</script>",
    '"><img src=x onerror="window.caught = 2">',
    "</script><script>window.caught = 3</script>",
    "\u202e\u2066turned\u0007\u0000",
)


def hostile(did: str) -> dict[str, Any]:
    """Records that try to be more than text."""
    made, found = {"createdAt": "2026-01-02T00:00:00.000Z"}, dict[str, Any]()
    text = " ".join(TRAPS)
    for number, trap in enumerate((*TRAPS[:3], text)):
        shard = {"url": "javascript:window.caught=4", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}
        storage = {"$type": "science.alt.dataset.storageHttp", "shards": [shard] * 50}
        content = {"type": "object", "properties": {"x": {"type": "integer", "description": trap}}, "required": ["x"]}
        body = {"$type": "science.alt.dataset.schema#jsonSchemaFormat", "draft": "draft-07", "content": content}
        found[f"{SCHEMA}/h{number}"] = {
            "$type": str(SCHEMA), "name": trap[:90], "version": "1.0.0", "schemaType": "jsonSchema", "schema": body,
            "description": trap, **made,
        }  # fmt: skip
        found[f"{ENTRY}/h{number}"] = {
            "$type": str(ENTRY), "name": trap, "schemaRef": f"at://{did}/{SCHEMA}/h{number}", "storage": storage,
            "description": f"{trap}\n\njavascript:alert(1) https://example.org/{trap} " + "w" * 4000, "license": trap,
            "tags": [trap, "x" * 140], **made,
        }  # fmt: skip
        found[f"{LABEL}/h{number}"] = {
            "$type": str(LABEL), "name": trap, "datasetUri": f"at://{did}/{ENTRY}/h{number}", "version": trap[:60], **made,
        }  # fmt: skip
    found[f"{ENTRY}/large"] = {"$type": str(ENTRY), "name": "long", "description": "y" * 900_000, **made}
    found[f"{LENS_VERIFICATION}/h"] = {"$type": str(LENS_VERIFICATION), "lens": f"at://{did}/{ENTRY}/{text}", **made}
    return found


def _shown(replica: Replica) -> int:
    def count(reading: Any) -> int:
        (found,) = reading.sql.first("SELECT count(*) FROM replica_records WHERE kind = ?", ENTRY)
        return int(found)

    return replica.read(count)


def _waited(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)
