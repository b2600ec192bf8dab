"""Secrets do not print: canaries in every place that holds one, and everything that is said looked through for them."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import pickle
import secrets
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from rich.console import Console
from rich.traceback import Traceback

import atdata
from atdata.atmosphere import AtmosphereClient
from atdata.atproto.keys import PrivateKey
from atdata.atproto.net import Account, Session
from atdata.atproto.syntax import Did, Handle
from atdata.cli import ending
from atdata.errors import AtdataError, AuthError, NetworkError, UsageError, XrpcError, bare
from atdata.local import LocalIndex, S3DataStore
from atdata.local.credentials import read_credentials
from atdata.records import Entry, ExternalStorage
from atdata.records.public import check_public
from atdata.redaction import HIDDEN, Secret, redacted
from atdata.settings import Settings
from atdata.shards.http import HttpSource
from atdata.shards.s3 import S3Source
from atdata.testing import DevAccount, Devnet
from atdata.transport import Transport
from atdata.urls import origin_of
from support.rawhttp import RawServer, answer

pytestmark = pytest.mark.slow

C = "Zk7" + secrets.token_hex(8) + "qX"
"""The canary. No line of this file has it, so no traceback shows it as source."""

SCHEMA = f"at://did:plc:{'a' * 24}/science.alt.dataset.schema/Row:1.0.0"
CLOSED = "127.0.0.1:1"


def held(text: str) -> bool:
    """Whether a text gives the canary away, also encoded."""
    coded = (C, quote(C, safe=""), base64.b64encode(C.encode()).decode().rstrip("="), C.encode().hex(), C[::-1])
    return any(form in text for form in coded)


def said(error: BaseException, variables: bool = True) -> str:
    """All that a program can print of an error, with the local variables of every frame, and as rich does it."""
    lines = [str(error), repr(error), repr(error.args), repr(vars(error))]
    lines += traceback.TracebackException.from_exception(error, capture_locals=variables).format()
    rich = Console(file=io.StringIO(), width=400)
    rich.print(
        Traceback.from_exception(
            type(error), error, error.__traceback__, show_locals=variables, locals_max_string=10_000
        )
    )
    link: BaseException | None = error
    while link is not None:
        lines += [str(link), repr(link)]
        link = link.__cause__ or link.__context__
    assert isinstance(rich.file, io.StringIO)
    return "\n".join([*lines, rich.file.getvalue()])


def failing(act: Callable[[], object]) -> AtdataError:
    with pytest.raises(AtdataError) as caught:
        act()
    return caught.value


def session(server: str = f"http://{CLOSED}") -> Session:
    return Session(Did("did:plc:" + "a" * 24), Handle("alice.test"), server, Secret(C), Secret(C))


def account(server: str) -> Account:
    return Account(Transport(True).trusting(server), session(server))


# Each of these fails, and was told the canary in one way or another. An address that a caller gave for data is not of a
# secret's type: in the variables of frames it is as it was given, in the error it is not.
FAILS: dict[str, Callable[[], object]] = {
    "a URL with a password": lambda: origin_of(f"https://bob:{C}@example.com/a"),
    "a URL with a token": lambda: origin_of(f"https://{C}@example.com/a"),
    "a URL with a long token, cut off": lambda: origin_of(f"ftp://{C}{'x' * 300}@example.com/a"),
    "a URL with a space": lambda: origin_of(f"https://bob:{C}@exam ple.com/a"),
    "a URL that is none": lambda: origin_of(f"https://bob:{C}@[::1"),
    "a URL with a strange host": lambda: origin_of(f"https://bob:{C}@exa\u2100mple.com/a"),
    "a URL whose password has a slash": lambda: origin_of(f"https://bob:x/{C}@example.com/a"),
    "shards at a URL with a password": lambda: HttpSource.from_urls([f"https://bob:{C}@example.com/a.tar"]),
    "a transport to a server whose URL has a password": lambda: Transport().trusting(f"https://bob:{C}@example.com"),
    "load_dataset of a URL with a password": lambda: atdata.load_dataset(f"https://bob:{C}@example.com/a.tar"),
    "load_dataset of an s3 URL with keys": lambda: list(
        atdata.load_dataset(f"s3://bob:{C}@bucket/a.tar", split="train", allow_unverified=True)
    ),
    "load_dataset of a presigned URL": lambda: list(
        atdata.load_dataset(f"http://{CLOSED}/a.tar?X-Amz-Signature={C}&X-Amz-Security-Token={C}", split="train", allow_unverified=True)
    ),
    "a URL with braces that do not end": lambda: atdata.load_dataset(f"https://bob:{C}@example.com/{{a"),
    "a name with a URL's parameters": lambda: atdata.load_dataset(f"@alice.test/rows?token={C}&password={C}@x@y"),
    "PLC directory with a password": lambda: Settings.of(plc_url=f"https://bob:{C}@plc.example.com"),
    "resolver with a token": lambda: Settings.of(resolver_url=f"https://a.example.com,https://{C}@plc.example.com"),
    "PLC directory that is no URL": lambda: Settings.of(plc_url=f"plc://bob:{C}@plc.example.com"),
    "an index of an unknown kind": lambda: LocalIndex(f"mysql://bob:{C}@example.com/x"),
    "Redis that does not answer": lambda: LocalIndex(f"redis://:{C}@{CLOSED}/0").list_schemas(),
    "Redis with a bad port": lambda: LocalIndex(f"redis://:{C}@127.0.0.1:port/0").list_schemas(),
    "Redis with an odd password": lambda: LocalIndex(f"redis://:a#{C}/?@127.0.0.1:1/0").list_schemas(),
    "Redis named by the settings": lambda: LocalIndex(index_url=f"redis://:{C}@{CLOSED}/0").list_schemas(),
    "PostgreSQL that does not answer": lambda: LocalIndex(f"postgresql://bob:{C}@{CLOSED}/x").list_schemas(),
    "PostgreSQL with a bad port": lambda: LocalIndex(f"postgresql://bob:{C}@127.0.0.1:port/x").list_schemas(),
    "PostgreSQL with an odd password": lambda: LocalIndex(f"postgresql://bob:a/{C}?#@{CLOSED}/x").list_schemas(),
    "PostgreSQL with a password in the options": lambda: LocalIndex(f"postgresql://{CLOSED}/x?user=bob&password={C}").list_schemas(),
    "PostgreSQL with an option that there is not": lambda: LocalIndex(f"postgresql://bob:{C}@{CLOSED}/x?odd={C}").list_schemas(),
    "PostgreSQL as its own tools name it, not by URL": lambda: LocalIndex(f"host={CLOSED} user=bob password={C}"),
    "PostgreSQL by a URL without its scheme": lambda: LocalIndex(f"bob:{C}@{CLOSED}/x"),
    "Redis by a URL with one slash": lambda: LocalIndex(f"redis:/:{C}@{CLOSED}/0"),
    "a bucket with keys, as in a URL": lambda: S3DataStore({}, bucket=f"bob:{C}@bucket"),
    "half of the keys": lambda: S3DataStore({"AWS_SECRET_ACCESS_KEY": C}, bucket="b"),
    "keys for a server that does not answer": lambda: list(
        S3Source.from_urls(["s3://bucket/a.tar"], endpoint_url=f"http://{CLOSED}", credentials=(C, C, C)).open(
            S3Source.from_urls(["s3://bucket/a.tar"]).shards[0]
        )
    ),
    "keys from a mapping": lambda: list(
        atdata.Dataset[atdata.DictSample](
            S3DataStore(
                {"AWS_ACCESS_KEY_ID": C, "AWS_SECRET_ACCESS_KEY": C, "AWS_SESSION_TOKEN": C, "AWS_ENDPOINT": f"http://{CLOSED}"},
                bucket="bucket",
            ).create_source(["s3://bucket/a.tar"])
        )
    ),
    "an S3 server whose URL has a password": lambda: S3DataStore({}, bucket="b", endpoint_url=f"ftp://bob:{C}@example.com"),
    "login at a server that does not answer": lambda: AtmosphereClient(f"http://{CLOSED}").login("alice.test", C),
    "login at a server whose URL has a password": lambda: AtmosphereClient(f"https://bob:{C}@example.com"),
    "a session that is none": lambda: AtmosphereClient().login_with_session(f"alice.test:::did:plc:x:::{C}:::{C}"),
    "a session with a server that is none": lambda: AtmosphereClient().login_with_session(
        f"alice.test:::did:plc:{'a' * 24}:::{C}:::{C}:::https://bob:{C}@example.com"
    ),
    "a session at a server that does not answer": lambda: account(f"http://{CLOSED}").query("com.atproto.server.getSession"),
    "a signing key in another form": lambda: PrivateKey.from_bytes("k256", C.encode()),
    "a record with such a URL": lambda: check_public(
        Entry(name="rows", schema_ref=SCHEMA, storage=ExternalStorage((f"https://bob:{C}@example.com/a.tar",)))  # type: ignore[arg-type]
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", FAILS)
def test_no_error_shows_a_secret(place: str) -> None:
    assert not held(said(failing(FAILS[place]), variables="URL" not in place))


def test_the_search_finds_what_is_shown() -> None:
    def leaky(password: str) -> None:
        raise UsageError("something else")

    def chained() -> None:
        try:
            raise ValueError(C)
        except ValueError as error:
            raise UsageError("something else") from error

    assert held(said(failing(lambda: leaky(C)))), "a local variable"
    assert held(said(failing(chained))), "the text of a cause"
    assert held(f"at {C}")
    assert held(base64.b64encode(C.encode()).decode())
    assert not held(HIDDEN)
    assert not held(said(failing(lambda: leaky(Secret(C)))))


def test_a_driver_error_is_chained_without_its_frames() -> None:
    def drive(_password: str) -> None:
        raise OSError("refused")

    def call() -> None:
        try:
            drive(C)
        except OSError as error:
            raise NetworkError("a server does not answer") from bare(error)

    error = failing(call)
    assert isinstance(error.__cause__, OSError)
    assert not held(said(error))


def test_a_secret_shows_nothing_and_says_all() -> None:
    secret = Secret(C)
    shown = [
        f"{secret}",
        f"{secret!r}",
        f"{secret:>40}",
        f"{[secret]}",
        f"{({'a': secret},)}",
        str(secret),
        repr(secret),
        ascii(secret),
    ]
    shown += [f"{secret} {secret!r}", f"{secret} {secret!s}", f"{Settings(index_url=secret)}"]
    assert not held("\n".join(shown))
    assert C not in repr(pickle.dumps(secret))
    assert secret.reveal() == secret == C
    assert type(secret.reveal()) is str
    assert type(pickle.loads(pickle.dumps(secret))) is Secret
    assert pickle.loads(pickle.dumps(secret)).reveal() == C
    assert Secret(secret) is secret
    assert hash(secret) == hash(C)


def test_what_holds_secrets_shows_none() -> None:
    keys = {"AWS_ACCESS_KEY_ID": C, "AWS_SECRET_ACCESS_KEY": C, "AWS_SESSION_TOKEN": C}
    store = S3DataStore(keys, bucket="bucket")
    client = AtmosphereClient("http://127.0.0.1:1")
    client.login_with_session(session().export())
    of_source = S3Source.from_urls(["s3://bucket/a.tar"], credentials=(C, C, C))
    places = [
        Settings.of(index_url=f"redis://:{C}@127.0.0.1/0"),
        session(),
        account(f"http://{CLOSED}"),
        client,
        client.account,
        vars(client.account),
        store,
        vars(store),
        read_credentials(keys),
        of_source,
        pickle.loads(pickle.dumps(of_source)),
        store.access,
        LocalIndex(f"redis://:{C}@127.0.0.1/0"),
        vars(LocalIndex(f"redis://:{C}@127.0.0.1/0").records),
        LocalIndex(f"postgresql://bob:{C}@127.0.0.1/x").records,
        PrivateKey.from_bytes("p256", C.encode().ljust(32, b"\0")[:32]),
        DevAccount("did:plc:x", "alice.test", C, "http://127.0.0.1:1"),
    ]
    assert [type(place) for place in places if held(repr(place)) or held(str(place))] == []
    assert C not in repr(pickle.dumps(of_source))
    assert of_source.credentials == (C, C, C)
    assert read_credentials(keys).keys == (C, C, C)


VERSION = "bafyreih5af6gauin3rrcpyqzjbvl6qn4x2o4hqjq7xgqw2n5v4xkz7xg4a"
REDACTED = [
    ("https://bob:{}@example.com/a", "https://***@example.com/a"),
    ("https://{}@example.com/a", "https://***@example.com/a"),
    ("s3://k:{}@bucket/a", "s3://***@bucket/a"),
    ("postgresql://bob:a/{}?x@db/x", "postgresql://***@db/x"),
    ("redis://:a b#{}@db:1/0", "redis://***@db:1/0"),
    ("https://example.com/a?X-Amz-Signature={}&id=4", "https://example.com/a?X-Amz-Signature=***&id=4"),
    ("https://example.com/a?anything={}", "https://example.com/a?anything=***"),
    ("https://example.com/a;sig={}", "https://example.com/a;sig=***"),
    ("https://example.com/a?{}", "https://example.com/a?***"),
    ("https://example.com/a?{}=1", "https://example.com/a?***=***"),
    ("https://example.com/a#access_token={}", "https://example.com/a#***"),
    ("at://did:plc:x/c/r#{}", "at://did:plc:x/c/r#***"),
    (f"https://example.com/a#{VERSION}" + "{}", "https://example.com/a#***"),
    ("see https://a.example.com/x and https://bob:{}@b.example.com/y.", "see https://a.example.com/x and https://***@b.example.com/y."),
    ("host=db password={} user=bob", "host=db password=*** user=bob"),
    ("Authorization: Bearer {}", "Authorization: Bearer ***"),
]  # fmt: skip
KEPT = [
    "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.entry/3jzfcijpj2z2a",
    f"at://atdata.local/science.alt.dataset.lens/3jzfcijpj2z2a#{VERSION}",
    f"1. brief: verified (at://did:plc:x/science.alt.dataset.lens/3jzfcijpj2z2a#{VERSION}, your own index); 2. other",
    f"passed over at://did:plc:x/science.alt.dataset.lens/3jzfcijpj2z2a#{VERSION}: it is code",
    "atdata://alice.example.com/dataset/rows@1.0.0",
    "@alice.example.com/rows@1.0.0",
    "http://127.0.0.1:2583/xrpc/com.atproto.sync.getBlob?did=did:plc:x&cid=bafkrei",
    "http://[::1]:9000/bucket/a@b.tar",
    "https://json-schema.org/draft-07/schema#/$defs/x",
    "redis://127.0.0.1:6379/0",
    "3b4a1e5d9c1f0a7b6e2d4c8a9f0b1e2d3c4b5a69788796a5b4c3d2e1f0a9b8c7",
    "Log in again; check handle and app password.",
    "'http://localhost:9000': refused",
]


@pytest.mark.parametrize(("given", "shown"), REDACTED)
def test_each_fact_of_an_error_is_redacted(given: str, shown: str) -> None:
    text = given.format(C)
    assert redacted(text) == shown
    assert redacted(shown) == shown
    error = XrpcError(text, hint=text, uri=text, path=text, step=text, expected=text, actual=text, error=text)
    later = UsageError("something")
    later.uri = later.actual = later.hint = later.what = text
    for each in (error, later, pickle.loads(pickle.dumps(error))):
        assert not held(said(each))
    assert (error.uri, later.actual, error.error) == (shown, shown, shown)


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert redacted(text) == text


# --- servers that answer


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_ALLOW_LOOPBACK", "1")


@pytest.mark.parametrize(
    "reply",
    [
        answer(403, b"no"),
        answer(404, b"no"),
        answer(200, b"no shard"),
        answer(302, location="http://10.0.0.5/a.tar?sig=CANARY"),
        answer(302, location="http://bob:CANARY@127.0.0.1/a.tar"),
        answer(302, location="http://[::1?CANARY=CANARY"),
        answer(500, b"wrong"),
    ],
    ids=["403", "404", "200", "to private", "to credentials", "to nowhere", "500"],
)
@pytest.mark.usefixtures("settings")
def test_no_error_of_reading_shows_a_presigned_url(reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atdata.transport.budget.backoff", lambda _attempt: 0.0)
    with RawServer(lambda _request: reply.replace(b"CANARY", C.encode())) as server:
        url = f"http://127.0.0.1:{server.port}/a.tar"

        def read(parameters: str) -> object:
            return list(atdata.load_dataset(f"{url}?{parameters}", split="train", allow_unverified=True))

        for name in ("X-Amz-Signature", "Policy", "sig", "unheard-of"):
            assert not held(said(failing(lambda name=name: read(f"{name}={C}")), variables=False))  # type: ignore[misc]
        assert server.requests, "it was asked"


def test_a_login_that_fails_shows_nothing(devnet: Devnet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    someone = devnet.create_account("secretive.test", C)
    client = devnet.client()
    error = failing(lambda: client.login(someone.handle, C + "wrong"))
    assert isinstance(error, AuthError)
    assert not held(said(error))
    client.login(someone.handle, C)  # what it logs on the way is looked through below
    tokens = client.account.session
    broken = Session(tokens.did, tokens.handle, tokens.server, Secret(C), Secret(C))
    for act in ("com.atproto.server.getSession", "com.atproto.server.refreshSession"):
        refused = Account(Transport(True).trusting(tokens.server), broken)
        assert not held(said(failing(lambda act=act, refused=refused: refused.procedure(act, {"x": 1}))))  # type: ignore[misc]
    assert not held(caplog.text)
    assert tokens.access.reveal() not in caplog.text
    assert tokens.refresh.reveal() not in caplog.text


def test_an_answer_that_is_no_session_is_not_shown() -> None:
    body = json.dumps({"did": "nobody", "handle": "alice.test", "accessJwt": C, "refreshJwt": C}).encode()
    for content in (body, body[:-1], b"[" + body + b"]"):
        with RawServer(lambda _request, content=content: answer(200, content)) as server:  # type: ignore[misc]
            client = AtmosphereClient(f"http://127.0.0.1:{server.port}")
            assert not held(said(failing(lambda client=client: client.login("alice.test", C))))  # type: ignore[misc]


def test_databases_that_let_nobody_in(redis_server: Any, postgres_server: Any) -> None:
    for server in (redis_server, postgres_server):
        parts = urlsplit(server.url)
        wrong = f"{parts.scheme}://{parts.username or ''}:{C}@{parts.hostname}:{parts.port}{parts.path}"
        error = failing(LocalIndex(wrong).list_schemas)
        assert isinstance(error, AuthError)
        assert not held(said(error))
    passwords = [urlsplit(server.url).password or "" for server in (redis_server, postgres_server)]
    running = list(arguments())
    assert any("redis-server" in command for command in running)
    assert not [command for command in running if any(password in command for password in passwords)]


def arguments() -> Iterator[str]:
    """The arguments of every process that this user may see."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue


