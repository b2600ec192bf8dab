"""Promise: on the network of lenses and in policies, an argument of another type than is taken is a typed error that says
what is wrong, and what to do; nothing is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import atdata
from atdata.atmosphere import (
    LensLoader,
    LensPublisher,
    SchemaPublisher,
    VerificationLoader,
    VerificationPublisher,
    law_tests,
)
from atdata.errors import AtdataError, UsageError
from atdata.index.verifications import drafted
from atdata.lens import DataLens, Program
from atdata.policy import Forbid, Policy, Require, Verify
from atdata.testing import Devnet
from support.networks import fresh_handle, get

KEEP = Program.of({"op": "drop", "field": "score"})
CODE = {"repository": "https://example.com/r", "commit": "0" * 40, "path": "a.py:f"}
TRIAL = {"samples": 200, "seed": "7", "space": "Full:1.0.0", "language": "atdata-lens 1"}
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"


@atdata.packable
class Full:
    label: str
    score: float


@atdata.packable
class Simple:
    label: str


@atdata.packable
class Other:
    other: int


class Odd:
    """A class that is nobody's, with what a program has, but of other types."""

    value = cid = 5


GIVEN: dict[str, list[Any]] = {
    "text": ["nonsense"],
    "number": [5, -1],
    "fraction": [0.5],
    "truth": [True],
    "bytes": [b"x"],
    "list": [["x"], [5], (Odd(),), {5}],
    "empty list": [[], ()],
    "map": [{"x": 1}],
    "empty map": [{}],
    "odd map": [{5: 5}, {"x": Odd()}],
    "nothing": [None],
    "object": [Odd(), Odd, Other],
}
MAYBE, NO_MAP = "text, nothing", "map, empty map, nothing"

# What each argument takes, as far as its type goes. All else is refused.
TAKEN: dict[str, dict[str, str]] = {
    "LensPublisher": {"client": ""},
    "LensPublisher.publish": dict.fromkeys(("source_schema", "target_schema"), "")
    | dict.fromkeys(("getter_code", "putter_code", "program"), "nothing")
    | dict.fromkeys(("source_schema_version", "target_schema_version"), "nothing")
    | {"name": "text", "description": MAYBE, "metadata": NO_MAP, "rkey": MAYBE},
    "LensPublisher.publish_from_lens": dict.fromkeys(("lens", "source_schema", "target_schema"), "")
    | dict.fromkeys(("repository", "commit", "name", "description"), MAYBE),
    "LensPublisher.update": dict.fromkeys(("uri", "source_schema", "target_schema"), "")
    | dict.fromkeys(("getter_code", "putter_code"), "")
    | dict.fromkeys(("source_schema_version", "target_schema_version", "program"), "nothing")
    | {"name": "text", "description": MAYBE, "metadata": NO_MAP},
    "LensLoader": {"client": ""},
    "LensLoader.load": {
        "uri": "",
        "allow_code": "empty list, nothing",
        "source_type": "nothing",
        "view_type": "nothing",
    },
    "LensLoader.get": {"uri": ""},
    "LensLoader.list_all": {"repo": "nothing", "limit": "number, nothing"},
    "LensLoader.find_by_schemas": {"source_schema_uri": "", "target_schema_uri": "nothing", "repo": "nothing"},
    "VerificationPublisher": {"client": ""},
    "VerificationPublisher.publish": dict.fromkeys(("lens_uri", "method", "verdict"), "")
    | dict.fromkeys(("code_hash", "proof_ref", "trial", "lens_commit"), "nothing")
    | {"description": MAYBE, "counterexample": NO_MAP},
    "VerificationLoader": {"client": ""},
    "VerificationLoader.get": {"uri": ""},
    "VerificationLoader.list_all": {"repo": "nothing", "limit": "number, nothing"},
    "VerificationLoader.of": {"lens_uri": "", "verifiers": ""},
    "law_tests.lens_of": {"client": "", "record": ""},
    "law_tests.try_lens": {"client": "", "uri": "", "count": "number", "seed": MAYBE},
    "law_tests.publish_test": {"client": "", "tested": "", "description": MAYBE},
    "law_tests.repeat_test": {"client": "", "uri": ""},
    "Policy": dict.fromkeys(("forbid", "require", "verify", "unverified"), "empty list")
    | {"publishers": "nothing", "pins": "empty map", "max_age": "number", "name": "text"},
    "Policy.parse": {"text": "", "name": "text"},
    "Policy.load": {"path": ""},
    "Forbid": {"labels": "list", "labelers": ""},
    "Require": {"labels": "list", "labelers": "", "count": ""},
    "Verify": {"verifiers": "", "methods": "empty list", "count": ""},
}
NUMBERS: dict[str, Any] = {"limit": 5, "count": 5, "max_age": 5}
LISTS: dict[str, Any] = {"labels": ["x"]}


