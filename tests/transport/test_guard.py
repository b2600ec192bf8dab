"""Which addresses may be dialled: what a stranger writes leads to public https servers, or nowhere."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import AddressError, NetworkError
from atdata.transport import Get, Transport, addresses
from atdata.transport.download import Download, read_range
from atdata.transport.guard import MAX_ADDRESSES, check_address, check_scheme, resolve, to_dial
from atdata.urls import http_form, join_url, origin_of, split_url
from support.rawhttp import RawServer, answer

# This machine, also as an IPv4 address inside an IPv6 one: mapped, NAT64, 6to4, Teredo.
LOOPBACK = """
    127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1::
    2001:0:4136:e378:8000:63bf:80ff:fffe
""".split()  # noqa: SIM905

# Private networks, link-local, cloud metadata, shared, documentation, benchmarks, multicast, reserved, unassigned.
PRIVATE = """
    0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1
    192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::127.0.0.1 fe80::1 fe80::1%lo fec0::1 fc00::1 fd12:3456::1 ff02::1 ff0e::1 100::1 2001:db8::1
    5f00::1 4000::1 e000::1
    192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.192 192.31.196.1 192.52.193.1 192.88.99.1 192.88.99.2 192.175.48.1
    3fff::1 3fff:fff:ffff::1 3ffe::1 100:0:0:1::1 2001::1 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1
    2001:20::1 2001:30::1 2620:4f:8000::1 2606:4700::1111%eth0 ::1.1.1.1 ::ffff:0:1.1.1.1 64:ff9b:1::1.1.1.1
    ::ffff:192.0.0.8 ::ffff:192.0.0.192 ::ffff:192.88.99.1 2002:c000:8::1 2002:c000:c0::1 2002:c058:6301::1
    64:ff9b::192.0.0.8 64:ff9b::192.88.99.1 2001:0:4136:e378:8000:63bf:3fff:fff7 2001:0:4136:e378:8000:63bf:3fa7:9cfe
    ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::127.0.0.1
    2002:a00:1:: 2002:c0a8:101:: 2002:e000:1:: 2001:0:4136:e378:8000:63bf:f5ff:fffe
""".split()  # noqa: SIM905

PUBLIC = """
    1.1.1.1 93.184.215.14 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 191.255.255.255
    192.0.1.0 192.0.3.0 192.88.98.1 192.88.100.1 198.17.255.255 198.20.0.0 223.255.255.255
    2000::1 2001:200::1 2001:db7::1 2001:db9::1 2003::1 2606:4700::1111 2a00:1450:4001::1 3ffd::1 3fff:1000::1
    ::ffff:1.1.1.1 64:ff9b::1.1.1.1 2002:101:101:: 2001:0:4136:e378:8000:63bf:fefe:fefe