def test_a_file_of_credentials_with_a_line_that_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "keys.env"
    for text in (f"AWS_SECRET_ACCESS_KEY={C}\n{C}\n", f'AWS_SECRET_ACCESS_KEY="{C}\n', f"AWS_SECRET_ACCESS_KEY={C}\n"):
        file.write_text(text)
        assert not held(said(failing(lambda: S3DataStore(str(file), bucket="b"))))


def test_no_error_of_settings_shows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATDATA_PASSWORD", C)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", C)
    monkeypatch.setenv("ATDATA_INDEX_URL", f"redis://:{C}@127.0.0.1/0")
    monkeypatch.setenv("ATDATA_ALLOW_LOOPBACK", "perhaps")
    assert not held(said(failing(Settings.of)))
    assert not held(said(failing(LocalIndex)))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-m", "atdata", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_the_command_line_shows_nothing(form: list[str], devnet: Devnet) -> None:
    someone = devnet.create_account(f"teller{len(form)}.test", C)
    runs = [
        run("login", someone.handle, "--server", devnet.pds_url, *form, **devnet.environment, ATDATA_PASSWORD=C + "x"),
        run("index", "list", "--index", f"redis://:{C}@{CLOSED}/0", *form),
        run("index", "list", *form, ATDATA_INDEX_URL=f"postgresql://bob:{C}@{CLOSED}/x"),
        run("show", f"https://bob:{C}@example.com/a.tar", *form),
        run("verify", f"https://{C}@example.com/a.tar", *form),
        run("verify", "a.tar", f"https://{C}@example.com/a.tar", *form),
        run("show", "a.tar", "--samples", f"https://bob:{C}@example.com", *form),
    ]
    assert [done.returncode for done in runs if done.returncode == 0] == []
    assert [done.args for done in runs if held(done.stdout + done.stderr)] == []
    assert all(done.stdout + done.stderr for done in runs), "each said something"