@dataclass
class Bench:
    """Calls that are right, whose arguments are exchanged one by one."""

    calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]]
    account: Any

    @property
    def rev(self) -> str:
        return get(self.account.pds_url, "com.atproto.sync.getLatestCommit", did=self.account.did)["rev"]


@pytest.fixture(scope="module")
def bench(devnet: Devnet) -> Bench:
    account = devnet.create_account(fresh_handle())
    client = devnet.client(account)
    schemas = SchemaPublisher(client)
    ends = {"source_schema": schemas.publish(Full), "target_schema": schemas.publish(Simple)}
    publisher, loader = LensPublisher(client), LensLoader(client)
    verifier, verifications = VerificationPublisher(client), VerificationLoader(client)
    uri = publisher.publish(name="keep", program=KEEP, rkey="keep", **ends)
    tested = law_tests.try_lens(client, uri, count=5)
    said = law_tests.publish_test(client, tested)
    codes = {"getter_code": CODE, "putter_code": CODE, "program": KEEP}
    versions = {"source_schema_version": "1.x", "target_schema_version": "1.x"}
    facts = {"description": "d", "metadata": {"a": 1}}
    rules = {"labels": ("a",), "labelers": (DID,)}
    return Bench(
        {
            "LensPublisher": (LensPublisher, {"client": client}),
            "LensPublisher.publish": (
                publisher.publish,
                {"name": "n", "rkey": "r", **ends, **codes, **versions, **facts},
            ),
            "LensPublisher.publish_from_lens": (
                publisher.publish_from_lens,
                {"lens": DataLens(KEEP, Full, Simple), "name": "m", **ends}
                | dict.fromkeys(("repository", "commit", "description")),
            ),
            "LensPublisher.update": (
                publisher.update,
                {"uri": str(uri), "name": "n", **ends, **codes, **versions, **facts},
            ),
            "LensLoader": (LensLoader, {"client": client}),
            "LensLoader.load": (
                loader.load,
                {"uri": str(uri), "allow_code": None, "source_type": Full, "view_type": Simple},
            ),
            "LensLoader.get": (loader.get, {"uri": str(uri)}),
            "LensLoader.list_all": (loader.list_all, {"repo": account.did, "limit": 3}),
            "LensLoader.find_by_schemas": (
                loader.find_by_schemas,
                {"source_schema_uri": str(ends["source_schema"]), "target_schema_uri": None, "repo": account.did},
            ),
            "VerificationPublisher": (VerificationPublisher, {"client": client}),
            "VerificationPublisher.publish": (
                verifier.publish,
                {"lens_uri": str(uri), "method": "codeReview", "verdict": "fails", "counterexample": {"a": 1}}
                | {"code_hash": {"algorithm": "sha256", "digest": "0a" * 32}, "proof_ref": CODE, "trial": TRIAL}
                | {"description": "d", "lens_commit": None},
            ),
            "VerificationLoader": (VerificationLoader, {"client": client}),
            "VerificationLoader.get": (verifications.get, {"uri": str(said)}),
            "VerificationLoader.list_all": (verifications.list_all, {"repo": account.did, "limit": 3}),
            "VerificationLoader.of": (verifications.of, {"lens_uri": str(uri), "verifiers": [account.did]}),
            "law_tests.lens_of": (law_tests.lens_of, {"client": client, "record": tested.record}),
            "law_tests.try_lens": (law_tests.try_lens, {"client": client, "uri": str(uri), "count": 5, "seed": "s"}),
            "law_tests.publish_test": (
                law_tests.publish_test,
                {"client": client, "tested": tested, "description": "d"},
            ),
            "law_tests.repeat_test": (law_tests.repeat_test, {"client": client, "uri": str(said)}),
            "Policy": (
                Policy,
                {"forbid": (Forbid(**rules),), "require": (Require(**rules),), "verify": (Verify((DID,)),)}
                | {"publishers": (DID,), "pins": {}, "unverified": {"shards"}, "max_age": 0, "name": "n"},
            ),
            "Policy.parse": (Policy.parse, {"text": "", "name": "n"}),
            "Policy.load": (Policy.load, {"path": "/dev/null"}),
            "Forbid": (Forbid, rules),
            "Require": (Require, {**rules, "count": 1}),
            "Verify": (Verify, {"verifiers": (DID,), "methods": ("codeReview",), "count": 1}),
        },
        account,
    )


