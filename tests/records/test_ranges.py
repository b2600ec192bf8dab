"""Ranges of versions: what npm's own implementation says of them, and what is none."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import UsageError
from atdata.records import VersionRange
from support.networks import NODE_ROOT, PDS_FOLDER, unavailable

IN = [
    ("1.2.3", "1.2.3"), ("=1.2.3", "1.2.3+build.7"), (">=1.0.0 <2.0.0", "1.0.0"), (">=1.0.0 <2.0.0", "1.999.0"),
    ("1.0.0 - 2.1", "2.1.9"), ("1.x", "1.7.0"), ("1.*.x", "1.7.0"), ("*", "0.0.1"), ("", "3.4.5"), ("~1.2", "1.2.9"),
    ("^1.2.3", "1.9.0"), ("^0.3.1", "0.3.9"), ("^0.0.3", "0.0.3"), ("^1.2.3-beta.2", "1.2.3-beta.4"), ("1.2.3-a", "1.2.3-a"),
    ("<1.0.0 || >=2.0.0", "0.9.9"), ("<1.0.0||>=2.0.0", "2.0.0"), (">= 1.0.0 < 2", "1.5.0"), (">1.2", "1.3.0"), ("<=1.2", "1.2.7"),
]  # fmt: skip
OUT = [
    ("1.2.3", "1.2.4"), (">=1.0.0 <2.0.0", "2.0.0"), (">=1.0.0 <2.0.0", "2.0.0-rc.1"), (">=1.0.0 <2.0.0", "1.5.0-rc.1"), ("*", "1.0.0-a"),
    ("1.x", "2.0.0"), ("~1.2", "1.3.0"), ("^1.2.3", "2.0.0-0"), ("^0.3.1", "0.4.0"), ("^0.0.3", "0.0.4"), ("^1.2.3-beta.2", "1.2.4-beta.2"),
    (">1.2", "1.2.7"), ("<1.2", "1.2.0-a"), (">*", "1.0.0"), ("<x", "0.0.0"), ("1.0.0 - 2.1", "2.2.0"), ("*", "1.0"), ("*", "latest"), ("*", "01.0.0"),
]  # fmt: skip
NONE = [
    "1.2.3.4", "01.0.0", "1.02", "latest", ">", ">=", "^", "1.0.0 -2.0.0", "- 1.0.0", "1.0.0 - ", ">>1", "=>1", "1.0.0,2.0.0", ">=1.0.0, <2", "v1.0.0", "~>1",
    "x.1", "1.x.2", "^*.0.1", "==1.0.0", "!=1.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1..0", "1.0.0 | 2.0.0", ">=1.0.0 and <2", "1.0.0\n", "\t1.0.0", "１.0.0", "1234567890.0.0", "1.0.0 - 2.0.0 - 3.0.0",
]  # fmt: skip


@pytest.mark.parametrize(("text", "version"), IN)
def test_a_version_in_a_range(text: str, version: str) -> None:
    assert version in VersionRange.parse(text)


@pytest.mark.parametrize(("text", "version"), OUT)
def test_a_version_outside_a_range(text: str, version: str) -> None:
    assert version not in VersionRange.parse(text)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        VersionRange.parse(text)
    assert caught.value.actual is not None


def test_a_range_is_shown_as_it_was_written() -> None:
    assert str(VersionRange.parse(">=1.0.0  <2.0.0")) == ">=1.0.0  <2.0.0"
    assert None not in VersionRange.parse("*")


@given(st.text("0123.xX*<>=~^|- ab+v", max_size=20))
def test_any_text_is_a_range_or_is_refused(text: str) -> None:
    try:
        found = VersionRange.parse(text)
    except UsageError:
        return
    assert isinstance("1.0.0" in found, bool)


@pytest.mark.skipif(unavailable() is not None, reason=unavailable() or "")
def test_npm_says_the_same() -> None:
    pairs = sampled(4000, seed=7)
    done = subprocess.run(
        ["node", str(PDS_FOLDER / "ranges.cjs")],
        input="\n".join(map(json.dumps, pairs)),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ATP_NODE_ROOT": str(NODE_ROOT)},
    )
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(theirs) == len(pairs)
    differing = [
        (pair, said)
        for pair, said in zip(pairs, theirs, strict=True)
        if (pair[1] in VersionRange.parse(pair[0])) != said
    ]
    assert differing == []
    assert 300 < sum(theirs) < 3700, "both verdicts are among them"


def sampled(count: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of a range and a version, the same each time."""
    rng = random.Random(seed)

    def number() -> str:
        return str(rng.randrange(4))

    def pre() -> str:
        return rng.choice(["", "", "", "-0", "-1", "-a", "-a.1", "-a.0b", "--", "-A", "-10.2", "-alpha+build", "+5"])

    def partial() -> str:
        parts = [number(), number(), number()]
        known = rng.choice([0, 1, 2, 3, 3, 3])
        parts[known:] = rng.choices("xX*", k=3 - known)
        length = rng.choice([max(known, 1), 3])
        return ".".join(parts[:length]) + (pre() if length == 3 else "")

    def alternative(least: int) -> str:
        simple = [
            rng.choice(["", "=", "<", "<=", ">", ">=", "~", "^"]) + rng.choice(["", "", " "])
            for _ in range(rng.randint(least, 3))
        ]
        return rng.choice([f"{partial()} - {partial()}", *[" ".join(sign + partial() for sign in simple)] * 4])

    def version() -> str:
        return f"{number()}.{number()}.{number()}{pre()}"

    def text() -> str:
        count = rng.choice([1, 1, 2, 3])
        parts = [alternative(min(count - 1, 1)) for _ in range(count)]
        return rng.choice(["||", " || "]).join(parts)

    pairs = ((text(), version()) for _ in itertools.count())
    # Beside one that takes any version npm drops the others, and with them the pre-releases that they name.
    return list(
        itertools.islice(
            (pair for pair in pairs if "||" not in pair[0] or all(VersionRange.parse(pair[0]).alternatives)), count
        )
    )
