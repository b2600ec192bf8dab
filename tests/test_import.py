"""`import atdata` stays light, and what it exports is what it says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import msgspec
import pytest

import atdata

HEAVY = (
    *(
        "httpcore",
        "h11",
        "certifi",
        "dns",
        "cryptography",
        "boto3",
        "botocore",
        "ssl",
        "socket",
        "http.client",
        "urllib.request",
    ),
    *(
        "asyncio",
        "sqlite3",
        "redis",
        "psycopg",
        "starlette",
        "uvicorn",
        "click",
        "rich",
        "pyarrow",
        "PIL",
        "webdataset",
        "torch",
    ),
)


def imported_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_atdata_imports_no_driver() -> None:
    assert imported_by("import atdata") & {*HEAVY, "numpy", "msgspec", "atdata.samples", "atdata.transport"} == set()


def test_the_command_line_starts_no_threads_for_linear_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import atexit, os, sys
sys.argv = ["atdata", "--version"]
atexit.register(lambda: print("threads", os.environ["OPENBLAS_NUM_THREADS"]))
from atdata.__main__ import main
main()"""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    for chosen in ("1", "2"):  # what somebody has set stays
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.split()[-2:] == ["threads", chosen]
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")


def test_reading_and_writing_files_imports_no_driver(tmp_path) -> None:
    program = (
        "import atdata\n"
        "@atdata.packable\nclass Row:\n    n: int\n"
        f"ds = atdata.write_samples([Row(1)], {str(tmp_path / 'a.tar')!r})\n"
        f"assert atdata.Dataset[Row]({str(tmp_path / 'a.tar')!r}).head() == [Row(1)]"
    )
    used = {"socket", "sqlite3"}  # the ledger of what was proved is a file of SQLite's
    assert imported_by(program) & (set(HEAVY) - used) == set()


def test_the_kernel_imports_without_cryptography() -> None:
    assert "cryptography" not in imported_by(
        "import atdata.atproto.syntax, atdata.atproto.cbor, atdata.atproto.repo.mst"
    )


def test_every_exported_name_is_there() -> None:
    assert sorted(atdata.__all__) == atdata.__all__
    for name in atdata.__all__:
        assert getattr(atdata, name) is not None
    assert set(dir(atdata)) == set(atdata.__all__)


def test_what_founding_documents_import() -> None:
    from atdata import BlobSource  # noqa: F401
    from atdata.atmosphere import (  # noqa: F401
        AtmosphereClient,
        AtmosphereIndex,
        AtUri,
        DatasetLoader,
        DatasetPublisher,
        LensLoader,
        LensPublisher,
        PDSBlobStore,
        SchemaLoader,
        SchemaPublisher,
    )
    from atdata.lens import lens

    assert lens is atdata.lens
    for protocol in (atdata.AbstractIndex, atdata.AbstractDataStore, atdata.DataSource, atdata.IndexEntry):
        assert getattr(protocol, "_is_protocol", False)


def test_no_module_hides_what_its_package_gives() -> None:
    """A module is set as an attribute of its package once it is imported; a name that is found late must be no module's."""
    for init in Path(atdata.__file__).parent.rglob("__init__.py"):
        if "attach(" not in init.read_text():
            continue
        name = ".".join(("atdata", *init.parent.relative_to(Path(atdata.__file__).parent).parts))
        package, modules = import_module(name), {found.name for found in iter_modules([str(init.parent)])}
        at_once = {"lens"} if package is atdata else set()  # the function, which stands there before anybody else comes
        assert {*package.__all__} & modules == at_once, name
        assert set(dir(package)) == set(package.__all__)
        for given in package.__all__:
            assert getattr(package, given) is not None


def test_modules_are_found_in_their_packages() -> None:
    program = "import atdata, atdata.shards\nassert atdata.samples.Image and atdata.shards.tar.Member and atdata.atproto.cid.Cid"
    imported_by(program)
    for absent in ("nothing", "_nothing", "__wrapped__"):
        assert not hasattr(atdata, absent)


def test_values_say_what_they_are_made_of() -> None:
    for room in ("atproto.repo", "replica", "search", "trust"):
        package = import_module(f"atdata.{room}")
        for found in iter_modules(package.__path__):
            for value in vars(import_module(f"atdata.{room}.{found.name}")).values():
                if isinstance(value, type) and issubclass(value, msgspec.Struct):
                    assert set(inspect.signature(value).parameters) == set(value.__struct_fields__)
