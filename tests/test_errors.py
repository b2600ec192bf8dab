"""What every error promises, whatever raises it."""

from __future__ import annotations

import builtins
import contextlib
import copy
import importlib
import pickle
import pkgutil
import re

import pytest

import atdata
from atdata import errors
from atdata.errors import AtdataError, MissingExtraError, RateLimitError, XrpcError

# The tree that the module's docstring draws, a line each: depth, class, the builtin it also is, the module it is in.
LINES = re.findall(
    r"^((?:│   |    )*(?:├── |└── )?)(\w+Error)(?: \((\w+)\))?(?:[^\n`]*\(`([\w.]+)`\))?", errors.__doc__, re.MULTILINE
)
DRAWN = [
    (len(branch) // 4, getattr(importlib.import_module(module or "atdata.errors"), name), builtin)
    for branch, name, builtin, module in LINES
]
CLASSES = [cls for _, cls, _ in DRAWN]

FACTS = {
    "hint": "Do this.",
    "uri": "at://did:web:a.test/x.y.z/1",
    "path": "A.x[3]",
    "step": "record CID",
    "expected": "one",
    "actual": "other",
}


def family(cls: type) -> set[type]:
    return {cls}.union(*map(family, cls.__subclasses__()))


def test_everything_that_is_raised_is_drawn():
    for module in pkgutil.walk_packages(atdata.__path__, "atdata."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(MissingExtraError):
                importlib.import_module(module.name)
    assert {cls for cls in family(AtdataError) if cls.__module__.startswith("atdata.")} == set(CLASSES)


def test_the_drawn_tree_is_the_tree():
    parents: list[type] = []
    for depth, cls, _ in DRAWN:
        del parents[depth:]
        assert [base for base in cls.__mro__ if base in CLASSES] == [cls, *reversed(parents)]
        parents.append(cls)


@pytest.mark.parametrize(("_depth", "cls", "builtin"), DRAWN)
def test_an_error_is_caught_as_the_builtin_a_user_would_catch(_depth, cls, builtin):
    drawn = [getattr(builtins, builtin)] if builtin else []
    own = [base for base in cls.__bases__ if base.__module__ == "builtins"]
    assert own == (drawn or ([Exception] if cls is AtdataError else []))
    assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_says_what_first_and_what_to_do_last(cls):
    lines = str(cls("it broke", **FACTS)).split("\n")
    assert lines[0] == "it broke"
    assert lines[-1] == "Do this."
    assert all(any(str(fact) in line for line in lines) for fact in FACTS.values())
    assert str(cls("it broke")) == "it broke"


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_travels_between_processes_with_its_facts(cls, travel):
    error = cls("it broke", **FACTS)
    back = travel(error)
    assert type(back) is cls
    assert str(back) == str(error)
    assert {name: getattr(back, name) for name in FACTS} == FACTS


@pytest.mark.parametrize("cls", [XrpcError, RateLimitError])
def test_a_servers_answer_travels_with_status_and_name(cls):
    back = pickle.loads(pickle.dumps(cls("refused", status=400, error="InvalidSwap", uri="https://a.test")))
    assert (back.status, back.error, back.uri) == (400, "InvalidSwap", "https://a.test")


def test_facts_are_rendered_at_once_so_that_values_need_not_pickle():
    error = AtdataError("it broke", expected=lambda: None, actual=open)
    assert isinstance(error.expected, str)
    pickle.dumps(error)


def test_an_error_about_text_without_an_encoding_can_still_be_printed():
    assert str(AtdataError("no text", path="a\ud800")).encode() == b"no text\n  path: a\\ud800"


def test_a_missing_driver_names_the_command_that_installs_it():
    error = MissingExtraError.of("s3", "Reading s3://")
    assert str(error).split("\n")[-1] == "Install it with: pip install 'atdata[s3]'"
