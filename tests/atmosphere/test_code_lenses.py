"""Lenses that are code: not fetched and not run unasked; what is allowed by repository, commit and digest runs alone."""

from __future__ import annotations

import hashlib
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import atdata
from atdata import Shape, load_dataset
from atdata.atmosphere import (
    AllowedCode,
    AtmosphereIndex,
    AtUri,
    LensLoader,
    LensPublisher,
    PDSBlobStore,
    SchemaPublisher,
)
from atdata.atmosphere.code_lenses import code_lens
from atdata.errors import (
    AddressError,
    ArgumentTypeError,
    CodeError,
    CompatibilityError,
    DigestError,
    LensError,
    NetworkError,
    NoHomeError,
    SandboxError,
    UsageError,
)
from atdata.lens import Program, register
from atdata.local import LocalIndex
from atdata.records import CodeReference, LensRecord
from atdata.settings import STRICT
from atdata.testing import DevAccount
from support.git_server import backend, commit, make_repository
from support.hostile import can_lock
from support.networks import Network
from support.rawhttp import RawServer, certificate

FILE = """
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

import atdata
from atdata import Shape
from atdata.errors import NoHomeError

@atdata.packable
class Full:
    label: str
    image: Annotated[NDArray[np.float32], Shape(None, None)]

@atdata.packable
class Simple:
    label: str
    height: int

@atdata.lens
def simplify(source: Full) -> Simple:
    return Simple(source.label[::-1], source.image.shape[0])

@simplify.putter
def restore(view: Simple, source: Full) -> Full:
    if view.height != source.image.shape[0]:
        raise NoHomeError("an image has one height")
    return Full(view.label[::-1], source.image)

def forgets(view: Simple, source: Full) -> Full:
    return Full(view.label[::-1], source.image)

def crashes(view: Simple, source: Full) -> Full:
    import os
    os._exit(1)

def waits(view: Simple, source: Full) -> Full:
    while True:
        pass

def reach(source: Full) -> Simple:
    import os
    os.kill(os.getppid(), 9)
"""
PUT = """
from atdata.errors import NoHomeError
def back(view, source):
    if view.height != len(source.image):
        raise NoHomeError("an image has one height")
    return {"label": view.label[::-1], "image": source.image}
"""


@atdata.packable
class Full:
    label: str
    image: Annotated[NDArray[np.float32], Shape(None, None)]


@atdata.packable
class Simple:
    label: str
    height: int


@atdata.packable
class Other:
    else_: str


SAMPLE, VIEW = Full("cat", np.ones((3, 2), np.float32)), Simple("tac", 3)


COMMIT, DIGEST = "0123456789" * 4, "sha256:" + "0123456789abcdef" * 4
ALLOWED = AllowedCode(f"https://h/r@{COMMIT}", DIGEST)


def record_of(path: str, language: str = "python") -> LensRecord:
    """A record as anybody may write it."""
    code = CodeReference("https://h/r", COMMIT, path, language=language)
    schema = AtUri("at://did:plc:abcdefghijklmnopqrstuvwx/science.alt.dataset.schema/Full:1.0.0")
    return LensRecord(name="x", source_schema=schema, target_schema=schema, getter_code=code, putter_code=code)


def sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Lab:
    """An account with two schemas, and a repository of code on a git server."""

    def __init__(self, client: Any, server: RawServer, head: str, folder: Path) -> None:
        self.client, self.server, self.head, self.folder = client, server, head, folder
        self.url = f"https://127.0.0.1:{server.port}/lenses/.git"
        publisher = SchemaPublisher(client)
        self.schemas = {"source_schema": publisher.publish(Full), "target_schema": publisher.publish(Simple)}

    def code(self, function: str, file: str = "lenses/vision.py", head: str = "") -> dict[str, str]:
        return {"repository": self.url, "commit": head or self.head, "path": f"{file}:{function}"}

    def publish(self, getter: str = "simplify", putter: Any = "restore") -> AtUri:
        back = self.code(putter) if isinstance(putter, str) else putter
        said = {"getter_code": self.code(getter), "putter_code": back}
        return LensPublisher(self.client).publish(name="simplify", **said, **self.schemas)

    def allowed(self, text: str = FILE, **limits: Any) -> AllowedCode:
        return AllowedCode(f"{self.url}@{self.head}", sha256(text), **{"seconds": 120, **limits})


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture
def lab(
    network: Network,
    alice: DevAccount,
    tmp_path: Path,
    tls: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lab]:
    folder = tmp_path / "git" / "lenses"
    head = make_repository(folder, {"lenses/vision.py": FILE, "lenses/back.py": PUT})
    with RawServer(backend(folder.parent), tls=tls[0]) as server:
        client = network.client(alice)
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
        yield Lab(client, server, head, folder)


