"""Strangers' text on a real terminal: it is shown as what it is, whatever it is, by every verb."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import atdata
from atdata.atmosphere import AtmosphereIndex, PDSBlobStore
from atdata.errors import AtdataError, NotFoundError
from atdata.local import LocalIndex
from atdata.plain import plain
from atdata.redaction import redacted
from atdata.samples import DictSample, SampleBatch
from atdata.testing import DevAccount, Devnet
from support.networks import fresh_handle
from support.terminal import Screen

pytestmark = pytest.mark.slow

FORGED = "✓ verified, FORGED"

HOSTILE = {
    "link": "\x1b]8;;https://evil.example\x07FORGED\x1b]8;;\x07",
    "link, ended by ST": "\x1b]8;;https://evil.example\x1b\\FORGED\x1b]8;;\x1b\\",
    "clipboard": "a\x1b]52;c;cm0gLXJmIH4=\x07",
    "title": "a\x1b]0;root\x07",
    "clear": "a\x1b[2J\x1b[HFORGED",
    "colour": "a\x1b[35;45mFORGED",
    "conceal": "a\x1b[8mFORGED",
    "cursor up": "a\x1b[3AFORGED",
    "device report": "a\x1b[6n\x1b[c",
    "DCS": "a\x1bP$q\x1b\\",
    "APC": "a\x1b_G\x1b\\",
    "alternate screen": "a\x1b[?1049h",
    "reset": "a\x1bc",
    "C1 CSI": "a\x9b2J",
    "C1 OSC": "a\x9d0;root\x9c",
    "C1 NEL": f"a\x85{FORGED}",
    "line feed": f"a\n{FORGED}",
    "CR LF": f"a\r\n{FORGED}",
    "carriage return": f"a\r{FORGED}",
    "vertical tab": f"a\x0b{FORGED}",
    "form feed": f"a\x0c{FORGED}",
    "line separator": f"a\u2028{FORGED}",
    "paragraph separator": f"a\u2029{FORGED}",
    "tab": "a\tb",
    "backspace": "a\x08\x08FORGED",
    "bell": "a\x07",
    "delete": "a\x7f",
    "shift out": "a\x0elqk\x0f",
    "override": "a\u202egnp.exe",
    "isolate": "a\u2066b\u2069",
    "marks of direction": "a\u200eb\u200fc\u061cd",
    "no width": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "soft hyphen": "pay\u00adpal",
    "variation selectors": "a\ufe0fb\U000e0100c",
    "tags": "a\U000e0041\U000e0042\U000e007f",
    "fillers": "a\u115fb\u1160c\u3164d\uffa0e",
    "joiner": "a\u034fb\u180eb",
    "private and not assigned": "a\ue000b\U0010fffdc\U000e0fffd",
    "mark on nothing": "\u0338a",
    "markup": "[link=https://evil.example]FORGED[/link] [bold red]b[/]",
    "closing markup": "a[/b]c",
    "emoji code": "a:warning:b",
    "annotation": "a\ufff9b\ufffac\ufffbd",
    "surrogate": "a\udc9bb\ud800c",
    "right to left": "שלום עולם",
    "very long": "x" * 20_000,
}
PLAIN = {"markup", "closing markup", "emoji code", "right to left", "very long"}


@atdata.packable
class Row:
    x: NDArray[np.float32]
    n: int


@pytest.fixture(scope="module")
def alice(devnet: Devnet) -> DevAccount:
    return devnet.create_account(fresh_handle())


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, devnet: Devnet, tmp_path: Path) -> Screen:
    for name, value in devnet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ATDATA_PASSWORD", "nobody asks for it here")
    monkeypatch.chdir(tmp_path)
    return Screen(monkeypatch)


def check(screen: Screen, text: str) -> None:
    """That the terminal got nothing of the text but what can be seen, and that no line is of its making."""
    shown = screen.text
    seen = {character for character in shown if character not in "\r\n" and plain(f"a{character}") != f"a{character}"}
    assert not seen, f"{sorted(map(hex, map(ord, seen)))} in {shown!r}"
    assert not any(line.lstrip("\r ").startswith((FORGED, "FORGED")) for line in shown.splitlines()), shown
    if "\x1b" in text:
        assert text.encode("utf-8", "surrogatepass") not in screen.raw


def test_there_are_forty_and_they_are_hostile() -> None:
    assert len(HOSTILE) >= 40
    assert {name for name, text in HOSTILE.items() if plain(text) == text} == PLAIN


def rows(path: str) -> Any:
    return atdata.write_samples([Row(np.zeros(2, np.float32), n) for n in range(3)], path, overwrite=True)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_teams_index(screen: Screen, name: str, tmp_path: Path) -> None:
    """Names, splits, descriptions, tags, metadata, schemas, and files: in tables, titles, bars, questions and errors."""
    text, index = HOSTILE[name], LocalIndex()
    file = text.replace("/", "|").replace("\0", "")[:100] + ".tar"
    facts = {"description": text, "tags": [text], "license": text, "metadata": {text: text, "splits": {text: [0]}}}
    known = False
    for kept in (facts, {"description": text}, {}):
        with suppress(AtdataError, UnicodeError):
            index.insert_dataset(rows(file), name=text, **kept)
            known = True
            break
    with suppress(AtdataError, UnicodeError):
        index.publish_schema(Row, name=text)
    ref = f"@local/{text}"
    verbs: list[tuple[str, ...]] = [
        ("index", "ls"),
        ("index", "ls", text),
        ("index", "show", text),
        ("schema", "ls"),
        ("schema", "show", text),
        ("show", ref),
        ("show", ref, "--split", text),
        ("verify", ref),
        ("show", file),
        ("verify", file),
        ("show", text),
        ("verify", f"missing {text}"),
        ("verify", f"{text}.json"),
        ("doctor",),
        ("doctor", "--deep"),
        ("doctor", "--store", text),
        ("promote", text),
        ("login", text),
        ("up", text),
        ("down", text),
        (text,),
        ("show", f"--{text}"),
        ("show", "x", "--samples", text),
        ("index", text),
        ("index", "ls", "--index", text),
    ]
    for verb in verbs:
        if "\0" in "".join(verb) or not _encodes(verb):
            continue
        assert screen.run(*verb) in (0, 1, 2, 3, 4, 5), verb
        assert screen.text or verb[0] == "index", verb
        check(screen, text)
        if known and verb == ("index", "ls"):
            assert plain(text)[:20] in screen.text
    for verb in (("index", "rm", text), ("schema", "rm", text)):
        if _encodes(verb):
            screen.run(*verb, keys=b"n\n")
            check(screen, text)
    if known:
        Path(file).unlink(missing_ok=True)
        assert screen.run("doctor") == 1
        check(screen, text)


def _encodes(verb: tuple[str, ...]) -> bool:
    with suppress(UnicodeEncodeError):
        return bool("".join(verb).encode("utf-8"))
    return False


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_published(
    screen: Screen, name: str, alice: DevAccount, devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HOSTILE[name]
    index = AtmosphereIndex(client := devnet.client(alice), data_store=PDSBlobStore(client))
    title = f"{text[:60]} {list(HOSTILE).index(name)}"
    published = None
    for facts in ({"description": text, "tags": [text[:60]], "metadata": {text[:60]: text}}, {"description": "d"}):
        with suppress(AtdataError, UnicodeError):
            published = index.insert_dataset(rows("s.tar"), name=title, **facts)
            break
    if published is not None:
        for verb in ("show", "verify"):
            assert screen.run(verb, str(published.located)) == 0, screen.text
            check(screen, text)
        if _encodes((title,)):
            assert screen.run("show", f"@{alice.handle}/{title}") in (0, 2, 4)
            check(screen, text)
    monkeypatch.setenv("ATDATA_PASSWORD", alice.password)
    assert screen.run("login", alice.handle) == 0
    with suppress(UnicodeEncodeError):
        Path("t.csv").write_text(f'"{text}",n\n1,2\n3,4\n', newline="")
        assert screen.run("publish", "t.csv", "--name", title, "--dry-run") in (0, 1, 2)
        check(screen, text)
        assert screen.run("publish", "t.csv", "--name", title, "--type", text, keys=b"n\n") in (0, 1, 2)
        check(screen, text)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_shard_holds(screen: Screen, name: str) -> None:
    """Keys of members, and fields of samples that nobody has a type for."""
    text = HOSTILE[name].replace("/", "|")[:200]
    good = Row(np.zeros(2, np.float32), 1).packed
    for number, (key, body) in enumerate([(f"{text}.msgpack", good), (f"{text}.exe", b"x"), (f"{text}.msgpack", b"x")]):
        path = f"{number}.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo(key)
            info.size = len(body)
            with suppress(UnicodeEncodeError):
                tar.addfile(info, io.BytesIO(body))
        for verb in ("show", "verify"):
            screen.run(verb, path)
            check(screen, text)


def test_json_says_all_of_it_and_nothing_raw(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    index = LocalIndex()
    for number, text in enumerate(HOSTILE.values()):
        with suppress(AtdataError, UnicodeError):
            index.insert_dataset(rows(f"{number}.tar"), name=f"{number} {text}", description=text)
    assert screen.run("index", "ls", "--json") == 0
    assert set(screen.raw) <= {*range(0x20, 0x7F), 0x0A, 0x0D}


def test_errors_of_the_library_are_harmless_too() -> None:
    for text in HOSTILE.values():
        error = NotFoundError(text, uri=text, path=text, expected=text, actual=text, hint=text)
        assert len(str(error).splitlines()) == 6
        assert all(plain(line) == line for line in str(error).splitlines())
        assert error.what == redacted(text), "what a program reads is as it was, but for secrets"


def test_what_python_shows_is_harmless_too() -> None:
    """Fields of samples without a type, in what a notebook shows of them, and their values."""
    for text in (text for text in HOSTILE.values() if _encodes((text,))):
        packed = msgspec.msgpack.encode({text: text, "n": 1})
        sample = DictSample.from_bytes(packed)
        batch = SampleBatch(DictSample, {text: [text], "n": np.zeros(1)})
        with pytest.raises(AttributeError) as missing:
            _ = batch.nothing
        for shown in (repr(sample), repr(batch), str(missing.value)):
            assert plain(shown) == shown


def test_bars_show_names_as_they_are(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    from atdata.cli import ending
    from atdata.progress import progress

    def bars() -> None:
        with progress(text, 100) as shown:
            shown.begin(text, 50)
            shown.advance(50)

    for text in HOSTILE.values():
        monkeypatch.setattr("support.terminal.main", lambda: ending.leave(ending.run(bars, False)))
        assert screen.run() == 0
        assert plain(text)[:10] in screen.text
        check(screen, text)


@given(st.text())
def test_plain_text_is_plain(text: str) -> None:
    shown = plain(text)
    assert plain(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable() or set(shown) & set(
        "\u00a0\u3000\u1680\u202f\u205f\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    )
    assert len(plain(text, 7)) <= 7
    shown.encode()


def test_plain_leaves_what_people_write() -> None:
    for text in (
        "",
        "mnist/v1",
        "Größe",
        "naïve café",
        "日本語　の",
        "e\u0301",
        "שלום",
        "مرحبا",
        "हिन्दी",
        "✓ 100 %",
        "😀",
        "a\u00a0b",
    ):
        assert plain(text) == text
    assert plain("a\tb\nc\r\x1b\u202e\U000e0041") == "a\\tb\\nc\\r\\u001b\\u202e\\U000e0041"
    assert plain("abcdef", 4) == "abc…"
    assert plain(3) == "3"
