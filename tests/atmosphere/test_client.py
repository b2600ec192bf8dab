"""The client: logging in, sessions, who may be shown under which name."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from atdata import load_dataset, packable, write_samples
from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore, SchemaPublisher
from atdata.atproto.net.session import Session
from atdata.errors import AuthError, IdentityError, UsageError
from atdata.testing import DevAccount, Devnet
from atdata.testing.http import Answer, Request
from support.networks import Network, fresh_handle


@packable
class Once:
    n: int


def settings_of(network: Network | Devnet, folder: Path) -> dict[str, object]:
    return {
        "plc_url": network.plc_url,
        "resolver_url": network.environment["ATDATA_RESOLVER_URL"],
        "allow_loopback": True,
        "cache": folder / "cache",
        "data": folder / "data",
    }


def test_login_finds_the_server_by_the_handle(
    network: Network, alice: DevAccount, bob: DevAccount, tmp_path: Path
) -> None:
    for account in (alice, bob):
        client = AtmosphereClient(**settings_of(network, tmp_path))
        assert not client.is_authenticated
        client.login(f"@{account.handle}", account.password)
        assert (client.did, client.handle) == (account.did, account.handle)
        assert client.account.session.server == account.pds_url


def test_login_at_a_server_that_is_named(network: Network, alice: DevAccount, tmp_path: Path) -> None:
    client = AtmosphereClient(base_url=alice.pds_url + "/", **settings_of(network, tmp_path))
    client.login(alice.did, alice.password)
    assert client.did == alice.did


def test_wrong_credentials_are_refused_and_not_shown(network: Network, alice: DevAccount) -> None:
    client = network.client()
    with pytest.raises(AuthError) as caught:
        client.login(alice.handle, "not-the-pass-word")
    assert isinstance(caught.value, PermissionError)
    assert "not-the-pass-word" not in str(caught.value)
    with pytest.raises(AuthError, match="not logged in"):
        _ = client.did
    with pytest.raises(IdentityError):
        client.login("nobody-here.test", "x")


def test_a_session_is_exported_and_restored(network: Network, alice: DevAccount) -> None:
    text = network.client(alice).export_session()
    handle, did, access, refresh, server = text.split(":::")
    assert (handle, did, server) == (alice.handle, alice.did, alice.pds_url)
    restored = network.client()
    restored.login_with_session(text)
    assert restored.did == alice.did
    assert restored.export_session() == text
    for secret in (access, refresh):
        assert secret not in repr(restored) + repr(restored.account.session) + str(restored.account.session)
    with pytest.raises(UsageError) as caught:
        restored.login_with_session(f"{handle}:::{access}")
    assert access not in str(caught.value)


def test_an_expired_token_is_refreshed_once(devnet: Devnet) -> None:
    account = devnet.create_account(fresh_handle())
    client = devnet.client(account)
    before = client.account.session
    devnet.pdses[0].expire_tokens()
    devnet.pds_servers[0].requests.clear()
    errors: list[Exception] = []

    def ask() -> None:
        try:
            client.account.query("com.atproto.server.getSession")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refreshed = [request for request in devnet.pds_servers[0].requests if "refreshSession" in request]
    assert len(refreshed) == 1
    assert client.account.session.access != before.access
    assert errors == []


def test_an_expired_token_on_the_real_server(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    real, failed = client.account.session, []

    def expire_first(request: Request) -> Answer | None:
        if request.headers.get("authorization") == f"Bearer {real.access.reveal()}" and not failed:
            failed.append(request.path)
            return Answer.error(400, "ExpiredToken", "Token has expired")
        return None

    server = next(server for server in network.pds_servers if server.url == alice.pds_url)
    server.before = expire_first
    uri = SchemaPublisher(client).publish(_row(), name="Fresh", version="1.0.0")
    assert uri.authority == alice.did
    assert failed == ["/xrpc/com.atproto.repo.applyWrites"]


def _row() -> type:
    import atdata

    @atdata.packable
    class Fresh:
        n: int

    return Fresh


def test_a_session_that_has_ended(network: Network, alice: DevAccount) -> None:
    client = network.client()
    text = network.client(alice).export_session()
    handle, did, _, _, server = text.split(":::")
    client.login_with_session(Session(did, handle, server, "nonsense", "nonsense").export())
    with pytest.raises(AuthError) as caught:
        client.account.query("com.atproto.server.getSession")
    assert "Log in again" in str(caught.value)


def test_a_handle_is_shown_only_if_it_is_proven(devnet: Devnet) -> None:
    account = devnet.create_account(fresh_handle())
    client = devnet.client(account)
    assert client.handle == account.handle
    other = fresh_handle()
    devnet.rename(account, other)
    fresh = devnet.client()
    assert fresh.reader.identity(account.did).handles == (other,)
    assert fresh.reader.identity(account.did).handle is None, "a claim is not a proof"
    assert fresh.reader.shown_handle(account.did) == other
    with pytest.raises(IdentityError):
        fresh.reader.identity(account.handle)
    assert len(fresh.reader.identity(account.did).evidence.audit_log or []) == 2
    # A document that claims somebody else's handle shows none.
    thief, victim = devnet.create_account(fresh_handle()), devnet.create_account(fresh_handle())
    devnet.rename(thief, victim.handle)
    devnet.account(thief.did).handle = thief.handle
    assert devnet.client().reader.shown_handle(thief.did) is None


def test_names_of_the_public_network_only(network: Network) -> None:
    public = AtmosphereClient(plc_url=network.plc_url, allow_loopback=True)
    for handle in ("alice.test", "alice.local", "alice.internal"):
        with pytest.raises(IdentityError, match="its domain is not public"):
            public.reader.identity(handle)


def test_nothing_secret_reaches_the_server_in_a_query(network: Network, alice: DevAccount) -> None:
    client = network.client(alice)
    session = client.account.session
    seen: list[str] = []

    def watch(request: Request) -> None:
        seen.append(request.target)

    for server in (network.plc_server, *network.pds_servers):
        server.before = watch
    client.account.query("com.atproto.server.getSession")
    client.reader.identity(alice.did)
    assert seen
    assert not [target for target in seen if session.access in target or alice.password in target]


def test_an_identity_is_fetched_once_by_all_clients_and_sources_of_one_setting(tmp_path: Path) -> None:
    asked: list[str] = []
    with Devnet() as devnet:
        account = devnet.create_account("once.test")
        devnet.plc_server.before = lambda request: asked.append(request.path)
        client = AtmosphereClient(**settings_of(devnet, tmp_path))
        client.login(account.handle, account.password)
        store = PDSBlobStore(client)
        entry = AtmosphereIndex(client, store).insert_dataset(
            write_samples([Once(1)], tmp_path / "once.tar"), name="once"
        )
        again = AtmosphereClient(**settings_of(devnet, tmp_path))
        dataset = load_dataset(f"@{account.handle}/once", client=again, split="train")
        assert [sample.n for sample in dataset] == [1]
        assert store.read_url(entry.data_urls[0])
    assert sorted(asked) == sorted([f"/{account.did}", f"/{account.did}/log/audit"])


def test_a_new_handle_is_believed_at_once(tmp_path: Path) -> None:
    with Devnet() as devnet:
        account = devnet.create_account("before.test")
        reader = AtmosphereClient(**settings_of(devnet, tmp_path)).reader
        assert reader.identity("before.test").did == account.did
        devnet.rename(account, "after.test")
        assert reader.identity("after.test").did == account.did
