"""Free text that would be public: what is found in it that strangers must not, or cannot use."""

from __future__ import annotations

import bz2
import html
import ipaddress
import lzma
import re
import unicodedata
import zlib
from binascii import Error as NoBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from atdata.records.public.hosts import Reach, reach
from atdata.records.public.urls import CREDENTIALS_HINT, LOCAL_HINT, Allowed, Fault, Url, text_fault
from atdata.redaction import SHAPES, TELLTALE

_MAX_SPELLINGS = 8
_SHOWN = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]"
_RUN = re.compile(f"{_SHOWN}{{12,}}")
_WIDE_RUN, _WIDE_TEXT = re.compile(f"{_SHOWN}{{8,}}"), re.compile("[ -~]{8}")

_URL = re.compile(r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]+):[/\\]{2,}([^\s\x00-\x1f\x7f\"'<>`|]*)")
_PROTOCOLLESS = re.compile(r"(?<![:/\w])//((?:[\w-]+\.)*[\w-]+)/[\w.]")
_PLACEHOLDER = re.compile(r"\$?\{\{?\s*[a-z_][\w .]*\}?\}|\$[a-z_]\w*|%s|\*|\.\.\.|…|\[[a-z_][\w -]*\]", re.IGNORECASE)

# Local records, paths of a machine, and names and numbers of hosts that have no scheme before them.
_LOCAL_RECORD = re.compile(r"(?i)(?:at:/+atdata\.local|atdata:/+local|local:/+schemas)(?:/|$)")
_ROOTS = (
    "home|users|root|mnt|media|volumes|tmp|var|opt|srv|scratch|gpfs|lustre|nfs|afs|beegfs|private|workspaces?|proc|etc|usr"
    r"|export|data\d*|work|storage|dev|run|net|cluster|projects?|dbfs|kaggle|content|nvme\w*|ssd\w*|raid\w*|disk\w*|shared"
)
# What a path may follow: the beginning, a space, a mark, or a script that puts no space before it.
_BEFORE = r"(?:^|(?<=[\s\"'`(\[{=,;>|“”„‘’«»—–→\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3]))"
_PATHS = {
    "relative": re.compile(r"(?<![\w./\\])\.{1,2}[/\\](?:\w|\.[\w./\\]|$)"),  # a genotype is ./.
    "of a home folder": re.compile(
        r"(?i)(?<![\w/~])~(?:[a-z_][\w.-]*)?[/\\]|\$\{?HOME\b|%(?:USERPROFILE|HOMEPATH|APPDATA|LOCALAPPDATA|TEMP)%"
    ),
    "of Windows": re.compile(r"(?i)(?<![a-z0-9])[a-z]:(?:\\|/(?!/))[\w.%$~-]"),
    "of a network share": re.compile(r"\\\\[?.\w-][\w.$?-]*\\+[\w.$-]"),
    "as a file: URL": re.compile(r"(?i)(?<![a-z])file:[/\\]"),
    "of a machine": re.compile(
        rf"(?i)(?:{_BEFORE}|(?<=[:@])|(?<![\w/])[*_]{{1,3}})/(?!dev/null\b)(?:{_ROOTS})/[\w.~-]"
    ),
}
_ABSOLUTE = re.compile(rf"{_BEFORE}/(?!dev/null\b)([\w.~$-]+)/[\w.~+/=-]+")
_ROUTES = frozenset({"api", "v1", "v2", "v3", "wiki", "docs", "properties", "items", "definitions", "$defs", "r"})
_PRIVATE_NAME = re.compile(
    r"(?i)(?<![\w.-])(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+"
    r"(?:internal|intranet|localdomain|lan|corp|onion|home\.arpa|local(?!\())\.?(?![\w(-]|\.\w)"
)
_CLUSTER_NAME = re.compile(r"(?<![\w.-])[a-z0-9-]+\.[a-z0-9-]+\.svc(?:\.cluster\.\w+)?(?![\w-])")
_DIALLED = re.compile(r"(?i)(?<![\w./-])(?!(?:hdl|doi|ark):)((?:[a-z0-9_][\w-]*\.)*[a-z][\w-]*\.?):\d{2,5}(?=/\w)")
_DIALLED_NAME = re.compile(
    r"(?i)(?<![\w./-])(?:localhost|(?:[a-z0-9_][\w-]*\.)+(?:private|home|test|example|invalid|local|prod|k8s|docker)):\d{2,5}(?!\d)"
)
_IPV4 = re.compile(r"(?<![\w.+-])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)(?:/\d{1,2}(?![\w./]))?")
_COPIED = re.compile(r"(?<![\w.@-])[\w.-]+@([\w.-]+):[/~]")  # to or from, as scp and rsync write it
_IPV6 = re.compile(
    r"(?i)(?<![\w:.])(?:[0-9a-f]{1,4}:|::)(?:[0-9a-f]{0,4}:)*(?:[0-9a-f]{1,4}|\d{1,3}(?:\.\d{1,3}){3})?(?![\w:./])"
)
_IPV6_KIND = re.compile(r"(?i)f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:|64:ff9b:|2002:|2001:0?:|::ffff:|::1$")
_DID_WEB = re.compile(r"(?i)did:web:([^\s:/?#\"'<>`,)]+)")

# Secrets that a shape alone does not tell: by the word before, or by where they stand.
_SECRETS = {what: re.compile(rf"(?<![A-Za-z0-9])(?:{shape})") for what, shape in SHAPES.items()}
_ASSIGNED = re.compile(
    rf"""({TELLTALE})["']?(\s*(?::=|=>|(?<![=!<>])=(?!=)|:(?!:))\s*)("[^"\n]*"|'[^'\n]*'|[^\s"',;&)}}\]]+)"""
)
_NO_SECRET = re.compile(
    r"(?i)[^\w]*|[a-z_][\w.]*[(\[].*|\$?\{.*\}|<.*>?|\$\w+|\[.*|[a-z_]\w*(?:\.[a-z_]\w*)+|x{3,}|\*+|\.{3}|%s|none|null|nil|true|false|str|string|bytes|int|any"
    r"|object|optional|required|unset|empty|n/?a|redacted|hidden|todo|tbd|your[\w -]*|my[_-]\w+|[\w-]*\.{3}"
    rf"|{TELLTALE}|key|token|value|\d{{1,3}}"
)
_NO_KEY = re.compile(r"x{6,}|X{6,}|\*{4,}|EXAMPLE")  # as documents write keys that are none
# Without a sign between name and value, as options and files of logins have them.
_GIVEN = re.compile(
    rf"""(?<![\w-])(?:--?(?:[\w-]*[_-])?(?:{TELLTALE}|token)\s+|login\s+\S+\s+password\s+"""
    r"""|(?:-u\s*|--user[\s=])["']?[\w.@-]+:)("[^"\n]*"|'[^'\n]*'|[^\s"']+)"""
)
_PASS = re.compile(r"""(?<![\w-])(?:[A-Z]+_)*(?i:pass|pw)["']?\s*[=:]\s*("[^"\n]*"|'[^'\n]*'|[^\s"',;&)}\]]+)""")
_OPAQUE = re.compile(  # too long and too mixed for a word
    rf"""(?:(?i:token|cookie["']?\s*:\s*[\w.-]+)["']?\s*[=:]|{TELLTALE}\s)\s*["']?"""
    r"""(?=[\w+/.~-]{0,60}\d)(?=[\w+/.~-]{0,60}[A-Za-z])([\w+/.~-]{20,})"""
)
_USERINFO = re.compile(r"(?i)(?<![\w./@-])([\w.+-]+):([^\s/@:\"'<>]{3,})@(?:[\w-]+\.)+[a-z]{2,}(?![\w-])")
_CONTACT = "mailto email e-mail mail contact from to cc by author authors maintainer acct sip xmpp"
_BEARER = re.compile(
    r"(?i)\bbearer\s+(?=\S*\d)[A-Za-z0-9+/=._~-]{16,}|\bauthorization[\"']?\s*[:=]\s*[\"']?\w+\s+\S{8,}"
)
_BASIC = re.compile(r"(?i)\bbasic\s+([a-z0-9+/]{8,}={0,2})")
_SIGNED = re.compile(
    r"(?i)(?:[?&;#]|amp;)(?:policy|key-pair-id|signature|sig|hmac|jwt|auth|pwd|pass|password|token|key|[a-z]*access_?key_?id"
    r"|googleaccessid|rlkey|api[_-]?key|access[_-]?token|security-token|[a-z_-]*(?:signature|secret|token|credential))=[^\s&]"
    r"|\b(?:x-(?:amz|goog|oss|obs|cos|xet|bce|ms|upyun|tos|ks)-[a-z-]*|q-(?:sign[a-z-]*|ak|signature))=[^\s&]"
)
_HEX = re.compile(r"(?i)(?<![\w+/=-])(?:0x)?((?:[0-9a-f]{2}){8,})(?![\w+/=-])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_BASE64 = re.compile(r"(?<![\w+/=-])(?:[A-Za-z0-9+/]{16,}|[\w-]{16,})={0,2}(?![\w+/=-])")


def search_text(text: str, allowed: Allowed) -> Fault | None:
    """The first part of a text that must not be public; `None` only where all spellings of it were searched."""
    count = 0
    for count, spelling in enumerate(_spellings(text), 1):
        if fault := _search(spelling, allowed):
            return fault
        if count > _MAX_SPELLINGS:
            return Fault("a text that is encoded over and over", "Write it plainly.")
    return None


def texts_in(content: bytes) -> Iterator[str]:
    """The texts in bytes: all of them where they are text in any usual encoding, else each run of characters."""
    text = content.decode("utf-8", "replace")
    if "\ufffd" not in text and all(char.isprintable() or char.isspace() for char in text):
        yield text
        return
    yield from _RUN.findall(text)
    for encoding in ("utf-16-le", "utf-16-be"):  # which of the two it is also tells where a character begins
        # Random 16-bit characters are characters, but none of a text.
        yield from filter(_WIDE_TEXT.search, _WIDE_RUN.findall(content.decode(encoding, "replace")))


def unpacked(content: bytes) -> bytes | None:
    """The bytes that gzip, zlib, bzip2 or xz packed, as far as it can be unpacked; `None` where none of them did.

    Raises:
        OverflowError: it is more than would be searched.
    """
    for begins, unpack in _PACKED.items():
        if re.match(begins, content, re.DOTALL):
            with suppress(OSError, EOFError, lzma.LZMAError, zlib.error):
                plain: bytes = unpack().decompress(content, _MAX_UNPACKED + 1)
                if len(plain) > _MAX_UNPACKED:
                    raise OverflowError
                return plain
    return None


_MAX_UNPACKED = 1 << 20
_PACKED: Mapping[bytes, Callable[[], Any]] = {
    rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]": lambda: zlib.decompressobj(47),
    rb"BZh[1-9]": bz2.BZ2Decompressor,
    rb"\xfd7zXZ\0": lzma.LZMADecompressor,
}


def decoded(text: str) -> Iterator[bytes]:
    """The bytes that words of a text are in hexadecimal, or in base64 in either alphabet."""
    yield from (bytes.fromhex(found[1]) for found in _HEX.finditer(text))
    for found in _BASE64.finditer(text):
        word = found[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            yield a2b_base64(word + "=" * (-len(word) % 4))
        except (NoBase64, ValueError):
            continue


def _spellings(text: str) -> Iterator[str]:
    """A text as it is, and as programs read it: decoded in every way, one after the other, until nothing changes."""
    while True:
        yield text
        plain = unicodedata.normalize("NFKC", text)
        plain = "".join(char for char in plain if unicodedata.category(char) != "Cf").translate(_DOTS)
        plain = _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), plain).replace("\\/", "/")
        plain = html.unescape(unquote(plain, errors="surrogateescape"))
        if plain == text:
            return
        text = plain