@pytest.fixture
def loader(network: Network, lab: Lab) -> LensLoader:
    """Somebody else's."""
    return LensLoader(network.client())


@pytest.fixture
def loads(loader: LensLoader, lab: Lab) -> Iterator[Any]:
    """What loads a lens; where the kernel has no sandbox, it is promised that its code is refused."""
    made: list[Any] = []

    def load(uri: AtUri, *allowed: AllowedCode, **types: Any) -> Any:
        if not can_lock():
            with pytest.raises(SandboxError):
                loader.load(uri, allow_code=allowed, **types)
            pytest.xfail("this kernel filters no system calls: the code was refused, as it must be")
        made.append(loader.load(uri, allow_code=allowed, **types))
        return made[-1]

    yield load
    for lens in made:
        lens.close()


def test_allowed_code_runs(lab: Lab, loads: Any) -> None:
    seen = loads(lab.publish(), lab.allowed(), source_type=Full, view_type=Simple)
    assert seen.get(SAMPLE) == VIEW
    assert seen.put(Simple("god", 3), SAMPLE) == Full("dog", SAMPLE.image)
    assert seen.name == "simplify"


def test_types_are_made_of_the_schemas(lab: Lab, loads: Any) -> None:
    seen = loads(lab.publish(), lab.allowed())
    view = seen.get(seen.source_type("cat", SAMPLE.image))
    assert (seen.source_type.__name__, view.label, view.height) == ("Full", "tac", 3)


def test_getter_and_putter_may_be_in_different_files(lab: Lab, loads: Any) -> None:
    uri = lab.publish(putter=lab.code("back", "lenses/back.py"))
    seen = loads(uri, lab.allowed(), lab.allowed(PUT), source_type=Full, view_type=Simple)
    assert seen.put(Simple("god", 3), SAMPLE) == Full("dog", SAMPLE.image)


def test_a_lens_without_a_putter_needs_no_permission_for_one(lab: Lab, loads: Any) -> None:
    seen = loads(lab.publish(putter=None), lab.allowed(), source_type=Full, view_type=Simple)
    assert seen.get(SAMPLE) == VIEW
    with pytest.raises(LensError, match="no putter"):
        seen.put(VIEW, SAMPLE)


def test_a_dataset_is_read_through_it(lab: Lab, loads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["atdata.lens.registry"], "_registry", {})  # what this registers is no other test's
    seen = loads(lab.publish(), lab.allowed(), source_type=Full, view_type=Simple)
    register(seen)
    dataset = atdata.write_samples([SAMPLE] * 5, tmp_path / "full.tar")
    assert list(dataset.as_type(Simple).ordered()) == [VIEW] * 5


class Published:
    """A dataset that the lab published, in a type that its lens leads from."""

    def __init__(self, network: Network, lab: Lab, tmp_path: Path) -> None:
        self.network, self.index = network, LocalIndex(tmp_path / "team.sqlite")
        data = atdata.write_samples([SAMPLE] * 5, tmp_path / "full.tar")
        store = AtmosphereIndex(lab.client, data_store=PDSBlobStore(lab.client))
        store.insert_dataset(data, name="full", schema_ref=str(lab.schemas["source_schema"]))
        self.ref = f"@{lab.client.handle}/full"

    def load(self, *allowed: AllowedCode, **options: Any) -> Any:
        options = {"client": self.network.client(), "index": self.index, "allow_code": allowed, **options}
        return load_dataset(self.ref, Simple, split="train", **options)

    def load_locked(self, *allowed: AllowedCode, **options: Any) -> Any:
        """The same; where the kernel has no sandbox, it is promised that the code is refused."""
        if not can_lock():
            with pytest.raises(CompatibilityError, match="sandbox"):
                self.load(*allowed, **options)
            pytest.xfail("this kernel filters no system calls: the code was refused, as it must be")
        return self.load(*allowed, **options)


@pytest.fixture
def published(network: Network, lab: Lab, tmp_path: Path) -> Iterator[Published]:
    made = Published(network, lab, tmp_path)
    yield made
    made.index.records.database.close()


def test_a_dataset_is_opened_through_code_that_is_allowed(lab: Lab, published: Published) -> None:
    uri = lab.publish()
    with pytest.raises(CompatibilityError, match="it is code, which nobody allowed to run") as raised:
        published.load(allow_code=None)
    assert str(uri) in str(raised.value)
    assert lab.server.connections == 0
    seen = published.load_locked(lab.allowed())
    assert list(seen.ordered()) == [VIEW] * 5
    assert seen.view.lens.put(Simple("god", 3), SAMPLE).packed == Full("dog", SAMPLE.image).packed