""".split()  # noqa: SIM905


@pytest.mark.parametrize("text", [*LOOPBACK, *PRIVATE])
def test_what_is_not_public_is_not_dialled(text):
    with pytest.raises(AddressError) as caught:
        check_address(ipaddress.ip_address(text), "evil.test", allow_loopback=False)
    assert (caught.value.uri, caught.value.actual) == ("evil.test", str(ipaddress.ip_address(text)))


@pytest.mark.parametrize("text", LOOPBACK)
def test_this_machine_may_be_allowed(text):
    check_address(ipaddress.ip_address(text), "localhost", allow_loopback=True)


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_network_is_not_this_machine(text):
    with pytest.raises(AddressError):
        check_address(ipaddress.ip_address(text), "evil.test", allow_loopback=True)


@pytest.mark.parametrize("text", PUBLIC)
def test_what_is_public_may_be_dialled(text):
    check_address(ipaddress.ip_address(text), "good.test", allow_loopback=False)


VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


def interpreter(version: str) -> str | None:
    """A Python of a version: this one, one of pyenv's, or one on the path."""
    installed = sorted(map(str, Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python")))
    for path in (sys.executable, *reversed(installed), shutil.which(f"python{version}")):
        asked = path and subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if asked and asked.startswith(f"Python {version}."):
            return path
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_says_the_same(version):
    """Their own tables of special addresses differ; ours is asked, in a process of each version."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    script = """
        import importlib.util, ipaddress, json, sys
        spec = importlib.util.spec_from_file_location("addresses", sys.argv[1])
        ours = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(ours)
        found = [ipaddress.ip_address(text) for text in json.load(sys.stdin)]
        print(json.dumps([[ours.is_public(address), ours.is_loopback(address)] for address in found]))
    """
    texts = [*LOOPBACK, *PRIVATE, *PUBLIC]
    done = subprocess.run(
        [python, "-I", "-c", textwrap.dedent(script), addresses.__file__],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(zip(texts, map(tuple, json.loads(done.stdout)), strict=True))
    assert said == {text: (text in PUBLIC, text in LOOPBACK) for text in texts}


@given(st.ip_addresses() | st.ip_addresses(v=6, network="2000::/3") | st.ip_addresses(v=6, network="::/90"))
def test_nothing_is_public_that_this_python_knows_better(address):
    """Where it carries an IPv4 address, of that one: Python's answer is about the tunnel."""
    inside = addresses.embedded(address) or address
    assert addresses.is_public(address) == addresses.is_public(inside)
    if addresses.is_public(inside):
        assert inside.is_global
        assert not any((inside.is_multicast, inside.is_loopback, inside.is_link_local, inside.is_unspecified))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "plain.tar",
        "//a.test/b",
        "https:",
        "https://",
        "https:///b",
        "file:///etc/passwd",
        "ftp://a.test/b",
        "gopher://a.test/b",
        "s3://a/b",
        "javascript:alert(1)",
        "data:text/plain,x",
        "https://a.test:99999/b",
        "https://a.test:port/b",
        "https://[::1/b",
        "https://[zz]/b",
        "https://user@a.test/b",
        "https://user:secret@a.test/b",
        "https://:secret@a.test/b",
        "https://good.test\\@evil.test/",
        "https://good.test@evil.test",
        "https://a.te\nst/b",
        "https://a.test/b c",
        "https://a.test/b\r\nHost: evil.test",
        " https://a.test/b",
        "https://a.test/é",
        "https://münchen.test/b",
        "https://a.test/\x00",
    ],
)
@pytest.mark.parametrize(
    "use", [origin_of, lambda url: check_scheme(url, True), lambda url: Transport().send("GET", url)]
)
def test_what_is_no_plain_web_address_is_refused(url, use):
    with pytest.raises(AddressError) as caught:
        use(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.test", "https://a.test:443"),
        ("https://A.Test:443/b?c=d#e", "https://a.test:443"),
        ("http://a.test/b", "http://a.test:80"),
        ("http://[::1]:8080/b", "http://::1:8080"),
        ("HTTPS://a.test/", "https://a.test:443"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, origin):
    assert origin_of(url) == origin


def test_plain_http_is_for_this_machine_only_and_only_where_allowed():
    check_scheme("https://a.test/b", allow_loopback=False)
    for host in ("localhost", "a.localhost", "127.0.0.1:2583", "[::1]:2583"):
        check_scheme(f"http://{host}/b", allow_loopback=True)
        with pytest.raises(AddressError):
            check_scheme(f"http://{host}/b", allow_loopback=False)
    for host in ("a.test", "[::ffff:10.0.0.1]", "127.0.0.1.a.test", "localhost.a.test", "10.0.0.1", "2130706433"):
        with pytest.raises(AddressError):
            check_scheme(f"http://{host}/b", allow_loopback=True)


def test_a_name_that_does_not_resolve_is_told():
    for host in ("nothing.invalid", "a" * 70 + ".test", "..", "a..b"):
        with pytest.raises(AddressError):
            resolve(host)


# --- dialling --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(lambda request: answer(200, b"secret of this machine")) as running:
        yield running


def quiet(**options: object) -> Transport:
    return Transport(sleep=lambda seconds: None, **options)  # type: ignore[arg-type]


DISGUISES = [
    "localhost",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "0",
    "[::ffff:127.0.0.1]",
    "LOCALHOST",
]


@pytest.mark.parametrize("host", DISGUISES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_this_machine_is_dialled(server, host, scheme):
    url = f"{scheme}://{host}:{server.port}/"
    for use in (quiet().get, lambda request: Download(quiet(), request.url)):
        with pytest.raises(AddressError):
            use(Get(url))
    assert server.connections == 0


def test_a_server_that_was_spelled_out_is_dialled_as_it_is(server):
    assert quiet().trusting(server.url).get(Get(server.url)).body == b"secret of this machine"
    with pytest.raises(AddressError):
        quiet().trusting(server.url).get(Get(f"http://localhost:{server.port}/"))  # another origin


def test_loopback_may_be_allowed(server):
    transport = quiet(allow_loopback=True)
    for host in ("localhost", "127.0.0.1"):
        assert transport.get(Get(f"http://{host}:{server.port}/")).status == 200
    assert server.connections == 2


TARGETS = [
    "http://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "//127.0.0.1:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "http://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "https://user:secret@example.com/",
    "https://exa mple.com/",
    "https://\xe9.test/",
    "http://[::1",
    "http://[::1/",
    "//[zz]/",
    "https://[",
    "http://]/",
    "https://a.test:port/",
    "https://a.test:99999/",
    "https:///",
    "https://" + "a" * 70 + ".test/",
]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", TARGETS)
def test_a_redirect_to_what_may_not_be_dialled_is_refused(server, target, status):
    location = target.format(port=server.port)
    with RawServer(lambda request: answer(status, location=location)) as redirecting:
        transport = quiet().trusting(redirecting.url)
        with pytest.raises(AddressError):
            transport.get(Get(redirecting.url))
        with pytest.raises(AddressError):
            Download(transport, redirecting.url)
        with pytest.raises(AddressError):
            read_range(transport, redirecting.url, 0, 10)
    assert server.connections == 0


@pytest.mark.parametrize("location", ["http://[::1", "//[", "https://user:secret@[", "https://[?token=secret"])
def test_an_error_about_an_address_shows_no_secret_of_it(location):
    for use in (lambda: join_url("https://a.test/", location), lambda: split_url(location)):
        with pytest.raises(AddressError) as caught:
            use()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://" + "a" * 70 + ".test/", "http://nothing.invalid/", "http://a..b/"])
def test_a_server_that_was_spelled_out_wrongly_is_told(url):
    with pytest.raises(AddressError):
        quiet().trusting(url).send("GET", url)


def test_a_redirect_where_loopback_is_allowed_still_reaches_no_private_network(server):
    for location, allowed in ((server.url, True), ("https://10.0.0.1/", False), ("http://10.0.0.1/", False)):
        with RawServer(lambda request, location=location: answer(302, location=location)) as redirecting:
            transport = quiet(allow_loopback=True)
            if allowed:
                assert transport.get(Get(redirecting.url)).body == b"secret of this machine"
                assert Download(transport, redirecting.url).read() == b"secret of this machine"
            else:
                with pytest.raises(AddressError):
                    transport.get(Get(redirecting.url))
                with pytest.raises(AddressError):
                    Download(transport, redirecting.url)


def test_a_redirect_in_circles_ends():
    with RawServer(lambda request: answer(302, location="/again")) as server:
        transport = quiet().trusting(server.url)
        with pytest.raises(NetworkError):
            transport.get(Get(server.url))
        with pytest.raises(NetworkError):
            Download(transport, server.url)
        assert len(server.requests) == 12


def test_what_was_meant_for_one_server_is_not_told_another(server):
    """An `Authorization` header does not follow a redirect to another origin."""

    def script(request):
        return answer(302, location="/here") if request.target == "/" else answer(302, location=f"{server.url}/there")

    with RawServer(script) as first:
        transport = quiet().trusting(first.url, server.url)
        transport.get(Get(first.url + "/", headers={"authorization": "Bearer secret"}))
        assert [request.headers.get("authorization") for request in first.requests] == ["Bearer secret"] * 2
    assert [request.target for request in server.requests] == ["/there"]
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("ws://localhost:1/x?y=z", "http://localhost:1/x?y=z"),
        ("wss://a.test", "https://a.test"),
        ("WSS://a.test/", "https://a.test/"),
    ],
)
def test_a_websocket_is_held_to_the_rules_of_its_server(url: str, same: str) -> None:
    assert http_form(url) == same
    for other in ("https://a.test/", "wsx://a.test/", "a.test", "ws:\n//a.test"):
        with pytest.raises(AddressError):
            http_form(other)


def test_each_address_is_checked_as_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that a name resolves to beside a good one; and no more of them than are tried."""
    found = [ipaddress.ip_address(text) for text in ("93.184.216.34", "127.0.0.1", "10.0.0.5")]
    monkeypatch.setattr("atdata.transport.guard.resolve", lambda _host: found)
    addresses = to_dial("a.test", allow_loopback=True)
    assert [next(addresses), next(addresses)] == found[:2]
    with pytest.raises(AddressError):
        next(addresses)
    assert list(to_dial("a.test", allow_loopback=None)) == found
    monkeypatch.setattr("atdata.transport.guard.resolve", lambda _host: found[:1] * 100)
    assert len(list(to_dial("a.test", allow_loopback=False))) == MAX_ADDRESSES