_DOTS = {0x3002: ".", 0xFF0E: ".", 0xFF61: "."}


def _search(text: str, allowed: Allowed) -> Fault | None:
    if _LOCAL_RECORD.search(text):
        return Fault(
            "a record of a local index, which strangers cannot read", "Promote it: promote_to_atmosphere(...)."
        )
    return _secret(text) or _address(text, allowed) or _path(text) or _host(text, allowed)


def _secret(text: str) -> Fault | None:
    for what, pattern in _SECRETS.items():
        if any(not _NO_KEY.search(found[0]) for found in pattern.finditer(text)):
            return Fault(f"a record would publish {what}", CREDENTIALS_HINT)
    for found in _ASSIGNED.finditer(text):
        if is_secret_value(
            found[3], assigned="=" in found[2] or found[0][-1] in "\"'", spaced=found[2] != found[2].strip()
        ):
            return Fault("a record would publish a password or key", CREDENTIALS_HINT)
    for found in (found for pattern in (_GIVEN, _PASS, _OPAQUE) for found in pattern.finditer(text)):
        if is_secret_value(found[1], assigned=False):
            return Fault("a record would publish a password or key", CREDENTIALS_HINT)
    credentials = any(found[1].lower() not in _CONTACT.split() for found in _USERINFO.finditer(text))
    if credentials or _BEARER.search(text) or any(map(_is_basic, _BASIC.finditer(text))):
        return Fault("a record would publish credentials", CREDENTIALS_HINT)
    if _SIGNED.search(text):
        return Fault("a record would publish parameters of a presigned URL", CREDENTIALS_HINT)
    return None


