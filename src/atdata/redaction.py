"""Redaction: a type for secrets, and text with the secrets taken out of it.

Everything that can print goes through here once: `Secret` where a value is known to be one, `redacted` for text that may
hold one (each fact of an error).
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

HIDDEN: Final = "***"


class Secret(str):
    """A password, token or key. Nothing that prints shows it; `reveal` is for who must send it."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """The text as a secret; a secret is one already."""
        return text if isinstance(text, cls) else super().__new__(cls, text)

    def reveal(self) -> str:
        """The text itself, as a plain string: keep it in no variable."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unsealed, (b2a_base64(self.reveal().encode("utf-8", "surrogatepass")),)  # a dump that is printed


def _unsealed(sealed: bytes) -> Secret:
    return Secret(a2b_base64(sealed).decode("utf-8", "surrogatepass"))


def secret_address(where: T) -> T | Secret:
    """A URL as a secret, since there may be a password in it; anything else as it is."""
    return Secret(where) if isinstance(where, str) and "://" in where else where


def revealed(text: T) -> T | str:
    """The text of a secret; anything else as it is."""
    return text.reveal() if isinstance(text, Secret) else text


def secret(text: str | None) -> Secret | None:
    """Text as a secret; no text is none."""
    return None if text is None else Secret(text)


SHAPES: Final = {
    "an AWS access key": r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}",
    "a Google key or token": r"AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}",
    "an Azure key": r"(?i:AccountKey|SharedAccessKey|SharedAccessSignature)\s*=\s*[A-Za-z0-9+/%=_-]{20,}",
    "a GitHub token": r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}",
    "a GitLab token": r"gl(?:pat|dt|rt|ptt|cbt|ft|soat|imt|agent|oas)-[\w-]{16,}",
    "a Hugging Face token": r"(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "a Slack token": r"(?:xox[a-z]-|xapp-|xoxe\.)[\w.-]{20,}|hooks\.slack\.com/services/[\w/]{20,}",
    "a Discord webhook": r"discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}",
    "a Stripe key": r"(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}",
    "an OpenAI or Anthropic key": r"sk-(?=[\w-]{0,60}\d)[\w-]{20,}",  # and whoever follows them
    "an npm token": r"npm_[A-Za-z0-9]{30,}",
    "a PyPI token": r"pypi-[\w-]{40,}",
    "a SendGrid key": r"SG\.[\w-]{16,}\.[\w-]{16,}",
    "a platform's key": (
        r"(?:r8_|gsk_|do[opr]_v1_|wandb_v1_|nvapi-|dckr_pat_|lin_api_|figd_|ntn_|rpa_|hv[bs]\.|ATATT3|tskey-|1//0)"
        r"(?=[\w-]{0,60}\d)[\w-]{24,}|(?:dapi|sbp_|pul-|shp(?:at|ca|pa|ss)_|PMAK-|rubygems_)[0-9a-f]{24,}"
    ),
    "a Telegram bot's token": r"\d{8,10}:AA[\w-]{32,}",
    "a JSON web token": r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    "an age or WireGuard key": r"AGE-SECRET-KEY-1[0-9A-Z]{20,}|(?i:private|preshared)key\s*=\s*[A-Za-z0-9+/]{43}=",
    # Four groups of base32. Three in a hundred have no digit; those may not all be words, as in deep-fake-face-data.
    "an app password": (
        r"(?<!-)(?=[a-z-]{0,18}[2-7]|(?:[a-z]{4}-){0,3}[b-df-hj-np-tv-xz]{4}(?![a-z]))"
        r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}(?![A-Za-z0-9-])"
    ),
    "an exported session": r"(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]+:::did:[a-z]+:[^\s:]+:::\S*",
    "a private key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[^-]*(?:-(?!----)[^-]*)*-----END [A-Z0-9 ]*-----)?",
}
"""Secrets by their shape alone, at the beginning of a word."""

SHAPE: Final = rf"(?<![A-Za-z0-9])(?:{'|'.join(SHAPES.values())})"

# Names whose value is a secret, whatever it looks like.
TELLTALE: Final = (
    r"(?i:pass(?:word|wd|phrase|code)|pwd|secret(?:[_ -]?(?:access[_ -]?)?key)?"
    r"|(?:api|access|private|account|signing|encryption|ssh)[_ -]?key(?:[_ -]?id)?"
    r"|(?:access|auth|refresh|session|security|bearer|api|id)[_ -]?token|credentials?|connection[_ -]?string)s?"
)