def test_nothing_is_fetched_that_no_way_needs(lab: Lab, published: Published) -> None:
    """What is allowed for another type, or where the samples are read as they are."""
    lab.publish()
    options: dict[str, Any] = {"client": published.network.client(), "allow_code": lab.allowed(), "split": "train"}
    assert len(load_dataset(published.ref, Full, **options)) == 5
    with pytest.raises(CompatibilityError):
        load_dataset(published.ref, Other, **options)
    assert lab.server.connections == 0


def test_a_program_is_taken_before_code_that_loses_more(lab: Lab, published: Published) -> None:
    """Without fetching that."""
    lab.publish("simplify", None)
    ends = {"source_schema": str(lab.schemas["source_schema"]), "target_schema": str(lab.schemas["target_schema"])}
    steps = [
        {"op": "drop", "field": "image"},
        {"op": "add", "field": "height", "type": {"type": "integer"}, "value": 3},
    ]
    published.index.publish_schema(Full)
    LensPublisher(lab.client).publish(name="data", program=Program.of(*steps), **ends)
    uri = str(LensLoader(lab.client).list_all()[0].located)
    assert published.load(lab.allowed(), lenses=[uri])[0] == Simple("cat", 3)
    assert lab.server.connections == 0


@pytest.mark.parametrize("lie", ["file", "law", "platform", "server"])
def test_code_that_cannot_be_had_or_breaks_a_law_is_passed_over(
    lab: Lab, published: Published, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the error says why; nothing is read through it."""
    uri = lab.publish("simplify", "forgets" if lie == "law" else "restore")
    allowed = lab.allowed(FILE + "\n") if lie == "file" else lab.allowed()
    if lie == "platform":
        monkeypatch.setattr(sys, "platform", "darwin")
    if lie == "server":
        lab.server.script = lambda _: b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"
    if lie == "law" and not can_lock():
        pytest.xfail("this kernel filters no system calls: no code runs")
    why = {
        "file": "a file of code is not the one that was allowed",
        "law": "the lens simplify breaks the law PutGet",
        "platform": "(platform)",
        "server": "",
    }[lie]
    with pytest.raises(CompatibilityError) as raised:
        published.load(allowed)
    assert f"Passed over: {uri}#" in str(raised.value)
    assert why in str(raised.value)
    assert (lab.server.connections == 0) == (lie == "platform")


def test_code_in_ones_own_index_needs_the_same_permission(lab: Lab, published: Published) -> None:
    ends = {
        "source_schema": published.index.publish_schema(Full),
        "target_schema": published.index.publish_schema(Simple),
    }
    published.index.publish_lens(name="own", getter_code=lab.code("simplify"), putter_code=lab.code("restore"), **ends)
    with pytest.raises(CompatibilityError, match="nobody allowed"):
        published.load()
    assert lab.server.connections == 0
    assert published.load_locked(lab.allowed())[0] == VIEW


@pytest.mark.parametrize("allowed", [True, "https://h/r", [True], {"repository": "x"}])
def test_what_is_no_permission_allows_nothing(published: Published, allowed: Any) -> None:
    with pytest.raises(ArgumentTypeError):
        published.load(allow_code=allowed)


def events_of(work: Any) -> list[str]:
    """The events of the audit that say that something was imported, compiled, run or started."""
    found: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event.split(".")[0] in (
            "import",
            "compile",
            "exec",
            "subprocess",
            "os",
            "pty",
            "pickle",
            "ctypes",
        ):
            found.append(f"{event} {arguments}"[:300])

    sys.addaudithook(watch)
    try:
        work()
    finally:
        watching = False
    return found


def test_code_is_neither_fetched_nor_run_unasked(lab: Lab, loader: LensLoader) -> None:
    uri = lab.publish()
    refused: list[LensError] = []

    def load() -> None:
        for allowed in (None, ()):
            with pytest.raises(LensError, match="not fetched and not run unasked") as caught:
                loader.load(uri, allow_code=allowed)
            refused.append(caught.value)
        loader.get(uri)
        loader.list_all(lab.client.did)
        loader.find_by_schemas(lab.schemas["source_schema"], repo=lab.client.did)

    load()
    events = events_of(load)
    started = ("import", "compile", "exec", "subprocess", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle")
    assert [event for event in events if event.startswith(started)] == []
    assert lab.server.connections == 0
    assert f"{lab.url}@{lab.head}" in str(refused[0])
    assert "AllowedCode(" in str(refused[0])


def test_other_code_than_allowed_is_not_fetched(lab: Lab, loader: LensLoader) -> None:
    uri = lab.publish()
    other = AllowedCode(f"{lab.url}@{'0' * 40}", sha256(FILE))
    elsewhere = AllowedCode(f"https://example.org/lenses@{lab.head}", sha256(FILE))
    for allowed in (other, elsewhere, [other, elsewhere]):
        with pytest.raises(LensError, match="not fetched and not run unasked"):
            loader.load(uri, allow_code=allowed)
    split = lab.publish(putter={**lab.code("restore"), "commit": "0" * 40})
    with pytest.raises(LensError, match="putterCode"):
        loader.load(split, allow_code=lab.allowed())
    assert lab.server.connections == 0


def test_a_file_of_another_digest_is_not_run(lab: Lab, loader: LensLoader) -> None:
    uri = lab.publish()

    def load() -> None:
        with pytest.raises(DigestError, match="not the one that was allowed"):
            loader.load(uri, allow_code=lab.allowed(FILE + "\n"))

    load()
    events = events_of(load)
    assert not [event for event in events if event.startswith(("exec", "compile")) or "python" in event]
    assert lab.server.connections > 0


def test_one_digest_does_not_stand_for_another_file(lab: Lab, loader: LensLoader) -> None:
    uri = lab.publish(putter=lab.code("back", "lenses/back.py"))
    with pytest.raises(DigestError, match=r"back\.py"):
        loader.load(uri, allow_code=lab.allowed())


def test_a_later_commit_is_another(lab: Lab, loader: LensLoader) -> None:
    before = lab.head
    lab.head = commit(lab.folder, {"lenses/vision.py": FILE + "\n# later\n"})
    uri = lab.publish()
    with pytest.raises(LensError, match="not fetched"):
        loader.load(uri, allow_code=AllowedCode(f"{lab.url}@{before}", sha256(FILE)))
    with pytest.raises(DigestError):
        loader.load(uri, allow_code=lab.allowed())


@pytest.mark.parametrize(
    "path",
    [
        "../vision.py:simplify", "/etc/passwd:simplify", "-x.py:simplify", "a/../b.py:f", "vision:simplify", "a.py:",
        "a.py:f()", "a.py:f;g", "a.py:<locals>.f", "a.py:f.", "a.py:__import__('os')", "a b.py:f", "a.py:f\n", ".git/x.py:f",
    ],
)  # fmt: skip
def test_a_place_that_is_no_function_in_a_file(path: str) -> None:
    """Also where only a record of somebody else's can say so."""
    with pytest.raises(LensError, match="not a function in a file of Python"):
        code_lens(record_of(path), ALLOWED, STRICT, Full, Simple)


def test_code_in_another_language() -> None:
    with pytest.raises(LensError, match="rust"):
        code_lens(record_of("a.py:f", "rust"), ALLOWED, STRICT, Full, Simple)


def test_code_that_does_harm_does_none(lab: Lab, loads: Any) -> None:
    seen = loads(lab.publish("reach", None), lab.allowed(), source_type=Full, view_type=Simple)
    with pytest.raises(CodeError, match="the lens simplify"):
        seen.get(SAMPLE)


def test_code_that_breaks_a_law_is_not_used(lab: Lab, loads: Any) -> None:
    with pytest.raises(LensError, match="the lens simplify breaks the law PutGet"):
        loads(lab.publish("simplify", "forgets"), lab.allowed())


@pytest.mark.parametrize(("putter", "reason"), [("crashes", "crash"), ("waits", "time")])
def test_code_that_stops_is_tried_no_further(lab: Lab, loads: Any, putter: str, reason: str) -> None:
    with pytest.raises(CodeError) as caught:
        loads(lab.publish("simplify", putter), lab.allowed(seconds=2 if reason == "time" else 120))
    assert caught.value.reason == reason


def test_where_it_is_not_defined_it_says_so(lab: Lab, loads: Any) -> None:
    seen = loads(lab.publish(), lab.allowed(), source_type=Full, view_type=Simple)
    with pytest.raises(NoHomeError, match="the lens simplify is not defined there"):
        seen.put(Simple("god", 4), SAMPLE)
    assert seen.get(SAMPLE) == VIEW


def test_code_that_cannot_be_loaded(lab: Lab, loads: Any) -> None:
    with pytest.raises(CodeError, match="AttributeError"):
        loads(lab.publish("nowhere", None), lab.allowed())


def test_where_no_sandbox_can_be_had_nothing_is_fetched(
    lab: Lab, loader: LensLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = lab.publish()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="Linux"):
        loader.load(uri, allow_code=lab.allowed())
    assert lab.server.connections == 0


def test_a_class_of_another_schema(lab: Lab, loader: LensLoader) -> None:
    uri = lab.publish()
    with pytest.raises(LensError, match="source_type= is not of the lens's schema"):
        loader.load(uri, allow_code=lab.allowed(), source_type=Simple)
    with pytest.raises(LensError, match="view_type= is not of the lens's schema"):
        loader.load(uri, allow_code=lab.allowed(), view_type=Full)


def test_repositories_on_this_machine_need_the_setting(
    lab: Lab, loader: LensLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = lab.publish()
    record = loader.get(uri)
    with pytest.raises(AddressError, match="not public"):
        code_lens(record, lab.allowed(), STRICT, Full, Simple)
    assert lab.server.connections == 0


# -- the permission


@pytest.mark.parametrize(
    "repository",
    [
        "https://github.com/lab/lenses", "https://github.com/lab/lenses.git", "https://tangled.org/@me.example/lenses",
        "https://git.example:8443/a/b/c", "https://127.0.0.1:1/lenses/.git", "https://codeberg.org/~me/x_y-z",
    ],
)  # fmt: skip
def test_a_permission_names_repository_and_commit(repository: str) -> None:
    allowed = AllowedCode(f"{repository}@{COMMIT}", DIGEST)
    assert (allowed.repository, allowed.commit) == (repository, COMMIT)


@pytest.mark.parametrize(
    "code",
    [
        "", "https://github.com/lab/lenses", f"https://github.com/lab/lenses@{COMMIT[:39]}", f"https://h/r@{COMMIT}0",
        f"https://h/r@{COMMIT.upper()[:-1]}F", "https://h/r@main", "https://h/r@HEAD", f"http://h/r@{COMMIT}", f"git://h/r@{COMMIT}",
        f"ssh://h/r@{COMMIT}", f"git@h:r@{COMMIT}", f"file:///r@{COMMIT}", f"/r@{COMMIT}", f"ext::sh -c id@{COMMIT}",
        f"--upload-pack=id@{COMMIT}", f"https://--upload-pack=x/r@{COMMIT}", f"https://u:p@h/r@{COMMIT}", f"https://u@h/r@{COMMIT}",
        f"https://h/r?x=1@{COMMIT}", f"https://h/r#x@{COMMIT}", f"https://h/../r@{COMMIT}", f"https://h/-r@{COMMIT}",
        f"https://h/r @{COMMIT}", f"https://h/r\n@{COMMIT}", f"https://h/r@{COMMIT}\n", f" https://h/r@{COMMIT}",
        f"https://h/%2e%2e/r@{COMMIT}", f"https://H/r@{COMMIT}", f"HTTPS://h/r@{COMMIT}", f"https:///r@{COMMIT}", f"https://é/r@{COMMIT}",
        f"https://h/r@{COMMIT}@{COMMIT[:3]}", f"https://[::1]/r@{COMMIT}", f"https://h:99999999/r@{COMMIT}",
    ],
)  # fmt: skip
def test_a_permission_of_another_form(code: str) -> None:
    with pytest.raises(UsageError):
        AllowedCode(code, DIGEST)


@pytest.mark.parametrize(
    "digest", ["", "0" * 64, "sha1:" + "0" * 40, DIGEST[:-1], DIGEST + "0", DIGEST.upper(), DIGEST + "\n", "sha256:*"]
)
def test_a_permission_without_a_digest(digest: str) -> None:
    with pytest.raises(UsageError):
        AllowedCode(f"https://h/r@{COMMIT}", digest)


@pytest.mark.parametrize(
    "limits", [{"seconds": 0}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"memory": 1000}, {"memory": "1"}]
)
def test_a_permission_for_what_cannot_run(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AllowedCode(f"https://h/r@{COMMIT}", DIGEST, **limits)


@pytest.mark.parametrize("allowed", [True, "https://h/r", [True], {"repository": "x"}])
def test_a_permission_is_of_its_own_type(lab: Lab, loader: LensLoader, allowed: Any) -> None:
    with pytest.raises((UsageError, TypeError)):
        loader.load(lab.publish(), allow_code=allowed)
    assert lab.server.connections == 0


def test_a_repository_that_does_not_answer(lab: Lab, loader: LensLoader) -> None:
    uri = lab.publish()
    lab.server.script = lambda _: b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"
    with pytest.raises(NetworkError):
        loader.load(uri, allow_code=lab.allowed())