def is_secret_value(value: str, *, assigned: bool = True, spaced: bool = False) -> bool:
    """True if what a secret's name is given is one, and not a type, a placeholder, or code that fetches it."""
    quoted = value[:1] in "\"'" and value[:1] == value[-1:]
    value = value.strip("\"'")
    if len(value) < 3 or re.fullmatch(_NO_SECRET, value.strip()) or _NO_KEY.search(value):
        return False
    if quoted or (assigned and not spaced):
        return True
    return len(value) >= 6 and re.search(r"\d", value) is not None and not value.isdigit()


def _is_basic(found: re.Match[str]) -> bool:
    try:
        plain = a2b_base64(found[1] + "=" * (-len(found[1]) % 4)).decode("utf-8")
    except (NoBase64, ValueError):
        return False
    return ":" in plain and plain.isprintable()


def _address(text: str, allowed: Allowed) -> Fault | None:
    for found in _URL.finditer(text):
        rest = found[2].replace("\\", "/").rstrip(".,;:!?)]}*_…»”’")
        if rest and found[1].lower() == "file":
            return _local("as a file: URL")
        url = Url.parse(f"{found[1]}://{rest}")
        if url is not None and rest and (fault := text_fault(_without_placeholders(url), allowed)):
            return fault
    return None


def _without_placeholders(url: Url) -> Url:
    """A URL whose place is a pattern, such as `{user}@{host}`, with a place in it that anybody may name."""
    userinfo, at, host = url.place.rpartition("@")
    if userinfo == "git" or (at and not _PLACEHOLDER.sub("", userinfo).strip(":")):
        at, userinfo = "", ""
    if _PLACEHOLDER.search(host) and not _IPV4.search(host):
        host = "example.com"
    return Url(url.scheme, f"{userinfo}{at}{host}", url.path, url.query, url.fragment)