# No pattern is made on import: most processes print no error.
_ASSIGNED = (
    rf"""((?:{TELLTALE})(?:["']?\s*=|["']\s*:)\s*)"""
    r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;&)}\]]+)"""
)
_AUTHORIZATION = r"""(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token|dpop)\s+)?|\bbearer\s+)\S{8,}"""
_SIGNS = ("pass", "pwd", "secret", "key", "token", "credential", "connection", "authorization", "bearer")

_LONG = 8192  # characters of a word; a longer one is nothing to read, and may cost its square to search
_URL = r"([A-Za-z][A-Za-z0-9+.-]{0,40})://([^\s/?#\"'<>),]*)([^\s?#]*)(\?[^\s#]*)?(#\S*)?"
_USERINFO = r"[^\s/?#]*@"
_PLACE = r"(?:\[[^\]]*\]|[^.:\[\]]{0,63}(?:\.[^.:\[\]]{0,63})*)(?::\d*)?:?"  # host and port; what is longer is no name
_OWN = ("at", "atdata", "local")  # an @ in them comes before a version
_WEB = ("http", "https", "s3", "gs")  # an @ may stand in their paths
_PLAIN_FRAGMENT = r"#(?:/[\w/$.~-]*|[A-Za-z_-]{0,40})\W?"  # a JSON pointer or a word
_CID_FRAGMENT = r"#baf[yk]rei[a-z2-7]{52}\W{0,3}"  # the version of a record, behind its address
_QUIET = """
    id v page did cid cids collection commit cursor handle identifier limit list-type name prefix repo reverse rkey
    service since uri versionId partNumber uploadId download format sslmode connect_timeout
"""


def redacted(text: str) -> str:
    """Text without the secrets in it: userinfo, parameters and fragments of URLs, assigned passwords, known shapes.

    Of a word that is very long only its length is shown.
    """
    if len(text) > _LONG:
        text = re.sub(rf"\S{{{_LONG},}}", lambda word: f"({len(word[0])} characters)", text)
    if "://" in text:
        text = re.sub(_URL, _shown, "\n".join(map(_without_userinfo, text.split("\n"))))
    if any(sign in text.lower() for sign in _SIGNS):
        text = re.sub(_AUTHORIZATION, rf"\1{HIDDEN}", re.sub(_ASSIGNED, rf"\1{HIDDEN}", text))
    return re.sub(SHAPE, HIDDEN, text)


def _without_userinfo(line: str) -> str:
    """A line without what stands before the hosts of its URLs."""
    shown, position = "", 0
    urls = re.compile(_URL)
    while url := urls.search(line, position):
        start, host = url.start(2), _host_start(line, url)
        shown += line[position:start] + (HIDDEN if host > start else line[start : url.end(2)])
        position = host if host > start else url.end(2)
    return shown + line[position:]


def _host_start(line: str, url: re.Match[str]) -> int:
    """The latest position at which the host of a URL begins, also where a password with / ? # or a space breaks its syntax."""
    scheme, start = url[1].lower(), url.start(2)
    last = line.rfind("@", start)
    if scheme in _OWN or (last < 0 and re.fullmatch(_PLACE, url[2])):
        return start
    if scheme in _WEB and (userinfo := re.compile(_USERINFO).match(line, start)):
        return userinfo.end() - 1
    if scheme in _WEB and re.fullmatch(_PLACE, url[2]):
        return start
    return last if last >= 0 else url.end(2)


def _shown(url: re.Match[str]) -> str:
    """A URL as it may be shown. An allow-list: there is no end to the names that vendors give to signatures."""
    scheme, place, path, query, fragment = url.groups()
    head, *parameters = path.split(";")
    shown = ";".join([f"{scheme}://{place}{head}", *map(_shown_pair, parameters)])
    if query:
        shown += "?" + "&".join(map(_shown_pair, re.split("(?:&amp;|[&;])", query[1:])))
    if fragment:
        plain = f"{_PLAIN_FRAGMENT}|{_CID_FRAGMENT}" if scheme.lower() == "at" else _PLAIN_FRAGMENT
        shown += fragment if re.fullmatch(plain, fragment) else f"#{HIDDEN}"
    return shown


def _shown_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    if equals and name in _QUIET.split():
        return pair
    word = re.fullmatch(r"[A-Za-z][A-Za-z_.:-]*\d{0,2}", name) and len(name) <= (40 if equals else 20)
    return f"{name if word else HIDDEN}{equals and '=' + HIDDEN}"