def test_a_fault_keeps_its_traceback_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    def faulty() -> None:
        raise RuntimeError(f"no answer from https://bob:{C}@example.com/a?sig={C}, password={C}")

    assert ending.run(faulty, as_json=False) == ending.FAULT
    captured = capsys.readouterr()
    (kept,) = Settings.of().data.glob("*traceback*")
    assert "RuntimeError: no answer from https://***@example.com" in kept.read_text()
    assert not held(captured.out + captured.err + kept.read_text())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_what_is_kept_is_its_owners(devnet: Devnet, tmp_path: Path) -> None:
    someone = devnet.create_account("keeper.test", C)
    home = {**devnet.environment, "ATDATA_DATA": str(tmp_path / "data"), "ATDATA_PASSWORD": C}
    old = os.umask(0)
    try:
        done = run("login", someone.handle, "--server", devnet.pds_url, **home)
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr
    assert not held(done.stdout + done.stderr)
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == ["session"]
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert not held(kept[0].read_text()), "the password is not kept"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "a://", "http://", "eyJaaaaaaaa-", "password='", "a:a@", "-----BEGIN PRIVATE KEY-----", "?a=b;"],
)
@pytest.mark.parametrize("between", ["", " ", "\n"], ids=["one word", "words", "lines"])
def test_a_long_text_is_searched_in_bounded_time(piece, between):
    text = f"{(piece + between) * (200_000 // len(piece + between))}:// https://bob:hunter2secret@host/"
    assert "hunter2secret" not in redacted(text)