def _path(text: str) -> Fault | None:
    for kind, pattern in _PATHS.items():
        if pattern.search(text):
            return _local(kind)
    for found in _ABSOLUTE.finditer(text):
        if found[1] not in _ROUTES and not _is_base64(found[0]):
            return _local("of a machine")
    return None


def _is_base64(text: str) -> bool:
    """True if what looks like a path is base64, such as that of every JPEG, which begins with /9j/."""
    return (
        len(text) >= 40
        and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text) is not None
        and max(map(len, text.split("/"))) > 16
    )


def _local(kind: str) -> Fault:
    return Fault(f"a record would publish a local path ({kind})", "Say what it is, not where you have it.")


def _host(text: str, allowed: Allowed) -> Fault | None:
    fault = Fault("a record would name a host that strangers cannot reach", LOCAL_HINT)
    if _PRIVATE_NAME.search(text) or _CLUSTER_NAME.search(text):
        return fault
    named = [found[1] for pattern in (_DIALLED, _DID_WEB, _PROTOCOLLESS, _COPIED) for found in pattern.finditer(text)]
    named += [found[0].partition(":")[0] for found in _DIALLED_NAME.finditer(text)]
    for host in named:
        if not allowed.takes(re.sub(r":\d+$", "", host)):
            return fault
    for found in (*_IPV4.finditer(text), *(six for six in _IPV6.finditer(text) if _IPV6_KIND.match(six[0]))):
        if found[0] != "0.0.0.0" and _is_no_public(found[0], allowed):  # noqa: S104  everybody's word for any address
            return fault
    return None


def _is_no_public(text: str, allowed: Allowed) -> bool:
    host, slash, bits = text.partition("/")
    plain = ".".join(str(int(part)) for part in host.split(".")) if ":" not in host else host
    try:
        ipaddress.ip_address(plain)
        if (
            slash
            and int(bits) < 32
            and ipaddress.ip_interface(f"{plain}/{bits}").network[0] == ipaddress.ip_address(plain)
        ):
            return False  # a network, and no host in it
    except ValueError:
        return False
    found = reach(plain)
    return found is Reach.PRIVATE or (found is Reach.LOOPBACK and not allowed.loopback)