def test_every_argument_of_every_call_is_tried(bench: Bench) -> None:
    for kind in (LensPublisher, LensLoader, VerificationPublisher, VerificationLoader, Policy):
        methods = {
            f"{kind.__name__}.{name}" for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")
        }
        assert methods <= TAKEN.keys()
    for name, (call, arguments) in bench.calls.items():
        parameters = inspect.signature(call).parameters.values()
        assert (
            {one.name for one in parameters if one.kind is not one.VAR_KEYWORD}
            == arguments.keys()
            == TAKEN[name].keys()
        )


@pytest.mark.parametrize(("name", "argument"), [(name, argument) for name in TAKEN for argument in TAKEN[name]])
def test_another_type_is_refused(bench: Bench, name: str, argument: str) -> None:
    call, arguments = bench.calls[name]
    before = bench.rev
    taken = TAKEN[name][argument].split(", ")
    for kind, values in GIVEN.items():
        meant = {"number": NUMBERS, "list": LISTS}.get(kind)  # of these it takes one
        for value in values:
            if kind in taken and (meant is None or value == meant[argument]):
                continue
            with pytest.raises(AtdataError) as caught:
                call(**{**arguments, argument: value})
            assert caught.value.what
            assert caught.value.hint, f"{kind}: {caught.value}"
    assert bench.rev == before, "nothing is written"


def test_what_is_wrong_is_named(bench: Bench) -> None:
    for name, argument, value, said in (
        ("LensPublisher.publish", "program", "x", "program must be"),
        ("LensPublisher.publish", "program", KEEP.value, "program must be"),
        ("LensPublisher.publish", "metadata", 5, "metadata must be a map"),
        ("LensPublisher.publish", "source_schema_version", 5, "source_schema_version must be text"),
        ("LensPublisher.publish", "getter_code", {**CODE, "branch": 5}, "getter_code.branch must be text"),
        ("LensPublisher.publish_from_lens", "lens", Full, "lens must be of type Lens"),
        ("VerificationPublisher.publish", "method", None, "method must be text"),
        ("VerificationPublisher.publish", "counterexample", 5, "counterexample must be a map"),
        ("VerificationPublisher.publish", "lens_commit", "HEAD", "the version of a lens is a CID"),
        ("VerificationLoader.of", "verifiers", 5, "verifiers must be a list of texts"),
        ("LensLoader.load", "allow_code", "all", "allow_code must be a list of AllowedCode"),
        ("Policy", "verify", Verify((DID,)), "verify must be a list of Verify"),
        ("Policy", "forbid", [Require(("a",), (DID,))], "forbid must be a list of Forbid"),
        ("Policy", "unverified", "shards", "unverified must be a list of texts"),
    ):
        call, arguments = bench.calls[name]
        with pytest.raises(UsageError) as caught:
            call(**{**arguments, argument: value})
        assert caught.value.what.startswith(said)


def test_a_verification_is_checked_before_it_is_looked_up(bench: Bench) -> None:
    """So the same words are refused whether or not they were said before."""
    call, arguments = bench.calls["VerificationPublisher.publish"]
    lens = bench.calls["law_tests.lens_of"][1]["record"]
    said = {name: value for name, value in arguments.items() if name != "lens_uri"}
    assert drafted(lens, **said).method == "codeReview"
    for wrong in ({"counterexample": {"x": 0.5}}, {"description": "\ud800"}, {"verdict": "holds"}):
        with pytest.raises(AtdataError) as caught:
            drafted(lens, **{**said, **wrong})
        assert (caught.value.path or "").partition(".")[0] in {*wrong, "verdict"}
        assert caught.value.hint
        with pytest.raises(type(caught.value)):
            call(**{**arguments, **wrong})
