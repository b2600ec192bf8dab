"""Publishing lenses: the code of both ways, pinned to a commit, or a refusal that says how."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.atmosphere import LensLoader, LensPublisher, SchemaPublisher
from atdata.errors import LensError
from atdata.lens import no_putter
from atdata.testing import DevAccount
from support.networks import Network

CODE = '''
import atdata

@atdata.packable
class Full:
    label: str
    score: float

@atdata.packable
class Simple:
    label: str

@atdata.lens
def simplify(source: Full) -> Simple:
    """Keep the label only."""
    return Simple(label=source.label)

@simplify.putter
def restore(view: Simple, source: Full) -> Full:
    return Full(label=view.label, score=source.score)

@atdata.lens
def one_way(source: Full) -> Simple:
    return Simple(label=source.label)
'''


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def load(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "lenses").mkdir(parents=True)
    (root / "lenses" / "vision.py").write_text(CODE)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "lenses")
    return root


@pytest.fixture
def schemas(network: Network, alice: DevAccount, checkout: Path) -> tuple[Any, Any, Any]:
    client, module = network.client(alice), load(checkout / "lenses" / "vision.py", "vision")
    publisher = SchemaPublisher(client)
    return client, publisher.publish(module.Full), publisher.publish(module.Simple)


def test_from_a_clean_checkout(network: Network, checkout: Path, schemas: tuple[Any, Any, Any]) -> None:
    client, full, simple = schemas
    git(checkout, "remote", "add", "origin", "git@github.com:org/lenses.git")
    module = load(checkout / "lenses" / "vision.py", "vision")
    publisher = LensPublisher(client)
    uri = publisher.publish_from_lens(module.simplify, source_schema=full, target_schema=simple)
    record = LensLoader(network.client()).get(uri)
    commit = git(checkout, "rev-parse", "HEAD")
    assert record["getterCode"] == {
        "repository": "https://github.com/org/lenses.git",
        "commit": commit,
        "path": "lenses/vision.py:simplify",
        "language": "python",
    }
    assert record["putterCode"]["path"] == "lenses/vision.py:restore"
    assert (record.name, record.description) == ("simplify", "Keep the label only.")
    assert publisher.publish_from_lens(module.simplify, source_schema=full, target_schema=simple) == uri
    loader = LensLoader(client)
    assert [lens.uri for lens in loader.find_by_schemas(full, simple)] == [uri]
    assert [lens.uri for lens in loader.find_by_schemas(source_schema_uri=full)] == [uri]
    assert loader.find_by_schemas(source_schema_uri=simple, target_schema_uri=full) == []
    assert [lens["name"] for lens in LensLoader(network.client()).list_all(repo=client.did)] == ["simplify"]


def test_repository_and_commit_may_be_given(checkout: Path, schemas: tuple[Any, Any, Any]) -> None:
    client, full, simple = schemas
    module = load(checkout / "lenses" / "vision.py", "vision")
    pinned = {"repository": "https://tangled.org/me/lenses", "commit": "0123456789" * 4}
    uri = LensPublisher(client).publish_from_lens(module.simplify, source_schema=full, target_schema=simple, **pinned)
    record = LensLoader(client).get(uri)
    assert {name: record["getterCode"][name] for name in pinned} == pinned


def test_what_pins_no_code_is_refused(checkout: Path, schemas: tuple[Any, Any, Any], tmp_path: Path) -> None:
    client, full, simple = schemas
    publisher = LensPublisher(client)
    module = load(checkout / "lenses" / "vision.py", "vision")
    ends = {"source_schema": full, "target_schema": simple}
    with pytest.raises(LensError, match="no putter") as caught:
        publisher.publish_from_lens(module.one_way, **ends)
    assert "@one_way.putter" in str(caught.value)
    with pytest.raises(LensError, match="nothing says where") as caught:
        publisher.publish_from_lens(module.simplify, **ends)  # no remote
    assert "repository=" in str(caught.value)
    git(checkout, "remote", "add", "origin", str(tmp_path / "elsewhere.git"))
    with pytest.raises(LensError, match="strangers can reach"):
        publisher.publish_from_lens(module.simplify, **ends)
    git(checkout, "remote", "set-url", "origin", "https://example.com/lenses.git")
    (checkout / "lenses" / "vision.py").write_text(CODE + "\n# changed\n")
    with pytest.raises(LensError, match="nothing says where") as caught:
        publisher.publish_from_lens(load(checkout / "lenses" / "vision.py", "vision").simplify, **ends)
    assert "in no commit" in str(caught.value)
    outside = tmp_path / "outside.py"
    outside.write_text(CODE)
    with pytest.raises(LensError, match="nothing says where"):
        publisher.publish_from_lens(load(outside, "outside").simplify, **ends)
    code = {"repository": "https://example.com/r", "commit": "abc", "path": "a.py:f"}
    with pytest.raises(LensError, match="must pin a full commit"):
        publisher.publish(name="x", getter_code=code, putter_code=code, **ends)
    with pytest.raises(LensError, match="lacks some of its parts"):
        publisher.publish(name="x", getter_code={}, putter_code=code, **ends)
    assert LensLoader(client).list_all() == []


def test_the_putter_of_a_lens_without_one_refuses() -> None:
    with pytest.raises(LensError, match="no putter"):
        no_putter("a view", "a source")


def test_a_lens_between_published_types_is_used(network: Network, checkout: Path) -> None:
    module = load(checkout / "lenses" / "vision.py", "vision")
    rows = atdata.write_samples([module.Full("a", 1.0), module.Full("b", 2.0)], checkout / "rows.tar")
    seen = list(rows.as_type(module.Simple))
    assert [view.label for view in seen] == ["a", "b"]
