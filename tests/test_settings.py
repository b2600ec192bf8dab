"""Each setting: by environment, by argument, by default; and the table that documents them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from atdata import settings
from atdata.errors import UsageError
from atdata.settings import DEFAULT_PLC_URL, Settings

ROWS = re.findall(r"^\| `(ATDATA_\w+)` \| `(\w+)=`", settings.__doc__ or "", re.MULTILINE)

RELEASE = "https://git.test/atdata@" + "0a" * 20

# variable, its text, the argument that says the same, the field, its value
GIVEN = [
    (
        "ATDATA_PLC_URL",
        "http://localhost:2582/",
        {"plc_url": "http://localhost:2582"},
        "plc_url",
        "http://localhost:2582",
    ),
    (
        "ATDATA_RESOLVER_URL",
        "https://a.test/, http://b.test",
        {"resolver_url": "https://a.test,http://b.test/"},
        "resolver_urls",
        ("https://a.test", "http://b.test"),
    ),
    (
        "ATDATA_APPVIEW_URL",
        "https://a.test/, http://b.test",
        {"appview_url": "https://a.test,http://b.test/"},
        "appview_urls",
        ("https://a.test", "http://b.test"),
    ),
    ("ATDATA_ALLOW_LOOPBACK", "1", {"allow_loopback": True}, "allow_loopback", True),
    ("ATDATA_ALLOW_LOOPBACK", "off", {"allow_loopback": False}, "allow_loopback", False),
    ("ATDATA_CACHE", "/tmp/c", {"cache": Path("/tmp/c")}, "cache", Path("/tmp/c")),
    ("ATDATA_INDEX_URL", "redis://db.test", {"index_url": "redis://db.test"}, "index_url", "redis://db.test"),
    ("ATDATA_PATIENCE", "2.5", {"patience": 2.5}, "patience", 2.5),
    ("ATDATA_LEAST_RATE", "1e6", {"least_rate": 1_000_000}, "least_rate", 1e6),
    (
        "ATDATA_PUBLIC_QUERY",
        "download, format",
        {"public_query": "download,format"},
        "public_query",
        ("download", "format"),
    ),
    ("ATDATA_LENS_INTERPRETER", RELEASE, {"lens_interpreter": RELEASE}, "lens_interpreter", RELEASE),
    ("ATDATA_POLICY", "/tmp/p.toml", {"policy": Path("/tmp/p.toml")}, "policy", Path("/tmp/p.toml")),
    ("ATDATA_DATA", "~/d", {"data": "~/d"}, "data", Path.home() / "d"),
]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for variable, _ in ROWS:
        monkeypatch.delenv(variable, raising=False)


def test_the_table_has_every_argument_and_every_argument_a_field():
    assert {argument for _, argument in ROWS} == set(inspect.signature(Settings.of).parameters)
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert {
        f"{argument}s" if argument in ("resolver_url", "appview_url") else argument for _, argument in ROWS
    } == fields
    assert [f"ATDATA_{argument.upper()}" for _, argument in ROWS] == [variable for variable, _ in ROWS]
    assert {variable for variable, *_ in GIVEN} == {variable for variable, _ in ROWS}


@pytest.mark.parametrize(("variable", "text", "argument", "field", "value"), GIVEN)
def test_a_setting_comes_from_its_variable_or_its_argument(monkeypatch, variable, text, argument, field, value):
    assert getattr(Settings.of(**argument), field) == value
    monkeypatch.setenv(variable, text)
    assert getattr(Settings.of(), field) == value


def test_an_argument_wins_over_its_variable(monkeypatch):
    for variable, text, *_ in GIVEN:
        monkeypatch.setenv(variable, text)
    other = RELEASE.replace("git", "other")
    given = Settings.of(
        plc_url="https://plc.test",
        resolver_url="",
        appview_url="",
        allow_loopback=True,
        cache="/tmp/mine",
        data="/tmp/data",
        index_url="/tmp/index",
        patience=1,
        least_rate=2,
        public_query="",
        lens_interpreter=other,
        policy="/tmp/mine.toml",
    )
    folders, policy = (Path("/tmp/mine"), Path("/tmp/data")), Path("/tmp/mine.toml")
    plain = Settings("https://plc.test", (), True, *folders, "/tmp/index", 1, 2, (), other, policy)
    assert given == plain


def test_the_defaults_trust_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    chosen = Settings.of()
    assert chosen.plc_url == DEFAULT_PLC_URL == "https://plc.directory"
    assert chosen.resolver_urls == ()
    assert chosen.allow_loopback is False
    assert tmp_path in chosen.cache.parents
    assert tmp_path in chosen.data.parents
    assert chosen.cache != chosen.data


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ATDATA_ALLOW_LOOPBACK", "2"),
        ("ATDATA_ALLOW_LOOPBACK", "localhost"),
        ("ATDATA_PLC_URL", "plc.directory"),
        ("ATDATA_PLC_URL", "file:///etc"),
        ("ATDATA_RESOLVER_URL", "https://a.test,b.test"),
        ("ATDATA_PLC_URL", "https://bob:word@plc.test"),
        ("ATDATA_RESOLVER_URL", "https://a.test,https://token@b.test"),
        ("ATDATA_APPVIEW_URL", "https://a.test,appview.example.org:443"),
        ("ATDATA_APPVIEW_URL", "https://appview.example.org/?q=1"),
        ("ATDATA_APPVIEW_URL", "https://"),
        ("ATDATA_RESOLVER_URL", "https://a.test:99999"),
        ("ATDATA_PATIENCE", "0"),
        ("ATDATA_PATIENCE", "-1"),
        ("ATDATA_PATIENCE", "inf"),
        ("ATDATA_LEAST_RATE", "nan"),
        ("ATDATA_LEAST_RATE", "10 kB/s"),
        ("ATDATA_LENS_INTERPRETER", "https://git.test/atdata"),
        ("ATDATA_LENS_INTERPRETER", "https://git.test/atdata@main"),
        ("ATDATA_LENS_INTERPRETER", RELEASE.replace("https", "ssh")),
        ("ATDATA_LENS_INTERPRETER", RELEASE.replace("://", "://bob@")),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(UsageError, match=variable):
        Settings.of()
